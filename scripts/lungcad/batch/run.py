# SPDX-License-Identifier: Apache-2.0
"""Analysis of one shard of a manifest, which can be killed at any moment and started again."""

import csv
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lungcad.atomic import check_output, remove_left_overs, whole_file
from lungcad.batch.fingerprints import input_fingerprint
from lungcad.batch.journal import DONE, FAILED, REFUSED, Journal, Row, latest_rows
from lungcad.batch.manifest import Item, read_manifest
from lungcad.batch.pool import Pool
from lungcad.batch.progress import Progress
from lungcad.batch.resources import plan_workers
from lungcad.batch.shards import Shard
from lungcad.batch.worker import EngineLike, Settled, Task, load_engine
from lungcad.chain.settings import chain_fingerprint
from lungcad.errors import InputError
from lungcad.results.write import RESULT_FILES, folder_name

Maker = Callable[[Mapping[str, Any], Path], EngineLike]
"""Function that loads an engine in a worker, given settings and output folder; can be pickled."""


@dataclass(frozen=True)
class Job:
    """Work on a manifest; can be pickled.

    Attributes:
        manifest: table of the series.
        out: output folder.
        settings: values of the chain's keys, as for :class:`lungcad.batch.engine.Engine`.
        best: analyse only the first series of each study.
        retry: state, refused or failed, whose series are analysed again.
        workers, memory_gb: as for :func:`lungcad.batch.resources.plan_workers`.
        series_per_worker: number of series after which a fresh worker takes over.
        make: function that loads an engine.
    """

    manifest: Path
    out: Path
    settings: Mapping[str, Any]
    best: bool = False
    retry: str | None = None
    workers: int | None = None
    memory_gb: float | None = None
    series_per_worker: int = 200
    make: Maker = field(default=load_engine)

    def __post_init__(self) -> None:
        if self.retry not in (None, REFUSED, FAILED):
            raise InputError("E-USAGE", f"--retry is {self.retry} (expected {REFUSED} or {FAILED}).")


def run_shard(job: Job, shard: Shard) -> Progress:
    """Analyse the series of a shard that are not settled yet.

    A series is settled that has a result, or a row of a refusal or crash, with the fingerprint of its input, the
    settings, the weights and the version. A refusal or crash never ends the shard.

    Returns:
        Numbers of series by state.

    Raises:
        InputError: E-TABLE, no manifest; E-OUTPUT, the results cannot be written or another process works on the shard;
            E-MEMORY; E-CONFIG, E-BUNDLE, E-WEIGHTS, the chain cannot be loaded.
    """
    check_output(job.out)
    plan = plan_workers(job.workers, job.memory_gb, job.settings.get("device"))
    items = [item for item in read_manifest(job.manifest, job.best) if item.series_uid in shard]
    chain = chain_fingerprint(job.settings)
    makers = [functools.partial(job.make, {**job.settings, "device": device}, job.out) for device in plan.devices]
    journal = Journal(job.out, shard)
    names = {folder_name(item.series_uid) for item in items}
    clean = functools.partial(remove_left_overs, job.out, RESULT_FILES, names.__contains__)
    progress = Progress(len(items), f"shard {shard}")
    try:
        clean()
        _write_expected(job, shard)
        pool = Pool(makers, plan.threads, plan.worker_gb, job.series_per_worker)
        for settled in pool.run(_unsettled(job, items, chain, journal, progress)):
            _record(job.out, settled, journal)
            progress.add(settled.row.state, analysed=True)
    finally:
        clean()
        journal.close()
        progress.close()
    return progress


def _unsettled(job: Job, items: list[Item], chain: str, journal: Journal, progress: Progress) -> Iterator[Task]:
    """Yield a task for each series that has to be analysed; count and record the others."""
    names = {item.series_uid for item in items}
    latest = latest_rows(job.out, names.__contains__)
    for item in items:
        task = Task(item, input_fingerprint(chain, item.series_uid, item.folder))
        row = latest.get(item.series_uid)
        current = row if row is not None and row.fingerprint == task.fingerprint else None
        if result_fingerprint(job.out, item.series_uid) == task.fingerprint:
            if current is None or current.state != DONE:  # killed between the result and its row
                journal.add(Row(item.series_uid, DONE, task.fingerprint))
            progress.add(DONE, analysed=False)
        elif current is not None and current.state in {REFUSED, FAILED} - {job.retry}:
            progress.add(current.state, analysed=False)
        elif item.code and job.retry != REFUSED and not job.settings.get("leniency"):
            journal.add(Row(item.series_uid, REFUSED, task.fingerprint, item.code, "refused by its headers (index)."))
            progress.add(REFUSED, analysed=False)
        else:
            yield task


def result_fingerprint(out: Path, series_uid: str) -> str:
    """Fingerprint in the run.json of a series; empty without a result of a batch."""
    try:
        run = json.loads((out / folder_name(series_uid) / "run.json").read_text(encoding="utf-8"))
        return str(run.get("fingerprint", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def crash_file(out: Path, series_uid: str) -> Path:
    """File for the traceback of a series that crashed."""
    return out / "batch" / "errors" / f"{folder_name(series_uid)}.txt"


def _record(out: Path, settled: Settled, journal: Journal) -> None:
    """Write the traceback of a crash, then the row; the traceback of an earlier crash goes."""
    path = crash_file(out, settled.row.series_uid)
    path.with_suffix(".part").unlink(missing_ok=True)
    if settled.trace:
        with whole_file(path) as part:
            part.write_text(settled.trace, encoding="utf-8", errors="replace")
    else:
        path.unlink(missing_ok=True)
    journal.add(settled.row)


def expected_file(out: Path) -> Path:
    """Table of the series that the batch is to settle, without folders."""
    return out / "batch" / "series.csv"


def _write_expected(job: Job, shard: Shard) -> None:
    """Write the table of all series of the manifest, for ``status``; each shard would write the same."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(("series_uid", "study_uid"))
    writer.writerows((item.series_uid, item.study_uid) for item in read_manifest(job.manifest, job.best))
    text = rows.getvalue()
    path = expected_file(job.out)
    shard_path = path.with_name(f"series-{shard}.csv")  # other shards may be doing the same
    for left_over in (shard_path, shard_path.with_suffix(".part")):
        left_over.unlink(missing_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8", errors="surrogateescape") != text:
        with whole_file(shard_path) as part:
            part.write_text(text, encoding="utf-8", errors="surrogateescape")
        shard_path.replace(path)
