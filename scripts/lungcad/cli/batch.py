# SPDX-License-Identifier: Apache-2.0
"""Verbs on archives: index, batch, submit, status."""

import sys
from pathlib import Path
from typing import Any

from lungcad.errors import InputError
from lungcad.options import one_of, options_by_name, true_or_false, whole_number


def index(archive: str, manifest: str, leniency: Any = None, debug: bool = False) -> None:
    """Write a table of all series under a folder: folder, slices, verdict, rank within the study; no names.

    Interrupted, or called again on an archive that has grown, it reads only folders that are new or changed.

    Args:
        archive: searched with all its subfolders.
        manifest: CSV table to write.
        leniency: as for ``run``, such as "{'max_spacing_mm': 7}".
        debug: show tracebacks.
    """
    from collections import Counter

    from lungcad.batch.study import index_archive

    items = index_archive(Path(archive), Path(manifest), options_by_name("leniency", leniency))
    codes = Counter(item.code for item in items if item.code)
    studies = len({item.study_uid for item in items})
    print(f"{len(items)} series of {studies} studies, {len(items) - codes.total()} usable")
    for code, number in codes.most_common():
        print(f"refused {code}: {number}")


def batch(
    manifest: str, output_dir: str, shard: str | None = None, retry: str | None = None, choose: str | None = None,
    workers: int | None = None, memory_gb: float | None = None, series_per_worker: int = 200, debug: bool = False,
    **overrides: Any,
) -> None:  # fmt: skip
    """Analyse the series of a manifest that are not settled yet; may be killed and started again at any moment.

    Args:
        manifest: table of ``lungcad index``, or any CSV with the columns series_uid and folder.
        output_dir: gets a folder for each series, and ``batch`` with the journals.
        shard: I/N, the share I (from 0) of N; /N takes I from SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX.
        retry: refused or failed: analyse these again, too.
        choose: best takes only the first series of each study.
        workers: processes; by default one for each GPU, or for each core as far as memory allows.
        memory_gb: memory of all workers; by default what is free.
        series_per_worker: series after which a fresh process takes over.
        debug: show tracebacks.
        overrides: further keys of the chain's inference.json, such as --reducer none.
    """
    from lungcad.batch.progress import states_text
    from lungcad.batch.run import run_shard
    from lungcad.batch.shards import find_shard

    share = find_shard(shard)
    job = _job(manifest, output_dir, retry, choose, workers, memory_gb, series_per_worker, overrides)
    progress = run_shard(job, share)
    print(f"shard {share}: {states_text(progress.states) or 'no series'}")


def submit(
    manifest: str, output_dir: str, cluster: str = "slurm", shards: int = 1, parallel: int = 8, gpus: int = 0,
    cpus: int = 2, job_gb: float = 8.0, minutes: int = 1440, retry: str | None = None, choose: str | None = None,
    workers: int | None = None, series_per_worker: int = 200, debug: bool = False, **overrides: Any,
) -> None:  # fmt: skip
    """Submit the shards of a manifest as jobs, print their ids and leave; again, and only what is missing is analysed.

    Args:
        manifest, output_dir, retry, choose, workers, series_per_worker: as for ``lungcad batch``.
        cluster: slurm, or local for processes of this machine.
        shards: number of jobs.
        parallel: largest number of jobs at a time.
        gpus, cpus, job_gb, minutes: GPUs, cores, memory and time limit of a job; at its limit it is queued again.
        debug: show tracebacks.
        overrides: --slurm_partition and the like for submitit; further keys of the chain's inference.json.
    """
    from lungcad.batch.cluster import Resources, submit_shards

    one_of("cluster", cluster, ("slurm", "local"))
    slurm_options = {key: overrides.pop(key) for key in list(overrides) if key.startswith("slurm_")}
    memory_gb = float(job_gb) if cluster == "slurm" else None
    job = _job(manifest, output_dir, retry, choose, workers, memory_gb, series_per_worker, overrides)
    resources = Resources(
        whole_number("cpus", cpus, 1), float(job_gb), whole_number("gpus", gpus, 0),
        whole_number("minutes", minutes, 1), slurm_options,
    )  # fmt: skip
    count, at_once = whole_number("shards", shards, 1), whole_number("parallel", parallel, 1)
    for submitted in submit_shards(job, cluster, count, at_once, resources):
        print(submitted.job_id)
    print(f"{count} shards submitted; see how far they are with: lungcad status OUT", file=sys.stderr)


def status(output_dir: str, json: bool = False, debug: bool = False) -> None:
    """Count what is done, refused, failed and missing; write nodules.csv, refusals.csv and cohort.html.

    Ends with exit code 0 only when nothing is missing.

    Args:
        output_dir: folder of ``lungcad batch``.
        json: print JSON.
        debug: show tracebacks.
    """
    from lungcad.batch.cohort import write_cohort
    from lungcad.batch.summary import merge_nodules, summarise, write_refusals
    from lungcad.console import print_json

    out = Path(output_dir)
    summary = summarise(out)
    merge_nodules(out, summary)
    write_refusals(out, summary)
    write_cohort(out, summary)
    if true_or_false("json", json):
        print_json({"series": len(summary.studies), **summary.states, "refused_by_code": summary.codes})
    else:
        print("\n".join(f"{state:<10}{number:>8}" for state, number in summary.states.items()))
        print("\n".join(f"  {code:<18}{number:>8}" for code, number in summary.codes.items()))
    if summary.missing:
        advice = "Run lungcad batch or lungcad submit again."
        raise InputError("E-MISSING", f"{len(summary.missing)} of {len(summary.studies)} series are missing.", advice)


def _job(manifest: str, output_dir: str, retry: str | None, choose: str | None, workers: int | None,
         memory_gb: float | None, series_per_worker: int, overrides: dict[str, Any]) -> Any:  # fmt: skip
    """Checked job of a command line."""
    from lungcad.batch.run import Job
    from lungcad.chain.settings import chain_settings

    if choose is not None:
        one_of("choose", choose, ("best",))
    if not Path(manifest).is_file():
        raise InputError("E-TABLE", f"no such file: {Path(manifest).name}.", "Make it with `lungcad index`.")
    if memory_gb is not None and (isinstance(memory_gb, bool) or not isinstance(memory_gb, int | float)):
        raise InputError("E-USAGE", f"--memory_gb is {memory_gb} (expected a number).")
    return Job(
        Path(manifest), Path(output_dir), chain_settings(overrides), choose is not None, retry,
        None if workers is None else whole_number("workers", workers, 1), memory_gb,
        whole_number("series_per_worker", series_per_worker, 1),
    )  # fmt: skip
