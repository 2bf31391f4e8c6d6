# SPDX-License-Identifier: Apache-2.0
"""A real Orthanc sends a study to the node and gets report and segmentation back, by C-STORE and by STOW-RS."""

import dataclasses
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orthanc_server
import pytest
import requests
from dicom_phantom import save
from pydicom import dcmread
from small_pacs import (
    LOOPBACK,
    NODE,
    Archive,
    free_port,
    running_node,
    send_through_ten_kills,
    settings_of,
    small_study,
    stub_chain,
    wait_for,
)

from lungcad.finding import FindingMask
from lungcad.node.sender import DicomDestination, WebDestination
from lungcad.node.service import Node
from lungcad.node.settings import Peer
from lungcad.results.result import Result
from lungcad.volume import Volume

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not orthanc_server.is_installed(), reason="needs Orthanc with its DICOMweb plugin"),
]


def chain_with_mask(volume: Volume) -> Result:
    """The stub chain, with a mask of a few voxels around its finding."""
    result = stub_chain(volume)
    affine = volume.affine.copy()
    affine[:3, 3] = np.asarray(result.findings[0].center_lps_mm) - affine[:3, :3] @ [2, 2, 2]
    mask = FindingMask(np.ones((5, 5, 5), bool), affine)
    return dataclasses.replace(result, findings=[dataclasses.replace(result.findings[0], mask=mask)])


def test_report_and_segmentation_come_back_to_orthanc(tmp_path: Path) -> None:
    port = free_port()
    with orthanc_server.running_orthanc(tmp_path / "orthanc", port) as orthanc:
        images = save(small_study(), tmp_path / "images")
        for file in images.iterdir():
            orthanc.add(file)
        (study,) = orthanc.get("studies")
        peer = Peer(orthanc_server.TITLE, LOOPBACK, orthanc.dicom_port)
        node = Node(
            settings_of(tmp_path / "spool", port=port, peers=(peer,)), chain_with_mask,
            [DicomDestination(NODE, peer), WebDestination(orthanc.dicomweb)],
        )  # fmt: skip
        thread = threading.Thread(target=node.run)
        thread.start()
        wait_for(lambda: node.receiver.port)
        orthanc.send_to_node(study)
        wait_for(lambda: any((tmp_path / "spool" / "done").glob("*.json")), 120)
        node.stop()
        thread.join(30)
        assert node.outbox.sent == 4  # two objects to two doors of one archive, which stays with two
        (report,), (segmentation,) = orthanc.series("SR"), orthanc.series("SEG")
        assert len(report["Instances"]) == len(segmentation["Instances"]) == 1 and orthanc.get("studies") == [study]
        stored = requests.get(f"{orthanc.url}/instances/{report['Instances'][0]}/file", timeout=30).content
        header = dcmread(io.BytesIO(stored))
        assert header.PatientID == "ID12345" and header.StudyInstanceUID == small_study()[0].StudyInstanceUID


def test_a_study_is_pulled_and_stored_once(tmp_path: Path) -> None:
    from lungcad.node.pull import analyse_fetched, fetch_study, store_results

    with orthanc_server.running_orthanc(tmp_path / "orthanc", 1) as orthanc:
        for file in save(small_study(), tmp_path / "images").iterdir():
            orthanc.add(file)
        destination = WebDestination(orthanc.dicomweb)
        for run, stored in enumerate((["nodules.seg.dcm", "nodules.sr.dcm"], [])):
            (fetched := tmp_path / f"fetched{run}").mkdir()
            assert fetch_study(destination.client, small_study()[0].StudyInstanceUID, fetched) == 6
            folder = analyse_fetched(chain_with_mask, fetched, tmp_path / f"out{run}", {"min_slices": 5})
            assert store_results(destination, folder) == stored  # the second run makes the same objects
        assert len(orthanc.series("SR")) == len(orthanc.series("SEG")) == 1


def test_orthanc_verifies_the_node_and_gets_twenty_reports_of_twenty_studies(tmp_path: Path) -> None:
    port, archive = free_port(), Archive()  # the archive proper takes nothing here: results go to Orthanc
    with orthanc_server.running_orthanc(tmp_path / "orthanc", port, StorageCompression=False) as orthanc:
        peer = Peer(orthanc_server.TITLE, LOOPBACK, orthanc.dicom_port)
        for number in range(200, 220):
            for file in save(small_study(number), tmp_path / str(number)).iterdir():
                orthanc.add(file)
        with running_node(tmp_path / "spool", archive, port=port, peers=(peer,), still_seconds=5) as node:
            node.outbox.destinations = [DicomDestination(NODE, peer)]
            assert orthanc.post("modalities/lungcad/echo", json={}) == {}
            with ThreadPoolExecutor(20) as pool:
                list(pool.map(orthanc.send_to_node, orthanc.get("studies")))
            wait_for(lambda: len(list((tmp_path / "spool" / "done").glob("*.json"))) == 20, 300)
        reports = orthanc.series("SR")
        assert len(reports) == len({one["ParentStudy"] for one in reports}) == 20
        assert all(len(one["Instances"]) == 1 for one in reports)
    archive.stop()


def test_killed_ten_times_there_is_one_report_in_orthanc(tmp_path: Path) -> None:
    with orthanc_server.running_orthanc(tmp_path / "orthanc", 1) as orthanc:
        study = small_study()
        for file in save(study, tmp_path / "images").iterdir():
            orthanc.add(file)
        send_through_ten_kills(study, tmp_path / "spool", f"{orthanc_server.TITLE}@{LOOPBACK}:{orthanc.dicom_port}")
        (report,) = orthanc.series("SR")
        assert len(report["Instances"]) == 1 and len(orthanc.get("studies")) == 1
