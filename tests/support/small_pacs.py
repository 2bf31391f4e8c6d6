# SPDX-License-Identifier: Apache-2.0
"""A node on loopback with a stub chain, an archive that takes its results, and a scanner that sends small studies."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dicom_phantom import make_series
from pydicom import dcmread, uid
from pydicom.dataset import FileDataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, SegmentationStorage  # type: ignore[attr-defined]

from lungcad import Finding
from lungcad.node.sender import DicomDestination
from lungcad.node.service import Node
from lungcad.node.settings import Peer, Settings
from lungcad.results.result import Result
from lungcad.volume import Volume

SCANNER, NODE, ARCHIVE = "SCANNER", "LUNGCAD", "ARCHIVE"
LOOPBACK = "127.0.0.1"


def stub_chain(volume: Volume) -> Result:
    """A chain that finds one nodule in the middle of every scan."""
    center = volume.affine @ [*(size / 2 for size in volume.hu.shape), 1]
    finding = Finding(tuple(center[:3]), 6.0, 0.9, 0.98)
    return Result(volume, [finding], {"balanced": 0.5}, "balanced", bundles={"lung_nodule_cad": "0.0.1"})


def small_study(number: int = 1, slices: int = 6, series: int = 1) -> list[FileDataset]:
    """A study of small phantom series with UIDs of its own."""
    objects = []
    for place in range(series):
        for index, image in enumerate(make_series(slices)):
            image.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.{number}"
            image.SeriesInstanceUID = f"{image.StudyInstanceUID}.{place}"
            image.SOPInstanceUID = f"{image.SeriesInstanceUID}.{index}"
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.set_original_encoding(False, True)  # explicit VR, little endian
            image.ConvolutionKernel = ("STANDARD", "BONE")[place]
            objects.append(image)
    return objects


class Archive:
    """Archive that counts what it takes.

    Attributes:
        taken: deliveries by SOPInstanceUID.
        objects: the objects by SOPInstanceUID.
        refusals: status of each of the next C-STOREs; afterwards everything is taken.
    """

    def __init__(self, classes: Sequence[str] = (Comprehensive3DSRStorage, SegmentationStorage)) -> None:
        self.taken: Counter[str] = Counter()
        self.objects: dict[str, Any] = {}
        self.refusals: list[int] = []
        entity = AE(ARCHIVE)
        for sop_class in classes:
            entity.add_supported_context(sop_class)
        self._entity = entity
        self._server: Any = None
        self.port = 0
        self.start()

    def start(self) -> None:
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        self._server = self._entity.start_server((LOOPBACK, self.port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def stop(self) -> None:
        self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        if self.refusals:
            return self.refusals.pop(0)
        chunked = _config.STORE_RECV_CHUNKED_DATASET
        dataset = dcmread(event.dataset_path) if chunked else event.dataset
        _ = dataset.walk(lambda *_: None)  # read before the file goes
        self.taken[dataset.SOPInstanceUID] += 1
        self.objects[dataset.SOPInstanceUID] = dataset
        return 0

    @property
    def reports(self) -> list[Any]:
        return [one for one in self.objects.values() if one.SOPClassUID == Comprehensive3DSRStorage]


def settings_of(spool: Path, **changes: Any) -> Settings:
    """Settings for a test: quick, and with the scanner as the only peer."""
    options: dict[str, Any] = {
        "title": NODE, "port": 0, "peers": (Peer(SCANNER, LOOPBACK),), "spool": spool, "host": LOOPBACK,
        "still_seconds": 0.3, "poll_seconds": 0.02, "first_wait_seconds": 0.05, "drain_seconds": 1.0,
        "leniency": {"min_slices": 5},
    }  # fmt: skip
    return Settings(**(options | changes))


@contextlib.contextmanager
def running_node(
    spool: Path, archive: Archive, chain: Callable[[Volume], Result] = stub_chain, **changes: Any
) -> Iterator[Node]:
    """A node in a thread of its own; stopped in order at the end."""
    node = Node(settings_of(spool, **changes), chain, [DicomDestination(NODE, Peer(ARCHIVE, LOOPBACK, archive.port))])
    thread = threading.Thread(target=node.run)
    thread.start()
    wait_for(lambda: node.receiver.port > 0)
    try:
        yield node
    finally:
        node.stop()
        thread.join(30)
        assert not thread.is_alive()


def send(objects: Sequence[FileDataset], port: int, caller: str = SCANNER, called: str = NODE,
         tls: Any = None, patience_seconds: float = 10) -> list[int]:  # fmt: skip
    """Send objects on one association; the status of each. Empty where the association is rejected or breaks off."""
    entity = AE(caller)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = patience_seconds
    for sop_class, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in objects}:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate(LOOPBACK, port, ae_title=called, tls_args=tls)
    found: list[int] = []
    for one in objects:
        if not association.is_established or -1 in found:
            break
        found.append(association.send_c_store(one).get("Status", -1))
    if association.is_established:
        association.release()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def send_through_ten_kills(study: Sequence[FileDataset], spool: Path, archive: str) -> None:
    """Send a study to a node that is killed ten times on the way (``node_lives``), as a scanner does: again and again.

    Args:
        study: the images.
        spool: the node's.
        archive: ``AET@HOST:PORT`` for the results.
    """
    port, here = free_port(), Path(__file__).resolve()
    environment = os.environ | {"PYTHONPATH": f"{here.parents[2] / 'scripts'}:{here.parent}"}
    command = [sys.executable, str(here.with_name("node_lives.py")), str(spool), str(port), archive]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as lives:
        waiting = list(study)
        while waiting and lives.poll() is None:
            taken = send(waiting, port)
            waiting = [image for image, status in zip(waiting, [*taken, *[-1] * len(waiting)], strict=False) if status]
            time.sleep(0.05)
        output, _ = lives.communicate(timeout=180)
    lines = output.splitlines()
    assert len(lines) == 11 and all(line.endswith(": killed") for line in lines[:10]) and lines[10] == "last: 0", output


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    """Wait until a condition holds; fail where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def other_object(study: Sequence[FileDataset]) -> FileDataset:
    """An object of a study that is no CT image."""
    from dicom_phantom import bare_object

    one = bare_object(uid.SecondaryCaptureImageStorage, f"{study[0].StudyInstanceUID}.99")
    one.StudyInstanceUID = study[0].StudyInstanceUID
    return one
