# SPDX-License-Identifier: Apache-2.0
"""Shards: every series in exactly one, the same on every machine; and as many workers as a job can hold."""

import hashlib
import pickle
from pathlib import Path

import pytest

from lungcad.batch import resources
from lungcad.batch.journal import DONE, Journal, Row, latest_rows
from lungcad.batch.resources import plan_workers
from lungcad.batch.shards import Shard, find_shard
from lungcad.errors import InputError


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_series_is_in_one_shard(count: int) -> None:
    shards = [Shard(index, count) for index in range(count)]
    for number in range(50):
        uid = f"1.2.840.{number}"
        home = int(hashlib.sha1(uid.encode()).hexdigest(), 16) % count
        assert [uid in shard for shard in shards] == [index == home for index in range(count)]


@pytest.mark.parametrize(("text", "environment", "shard"), [
    (None, {}, Shard(0, 1)),
    ("2/4", {"SLURM_ARRAY_TASK_ID": "0"}, Shard(2, 4)),
    ("/4", {"JOB_COMPLETION_INDEX": "3"}, Shard(3, 4)),
    ("/4", {"SLURM_ARRAY_TASK_ID": "1"}, Shard(1, 4)),
    (None, {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "2",
            "SLURM_ARRAY_TASK_COUNT": "5"}, Shard(2, 5)),
])  # fmt: skip
def test_a_shard_is_given_or_that_of_an_array(text: str | None, environment: dict[str, str], shard: Shard) -> None:
    assert find_shard(text, environment) == shard


@pytest.mark.parametrize(("text", "environment", "what"), [
    ("4/4", {}, "shard 4 of 4 .expected 0 to 3"), ("1", {}, "expected such as 0/4"), ("0/0", {}, "shard 0 of 0"),
    ("/4", {}, "no variable says which"), (None, {"JOB_COMPLETION_INDEX": "3"}, "number of shards is not known"),
])  # fmt: skip
def test_no_such_shard(text: str | None, environment: dict[str, str], what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        find_shard(text, environment)
    assert caught.value.code == "E-USAGE"


def test_a_shard_has_one_process_at_a_time(tmp_path: Path) -> None:
    first = Journal(tmp_path, Shard(0, 2))
    for shard in (Shard(0, 2), Shard(0, 3)):
        with pytest.raises(InputError, match="another process works on shard 0 of 2"):
            Journal(tmp_path, shard, seconds=0.0)
    second = Journal(tmp_path, Shard(1, 2))
    first.add(Row("1", DONE, "a", time="1"))
    second.add(Row("1", DONE, "b", time="2"))
    second.close()
    first.close()
    path = tmp_path / "batch" / "status" / "0-of-2.jsonl"
    path.write_bytes(path.read_bytes() + b'{"series_uid": "2", "sta')  # killed in the middle of a line
    third = Journal(tmp_path, Shard(0, 2))
    third.add(Row("3", DONE, "c"))
    third.close()
    assert {uid: row.fingerprint for uid, row in latest_rows(tmp_path).items()} == {"1": "b", "3": "c"}
    assert pickle.loads(pickle.dumps(Shard(0, 2))) == Shard(0, 2)


@pytest.mark.parametrize(("gpus", "cores", "asked", "memory", "devices", "threads"), [
    (0, 2, None, 13.0, (None, None), 1), (0, 16, None, 13.0, (None, None), 8), (0, 2, None, 1.0, (None,), 2),
    (0, 4, 1, 13.0, (None,), 4), (2, 8, None, 13.0, ("cuda:0", "cuda:1"), 4),
    (2, 8, 3, 99.0, ("cuda:0", "cuda:1", "cuda:0"), 2),
])  # fmt: skip
def test_as_many_workers_as_fit(
    monkeypatch: pytest.MonkeyPatch, gpus: int, cores: int, asked: int | None, memory: float,
    devices: tuple[str | None, ...], threads: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(resources, "count_gpus", lambda: gpus)
    monkeypatch.setattr(resources, "count_cores", lambda: cores)
    plan = plan_workers(asked, memory)
    assert (plan.devices, plan.threads, plan.worker_gb) == (devices, threads, memory / len(devices))


def test_more_workers_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"E-MEMORY.*3 workers need 18 GB .13.0 GB are free"):
        plan_workers(3, 13.0)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert resources.count_cores() == 1
    assert resources.free_memory_gb({"SLURM_MEM_PER_NODE": "100"}) == pytest.approx(0.1048576)
    assert resources.free_memory_gb({"SLURM_MEM_PER_CPU": "50"}) == pytest.approx(0.0524288)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert resources.count_gpus() == 2
