# SPDX-License-Identifier: Apache-2.0
"""Batches that are killed: by signals at random moments, and on Slurm by everything that a cluster does to a job."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pydicom

from lungcad.batch.journal import DONE, read_rows
from lungcad.batch.run import Job, run_shard
from lungcad.batch.shards import Shard
from lungcad.batch.summary import Summary, summarise
from lungcad.chain.settings import chain_settings

TIMES = ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime",
         "ContributionDateTime", "ObservationDateTime")  # fmt: skip
SUPPORT = Path(__file__).parent
PYTHONPATH = f"{SUPPORT}:{SUPPORT.parents[1] / 'scripts'}"


def stub_job(root: Path, out: str, seconds: float = 0.0, workers: int = 1) -> Job:
    """Job of the stub engine on the manifest of a folder."""
    from stub_engine import StubEngine

    settings = {**chain_settings({}), "seconds": seconds}
    return Job(root / "manifest.csv", root / out, settings, workers=workers, memory_gb=100.0, make=StubEngine)


def kill_at_random(root: Path, out: str, kills: int, seed: int, seconds: float) -> int:
    """Start a batch and kill it, so often; returns how many of the kills met a living process."""
    chance, met = random.Random(seed), 0
    code = f"from killed_batch import *; run_shard(stub_job(Path({str(root)!r}), {out!r}, {seconds}, 2), Shard())"
    for _ in range(kills):
        environment = os.environ | {"PYTHONPATH": PYTHONPATH}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
        rows, until = len(list(read_rows(root / out))), time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None and len(list(read_rows(root / out))) == rows:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 4 * seconds))
        met += process.poll() is None
        process.kill()
        process.wait()
    return met


def left_overs(out: Path) -> list[str]:
    """Hidden folders and temporary files in an output folder."""
    return [str(path) for path in out.rglob("*") if path.name.startswith(".") or path.suffix in (".part", ".new")]


def differences(one: Path, other: Path) -> list[str]:
    """Files of two output folders' results that differ in more than times."""
    files = {path.relative_to(root) for root in (one, other) for path in root.glob("[0-9]*/*")}
    return [str(name) for name in sorted(files) if timeless(one / name) != timeless(other / name)]


def timeless(path: Path) -> bytes | str:
    """Contents of a result's file without dates, times and durations."""
    if not path.is_file():
        return "absent"
    if path.suffix == ".dcm":
        dataset = pydicom.dcmread(path)
        for element in dataset.iterall():
            if element.keyword in TIMES:
                element.value = ""
        return str(dataset)
    text = path.read_text()
    if path.name == "run.json":
        head, _, tail = text.partition('"seconds": {')
        return head + tail.partition("}")[2]
    if path.name == "report.html":
        return "\n".join(line for line in text.splitlines() if "seconds" not in line.lower())
    return path.read_bytes()


def slurm(*command: str) -> str:
    """Answer of one of Slurm's commands."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def wait_for(what: Callable[[], object], seconds: float = 600) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.2)


def rows_of(out: Path, shard: int) -> int:
    """Number of settled series of one shard of four."""
    path = out / "batch" / "status" / f"{shard}-of-4.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def pids_of(**environment: str) -> list[int]:
    """Processes on this machine that work on a submitted job, found by their environment, without Slurm's own."""
    marks, found = {f"{name}={value}".encode() for name, value in environment.items()}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, given = ((process / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"python" in command[0] and b"submitit.core._submit" in command and marks <= set(given):
            found.append(int(process.name))
    return found


def kill(**environment: str) -> None:
    """Kill the processes of a submitted job with SIGKILL."""
    pids = pids_of(**environment)
    assert pids, "the job is not to be found"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def trouble(out: Path, submit: Callable[[], list[str]]) -> Summary:
    """Submit four shards; kill one, cancel one, drain and resume the node, queue one again; then submit again.

    Returns:
        Summary after the trouble, before the second submission.
    """
    ids = submit()
    wait_for(lambda: rows_of(out, 0) and rows_of(out, 1))
    number, _, task = ids[0].partition("_")
    kill(SLURM_ARRAY_JOB_ID=number, SLURM_ARRAY_TASK_ID=task)
    node = slurm("sinfo", "-h", "-o", "%N").strip()
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm("scancel", ids[1])
    wait_for(lambda: not slurm("squeue", "-h", "-t", "running,completing").strip())
    assert rows_of(out, 2) == rows_of(out, 3) == 0 and slurm("squeue", "-h").strip()  # they wait for the node
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    wait_for(lambda: rows_of(out, 2))
    slurm("scontrol", "requeue", ids[2])
    wait_for(lambda: not slurm("squeue", "-h").strip())
    after = summarise(out)
    submit()
    wait_for(lambda: not slurm("squeue", "-h").strip())
    return after


def done_twice(out: Path) -> list[str]:
    """Series with two rows of a result."""
    seen: set[str] = set()
    twice = []
    for row in read_rows(out):
        if row.state == DONE and row.series_uid in seen:
            twice.append(row.series_uid)
        seen.add(row.series_uid)
    return twice


__all__ = ["Path", "Shard", "run_shard", "stub_job"]
