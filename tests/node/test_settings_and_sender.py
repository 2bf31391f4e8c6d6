# SPDX-License-Identifier: Apache-2.0
"""Options of a node, and the outbox with archives that fail."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset

from lungcad import cli
from lungcad.errors import InputError
from lungcad.node.sender import Outbox, SendError, WebDestination
from lungcad.node.settings import Peer, parse_peers, tls_contexts
from lungcad.node.spool import Spool, is_uid
from lungcad.node.web import without_password
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE


def test_peers_are_titles_at_hosts() -> None:
    assert parse_peers("peers", "PACS@10.0.0.5:104, CT 1@ct1.example,V6@[::1]:11112") == (
        Peer("PACS", "10.0.0.5", 104), Peer("CT 1", "ct1.example"), Peer("V6", "::1", 11112),
    )  # fmt: skip
    assert parse_peers("peers", None) == ()
    assert "127.0.0.1" in Peer("A", "localhost").addresses | Peer("A", "127.0.0.1").addresses


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@", "@host", "A@b:0", "A@b:70000", "SEVENTEEN_LETTERS@h", "A\\B@h", "A@h:x"]
)
def test_other_peers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="E-USAGE"):
        parse_peers("peers", text)


def test_an_archive_needs_a_port() -> None:
    with pytest.raises(InputError, match="AET@HOST:PORT"):
        parse_peers("send_to", "PACS@host", port_needed=True)


def test_tls_needs_its_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-NODE"):
        tls_contexts(str(tmp_path / "none.crt"), None, None)


@pytest.mark.parametrize(("text", "expected"), [("1.2.3", True), ("1..2", False), ("../1", False), ("", False),
                                                ("1." * 40 + "1", False), ("1.2\n", False)])  # fmt: skip
def test_names_of_files_are_uids(text: str, expected: bool) -> None:
    assert is_uid(text) is expected


def test_a_password_in_a_url_reaches_no_log() -> None:
    assert without_password("https://me:secret@pacs.example:8042/dicom-web") == "https://pacs.example:8042/dicom-web"


class Door:
    """Archive that fails as told, in order, before it takes anything."""

    def __init__(self, name: str, *failures: SendError | None) -> None:
        self.name, self.failures, self.taken, self.calls = name, list(failures), list[str](), 0

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        self.calls += 1
        for file in files:
            if self.failures and (failure := self.failures.pop(0)):
                raise failure
            self.taken.append(f"{file.parent.name}/{file.name}")
            yield file


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path, 1 << 30, "").opened() as one:
        for name in ("1.2.a", "1.3.b"):
            (one.outbox / name).mkdir()
            for file in (REPORT_FILE, SEGMENTATION_FILE):
                (one.outbox / name / file).write_bytes(b"x")
        yield one


def test_each_object_is_sent_once_to_each_archive_the_segmentation_first(spool: Spool) -> None:
    now = [0.0]
    good, flaky = Door("good"), Door("flaky", None, SendError("status 0xC000"))
    outbox = Outbox(spool, [good, flaky], 5.0, lambda: now[0])
    outbox.send_due()
    assert good.taken[:2] == [f"1.2.a/{SEGMENTATION_FILE}", f"1.2.a/{REPORT_FILE}"] and len(good.taken) == 4
    assert flaky.taken == [f"1.2.a/{SEGMENTATION_FILE}", f"1.3.b/{SEGMENTATION_FILE}", f"1.3.b/{REPORT_FILE}"]
    outbox.send_due()  # too early
    assert flaky.calls == 2 and outbox.last_failure == "flaky: status 0xC000"
    now[0] = 5.1
    outbox.send_due()
    assert flaky.taken[3:] == [f"1.2.a/{REPORT_FILE}"] and len(good.taken) == 4
    assert outbox.waiting() == [] and len(list(spool.done.glob("*.json"))) == 2


def test_an_archive_that_is_down_is_called_once_for_all_and_ever_more_rarely(spool: Spool) -> None:
    now, down = [0.0], Door("down", *[SendError("no association", unreachable=True)] * 3)
    outbox = Outbox(spool, [down], 5.0, lambda: now[0])
    calls = []
    while outbox.waiting():
        outbox.send_due()
        calls += [now[0]] * (down.calls - len(calls))
        now[0] += 1
    assert calls[:4] == [0.0, 5.0, 15.0, 35.0] and len(down.taken) == 4


def test_a_restarted_outbox_goes_on_where_it_was(spool: Spool) -> None:
    first, second = Door("one", None, SendError("gone", unreachable=True)), Door("one")
    Outbox(spool, [first], 5.0).send_due()
    Outbox(spool, [second], 5.0).send_due()
    assert sorted(first.taken + second.taken) == sorted(
        f"{name}/{file}" for name in ("1.2.a", "1.3.b") for file in (REPORT_FILE, SEGMENTATION_FILE)
    )


@pytest.mark.parametrize(("code", "unreachable"), [(503, True), (401, True), (409, False), (400, False)])
def test_http_errors_are_failures_of_the_archive_or_of_the_object(
    code: int, unreachable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = WebDestination("http://127.0.0.1:1/dicom-web")

    def store(_: Any) -> Dataset:
        raise requests.HTTPError(response=SimpleNamespace(status_code=code))  # type: ignore[arg-type]

    monkeypatch.setattr(destination.client, "store_instances", store)
    monkeypatch.setattr("pydicom.dcmread", lambda *_: Dataset())
    with pytest.raises(SendError, match=f"HTTP {code}") as failure:
        list(destination.send([tmp_path / "x"]))
    assert failure.value.unreachable is unreachable


def test_an_object_that_stow_refuses_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination, answer, item = WebDestination("http://127.0.0.1:1/dicom-web"), Dataset(), Dataset()
    item.FailureReason = 272
    answer.FailedSOPSequence = [item]
    monkeypatch.setattr(destination.client, "store_instances", lambda _: answer)
    monkeypatch.setattr("pydicom.dcmread", lambda *_: Dataset())
    with pytest.raises(SendError, match="272"):
        list(destination.send([tmp_path / "x"]))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("node --aet A --port 1 --spool s --peers A@h", "E-USAGE"),
        ("node --aet TOO_LONG_A_TITLE_IT_IS --port 1 --spool s --peers A@h --send_to B@h:1", "E-USAGE"),
        ("node --aet A --port 1 --spool s --peers A@h --send_to B@h:1 --still_seconds -1", "E-USAGE"),
        ("node --aet A --port 1 --spool s --peers A@h --send_to B@h:1 --detektor 3dag", "E-CONFIG"),
        ("pull --dicomweb ftp://x --study 1.2", "E-USAGE"),
        ("pull --dicomweb http://x --study ../1", "E-USAGE"),
        ("pull --dicomweb http://x --study 1.2 --store false", "E-USAGE"),
    ],
)
def test_bad_options_end_before_anything_is_loaded(
    arguments: str, code: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lungcad.chain.chain.BundleStage", lambda *_: pytest.fail("loaded"))
    with pytest.raises(SystemExit) as end:
        cli.main(arguments.split())
    assert end.value.code == 2 and f"error[{code}]" in capsys.readouterr().err
