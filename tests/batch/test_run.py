# SPDX-License-Identifier: Apache-2.0
"""A batch settles every series once: results, refusals, crashes; what is settled is skipped until its input changes."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from dicom_phantom import SERIES_UID
from small_archive import PATIENT, add_series, numbered, save
from stub_engine import StubEngine

from lungcad import cli
from lungcad.batch import worker
from lungcad.batch.journal import Journal, read_rows
from lungcad.batch.manifest import Item, read_manifest
from lungcad.batch.progress import Progress
from lungcad.batch.run import Job, _unsettled, run_shard
from lungcad.batch.shards import Shard
from lungcad.batch.study import index_archive
from lungcad.batch.summary import summarise
from lungcad.batch.worker import Task, _read_ahead, settle
from lungcad.chain.settings import chain_fingerprint, chain_settings
from lungcad.errors import InputError


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archive, manifest and results of four good series and four bad ones, by two workers."""
    root = tmp_path_factory.mktemp("batch")
    for number in range(6):
        add_series(root / "archive", number, 12)
    (root / "archive" / "study0" / "series0" / "crash").touch()
    (root / "archive" / "study0" / "series1" / "kill").touch()
    cut = numbered(6, 12)
    cut[3].PixelData = cut[3].PixelData[:100]
    save(cut, root / "archive" / "study3" / "series6")
    add_series(root / "archive", 7, 3)
    index_archive(root / "archive", root / "manifest.csv")
    run_shard(job_of(root), Shard())
    return root


@pytest.fixture
def root(first_run: Path, tmp_path: Path) -> Path:
    """A copy of the first run that a test may change, with the archive's times."""
    for name in ("manifest.csv", "out"):
        (shutil.copytree if name == "out" else shutil.copy2)(first_run / name, tmp_path / name)
    return tmp_path


def job_of(root: Path, **changes: Any) -> Job:
    return Job(**{"manifest": root / "manifest.csv", "out": root / "out", "settings": chain_settings({}),
                  "workers": 2, "memory_gb": 100.0, "make": StubEngine} | changes)  # fmt: skip


def states(root: Path) -> dict[str, str]:
    return {uid.removeprefix(f"{SERIES_UID}."): row.state for uid, row in summarise(root / "out").rows.items()}


SETTLED = {"0": "failed", "1": "failed", **dict.fromkeys("2345", "done"), "6": "refused", "7": "refused"}


