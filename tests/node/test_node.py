# SPDX-License-Identifier: Apache-2.0
"""A study goes in by C-STORE and its report comes back, once, whatever happens on the way."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, uid
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from small_pacs import (
    LOOPBACK,
    NODE,
    SCANNER,
    Archive,
    other_object,
    running_node,
    send,
    settings_of,
    small_study,
    stub_chain,
    wait_for,
)

from lungcad.errors import InputError
from lungcad.node.service import Node
from lungcad.node.spool import Spool
from lungcad.results.result import Result
from lungcad.volume import Volume


@pytest.fixture
def archive() -> Any:
    one = Archive()
    yield one
    one.stop()


def records(spool: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((spool / "done").glob("*.json"))]


def test_a_study_comes_back_as_one_report_in_the_same_study(tmp_path: Path, archive: Archive) -> None:
    study = small_study()
    with running_node(tmp_path, archive) as node:
        assert set(send(study, node.receiver.port)) == {0}
        wait_for(lambda: records(tmp_path) and not any((tmp_path / "outbox").iterdir()))
        (report,) = archive.reports
        assert report.StudyInstanceUID == study[0].StudyInstanceUID and report.PatientID == study[0].PatientID
        assert report.Modality == "SR" and records(tmp_path)[0]["outcome"] == "reported"
        assert not any((tmp_path / "studies").iterdir())
        send(study, node.receiver.port)  # the archive forwards it once more
        wait_for(lambda: not any((tmp_path / "studies").iterdir()))
    assert list(archive.taken.values()) == [1]
    health = json.loads((tmp_path / "health.json").read_text())
    assert health["state"] == "stopped" and health["reported"] == 1 and health["received"] == 12


def test_images_are_kept_as_they_came(tmp_path: Path) -> None:
    """Byte by byte, in the transfer syntax of the sender, and apart by study."""
    archive, study = Archive(), small_study(slices=2)
    study[1].compress(uid.RLELossless, generate_instance_uid=False)
    with running_node(tmp_path, archive, still_seconds=60) as node:
        assert send([study[0]], node.receiver.port) + send([study[1]], node.receiver.port) == [0, 0]
        folder = tmp_path / "studies" / study[0].StudyInstanceUID / "images"
        for image in study:
            kept = dcmread(folder / f"{image.SOPInstanceUID}.dcm")
            assert kept.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID
            assert kept.PixelData == image.PixelData and kept.PatientName == image.PatientName
    archive.stop()


def test_the_best_series_of_a_study_is_analysed(tmp_path: Path, archive: Archive) -> None:
    seen: list[str] = []

    def chain(volume: Volume) -> Result:
        seen.append(volume.series_uid)
        return stub_chain(volume)

    study = small_study(series=2)
    with running_node(tmp_path, archive, chain) as node:
        assert set(send([*study, other_object(study)], node.receiver.port)) == {0}
        wait_for(lambda: records(tmp_path))
        assert node.receiver.dropped == 1
    assert seen == [study[0].SeriesInstanceUID]  # the soft kernel


def test_a_refused_study_is_recorded_with_its_code_and_without_a_name(
    tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lungcad.node")
    with running_node(tmp_path, archive) as node:
        send(small_study(slices=3), node.receiver.port)
        wait_for(lambda: records(tmp_path))
    (record,) = records(tmp_path)
    assert record["outcome"] == "refused" and record["code"] == "E-NOT-CT"
    assert not archive.taken and not any((tmp_path / "studies").iterdir())
    assert "refused" in caplog.text and "Secret" not in caplog.text and "ID12345" not in caplog.text


def test_a_study_at_which_the_program_fails_is_kept_and_stops_nothing(
    tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    bad = small_study(2)[0].StudyInstanceUID

    def chain(volume: Volume) -> Result:
        if volume.study_uid == bad:
            raise RuntimeError("Secret^Person broke it")
        return stub_chain(volume)

    with running_node(tmp_path, archive, chain) as node:
        for number in (2, 3):
            send(small_study(number), node.receiver.port)
        wait_for(lambda: archive.taken and any((tmp_path / "failed").iterdir()))
    (failed,) = (tmp_path / "failed").iterdir()
    assert len(list((failed / "images").iterdir())) == 6 and "RuntimeError" in (failed / "reason.json").read_text()
    assert len(archive.taken) == 1 and "Secret" not in caplog.text + (failed / "reason.json").read_text()


def test_a_study_that_always_kills_the_node_is_given_up(tmp_path: Path, archive: Archive) -> None:
    """Its analysis began as often as allowed, and no life of the node saw its end."""
    node = Node(settings_of(tmp_path, still_seconds=0, tries=3), stub_chain, [])
    with node.spool.opened():
        image = small_study(slices=1)[0]
        image.save_as(tmp_path / "receiving" / "one", enforce_file_format=True)
        node.spool.file_image(tmp_path / "receiving" / "one", image.StudyInstanceUID, image.SOPInstanceUID)
        for _ in range(3):
            node.spool.note_begin(node.spool.due_studies(0)[0])
        node.work(node.spool.due_studies(0)[0])
        assert node.counts["failed"] == 1 and node.spool.due_studies(0) == []
        assert len(list((tmp_path / "failed").glob("*/images/*.dcm"))) == 1


def test_results_wait_for_an_archive_that_is_down(tmp_path: Path, archive: Archive) -> None:
    archive.stop()
    with running_node(tmp_path, archive) as node:
        send(small_study(), node.receiver.port)
        wait_for(lambda: node.outbox.last_failure)
        assert "no association" in node.outbox.last_failure
    assert len(list((tmp_path / "outbox").iterdir())) == 1
    archive.start()
    archive.refusals = [0xA700, 0xC000]  # out of resources, then a refusal
    with running_node(tmp_path, archive):
        wait_for(lambda: records(tmp_path))
    assert list(archive.taken.values()) == [1]


def test_a_flood_of_twenty_studies_gives_twenty_reports(tmp_path: Path, archive: Archive) -> None:
    from concurrent.futures import ThreadPoolExecutor

    studies = [small_study(number) for number in range(100, 120)]
    with running_node(tmp_path, archive, still_seconds=3) as node, ThreadPoolExecutor(20) as pool:
        sent = pool.map(lambda study: send(study, node.receiver.port, patience_seconds=60), studies)
        for statuses in sent:
            assert statuses == [0] * 6
        wait_for(lambda: len(records(tmp_path)) == 20, 120)
    assert sorted(one.StudyInstanceUID for one in archive.reports) == sorted(one[0].StudyInstanceUID for one in studies)
    assert set(archive.taken.values()) == {1}


def test_echo_answers(tmp_path: Path, archive: Archive) -> None:
    with running_node(tmp_path, archive) as node:
        entity = AE(SCANNER)
        entity.add_requested_context(Verification)
        association = entity.associate(LOOPBACK, node.receiver.port, ae_title=NODE)
        assert association.send_c_echo().Status == 0
        association.release()


def test_late_images_are_analysed_together_with_the_first(tmp_path: Path) -> None:
    """Images that come while a study is at work stay, and the whole study is analysed again."""
    spool, study = Spool(tmp_path, 1 << 30, ""), small_study(slices=3)
    with spool.opened():
        for number, image in enumerate(study):
            image.save_as(tmp_path / "receiving" / "one", enforce_file_format=True)
            if number == 2:
                (taken,) = spool.due_studies(0)
            spool.file_image(tmp_path / "receiving" / "one", image.StudyInstanceUID, image.SOPInstanceUID)
        assert spool.remove(taken) is False
        (again,) = spool.due_studies(0)
        assert again.key != taken.key and len(list(again.images.iterdir())) == 3
        used = spool.used_bytes
        assert spool.remove(again) and spool.due_studies(0) == [] and spool.used_bytes < used


def test_one_spool_has_one_node(tmp_path: Path) -> None:
    with Spool(tmp_path, 1, "").opened(), pytest.raises(InputError, match="E-NODE"), Spool(tmp_path, 1, "").opened():
        pass
