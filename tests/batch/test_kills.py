# SPDX-License-Identifier: Apache-2.0
"""Whatever kills a batch, its results are those of an undisturbed one, each once, and nothing lies about."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from killed_batch import (
    PYTHONPATH,
    SUPPORT,
    differences,
    done_twice,
    kill,
    kill_at_random,
    left_overs,
    rows_of,
    stub_job,
    trouble,
    wait_for,
)
from small_archive import add_bad_series, add_series

from lungcad.batch.cluster import Resources, submit_shards
from lungcad.batch.run import run_shard
from lungcad.batch.shards import Shard
from lungcad.batch.study import index_archive
from lungcad.batch.summary import summarise

KILLS = 6
"""Number of kills of one batch; 20 were tried by hand, and take three times as long."""
SECONDS = 0.05
"""Duration of a scan in the stub engine."""


def make_root(root: Path, good: int, bad: bool) -> Path:
    for number in range(good):
        add_series(root / "archive", number, 12)
    if bad:
        add_bad_series(root / "archive", 100)
    index_archive(root / "archive", root / "manifest.csv")
    return root


@pytest.mark.slow
def test_a_batch_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    root = make_root(tmp_path, 3 * KILLS, bad=False)
    assert kill_at_random(root, "out", KILLS, KILLS, SECONDS) >= KILLS // 2
    run_shard(stub_job(root, "out", SECONDS), Shard())
    check_whole(root, SECONDS, {"done": 3 * KILLS, "refused": 0, "failed": 0, "missing": 0})


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)


@pytest.mark.parametrize(("cluster", "parallel", "ids"), [("debug", 1, 1), ("local", 2, 2)])
def test_shards_are_submitted(tmp_path: Path, importable: None, cluster: str, parallel: int, ids: int) -> None:
    root = make_root(tmp_path, 4, bad=False)
    jobs = submit_shards(stub_job(root, "out"), cluster, 3, parallel, Resources(minutes=5))
    counts = [job.result() for job in jobs]
    assert len({job.job_id for job in jobs}) == ids
    assert sum(count["done"] for count in counts) == 4
    assert summarise(root / "out").states["done"] == 4


@pytest.mark.slow
def test_local_jobs_are_killed_and_cancelled(tmp_path: Path, importable: None) -> None:
    root, out = make_root(tmp_path, 30, bad=True), tmp_path / "out"
    job = stub_job(root, "out", 0.2)
    jobs = submit_shards(job, "local", 4, 4, Resources(minutes=5))
    wait_for(lambda: all(rows_of(out, shard) for shard in range(4)))
    kill(SUBMITIT_LOCAL_JOB_ID=jobs[0].job_id)
    jobs[1].cancel(check=False)
    wait_for(lambda: all(one.done() for one in jobs))
    assert 0 < len(summarise(out).missing) < 40
    for one in submit_shards(job, "local", 4, 4, Resources(minutes=5)):
        one.result()
    check_whole(root, 0.2, {"done": 31, "refused": 9, "failed": 0, "missing": 0})


def check_whole(root: Path, seconds: float, states: dict[str, int]) -> None:
    """Check that nothing is missing, nothing twice, and all as in an undisturbed run but for times."""
    assert summarise(root / "out").states == states
    assert left_overs(root / "out") == [] and done_twice(root / "out") == []
    run_shard(stub_job(root, "undisturbed", seconds, workers=2), Shard())
    assert differences(root / "out", root / "undisturbed") == []


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importable: None) -> Iterator[None]:
    """A Slurm of one node of two cores."""
    script, folder = str(SUPPORT / "slurm.sh"), str(tmp_path / "slurm")
    monkeypatch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
    try:
        subprocess.run([script, "start", folder], check=True, timeout=90)
        yield
    finally:
        subprocess.run([script, "stop", folder], check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sinfo") is None or os.geteuid() != 0, reason="needs Slurm, and root to start it")
def test_slurm_kills_cancels_and_drains(tmp_path: Path, cluster: None) -> None:
    root = make_root(tmp_path, 30, bad=True)
    job = stub_job(root, "out", 0.5)

    def submit() -> list[str]:
        return [one.job_id for one in submit_shards(job, "slurm", 4, 2, Resources(1, 1.0))]

    after = trouble(root / "out", submit)
    assert 0 < len(after.missing) < 40
    check_whole(root, 0.5, {"done": 31, "refused": 9, "failed": 0, "missing": 0})