def test_refusals_and_crashes_are_rows_and_end_nothing(first_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(first_run) == SETTLED
    rows = {row.series_uid.removeprefix(f"{SERIES_UID}."): row for row in read_rows(first_run / "out")}
    assert [rows[number].code for number in "0167"] == ["RuntimeError", "WorkerDied", "E-PIXELS", "E-FEW-SLICES"]
    assert set(rows["2"].seconds) == {"read", "detect"}
    errors = first_run / "out" / "batch" / "errors"
    assert {path.name for path in errors.iterdir()} == {f"{SERIES_UID}.{number}.txt" for number in "01"}
    trace = (errors / f"{SERIES_UID}.0.txt").read_text()
    assert "RuntimeError: no luck with FOLDER" in trace and "study0" not in trace + rows["0"].reason
    cli.main(["status", str(first_run / "out")])
    told = capsys.readouterr().out.split()
    assert told[:8] == ["done", "4", "refused", "2", "failed", "2", "missing", "0"]
    said = "".join(path.read_text() for path in (first_run / "out").rglob("*") if path.is_file())
    assert PATIENT not in said and "ID12345" not in said and "study0" not in said


def test_the_cohort_is_merged(first_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["status", str(first_run / "out"), "--json"])
    assert json.loads(capsys.readouterr().out)["refused_by_code"] == {"E-FEW-SLICES": 1, "E-PIXELS": 1}
    nodules = (first_run / "out" / "nodules.csv").read_text().splitlines()
    assert nodules[0].startswith("seriesuid,coordX,coordY,coordZ,probability,")
    assert [line.split(",")[0] for line in nodules[1:]] == [f"{SERIES_UID}.{n}" for n in "22334455"]
    refusals = (first_run / "out" / "refusals.csv").read_text().splitlines()
    assert [line.split(",")[0][-1] + line.split(",")[3] for line in refusals[1:]] == [
        "0RuntimeError", "1WorkerDied", "6E-PIXELS", "7E-FEW-SLICES",
    ]  # fmt: skip
    html = (first_run / "out" / "cohort.html").read_text()
    assert "Cohort of 8 series" in html and "4 reported nodules" in html and "no luck with FOLDER" in html
    assert html.count("/report.html") == 4 and "<script" not in html and "://" not in html
    assert "default-src &#39;none&#39;" in html and "script-src &#39;none&#39;" in html


def test_what_is_settled_is_skipped(root: Path) -> None:
    before = [row.time for row in read_rows(root / "out")]
    progress = run_shard(job_of(root), Shard())
    assert progress.analysed == 0 and progress.states == {"done": 4, "failed": 2, "refused": 2}
    assert [row.time for row in read_rows(root / "out")] == before


def test_another_number_of_shards_skips_the_same(root: Path) -> None:
    assert [run_shard(job_of(root), Shard(index, 3)).analysed for index in range(3)] == [0, 0, 0]


def test_lost_results_lost_rows_and_other_settings_are_analysed_again(root: Path) -> None:
    shutil.rmtree(root / "out" / f"{SERIES_UID}.2")
    assert summarise(root / "out").missing == [f"{SERIES_UID}.2"]
    journal = next((root / "out" / "batch" / "status").iterdir())
    lines = [line for line in journal.read_text().splitlines(True) if f'{SERIES_UID}.3"' not in line]
    journal.write_text("".join(lines))
    assert run_shard(job_of(root), Shard()).analysed == 1  # the result of 3 is there, only its row was lost
    assert states(root) == SETTLED
    other = job_of(root, settings=chain_settings({"operating_point": "sensitive"}))
    assert {task.item.series_uid[-1] for task in tasks(other)} == set("0123456")


def tasks(job: Job) -> list[Task]:
    """What a job would analyse."""
    journal, items = Journal(job.out, Shard()), list(read_manifest(job.manifest, job.best))
    found = list(_unsettled(job, items, chain_fingerprint(job.settings), journal, Progress(len(items), "test")))
    journal.close()
    return found


def test_refused_and_failed_series_are_analysed_again_on_request(root: Path) -> None:
    assert {task.item.series_uid[-1] for task in tasks(job_of(root, retry="refused"))} == set("67")
    assert {task.item.series_uid[-1] for task in tasks(job_of(root, retry="failed"))} == set("01")
    with pytest.raises(InputError, match="expected refused or failed"):
        job_of(root, retry="done")


def test_a_changed_input_is_analysed_again(first_run: Path, root: Path) -> None:
    shutil.copytree(first_run / "archive", root / "archive")  # copytree keeps the times
    text = (root / "manifest.csv").read_text().replace(str(first_run), str(root))
    (root / "manifest.csv").write_text(text)
    assert tasks(job_of(root)) == []
    os.utime(root / "archive" / "study1" / "series2" / "IM001.dcm")
    assert [task.item.series_uid[-1] for task in tasks(job_of(root))] == ["2"]


def test_only_the_best_series_of_each_study(root: Path) -> None:
    shutil.rmtree(root / "out")
    assert [task.item.series_uid[-1] for task in tasks(job_of(root, best=True))] == list("0246")


def test_a_full_disk_ends_the_shard_and_settles_nothing() -> None:
    class Full(StubEngine):
        def finish(self, *_: Any) -> dict[str, float]:
            raise InputError("E-OUTPUT", "no space left.")

    with pytest.raises(InputError, match="E-OUTPUT"):
        settle(Full({}, Path()), Task(Item("1", Path()), "f"), lambda: (None, 0.0))


def test_a_chain_that_cannot_be_loaded_ends_the_shard(root: Path) -> None:
    shutil.rmtree(root / "out")
    with pytest.raises(InputError, match=r"E-CONFIG.*no bundle no_such"):
        run_shard(job_of(root, settings=chain_settings({"detector": "no_such"})), Shard())
    with pytest.raises(InputError, match=r"E-CONFIG.*unknown option --detectr"):
        chain_settings({"detectr": "3dag"})


@pytest.mark.parametrize(
    ("share", "resident", "released", "answers"),
    [(20.0, 2.9, 0, 3), (20.0, 3.1, 3, 3), (4.0, 1.9, 0, 3), (4.0, 2.1, 3, 3), (4.0, 4.1, 1, 1)],
)
def test_a_worker_gives_memory_back_and_ends_beyond_its_share(
    share: float, resident: float, released: int, answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(worker, "release_memory", lambda: calls.append(1))
    monkeypatch.setattr(worker, "resident_gb", lambda: resident)
    monkeypatch.setattr(worker, "die_with_parent", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(StubEngine, "read", lambda self, item: None)
    monkeypatch.setattr(StubEngine, "finish", lambda *_: {})
    ours, theirs = multiprocessing.Pipe()
    for message in (*(Task(Item(uid, Path()), "f") for uid in "abc"), None):
        ours.send(message)
    worker.serve(theirs, lambda: StubEngine({}, Path()), share)
    theirs.close()
    received = [ours.recv() for _ in range(answers + 1)]
    assert received[0] == worker.READY and [one.row.state for one in received[1:]] == ["done"] * answers
    with pytest.raises((EOFError, ConnectionResetError)):  # no more answers
        ours.recv()
    assert len(calls) == released


def test_one_series_is_read_while_another_is_in_the_networks() -> None:
    read, gate = [], threading.Event()

    class Recording(StubEngine):
        def read(self, item: Item) -> Any:
            read.append(item.series_uid)
            if len(read) == 2:
                gate.set()
            return item.series_uid

    ours, theirs = multiprocessing.Pipe()
    for message in (*(Task(Item(uid, Path()), "f") for uid in "abc"), None):
        ours.send(message)
    stream = _read_ahead(theirs, Recording({}, Path()))
    task, volume = next(stream)
    assert gate.wait(5) and volume()[0] == task.item.series_uid == "a"  # b is read while a is in work
    assert read == ["a", "b"]  # and no more than one ahead
    assert [volume()[0] for _, volume in stream] == ["b", "c"]
