# SPDX-License-Identifier: Apache-2.0
"""Storage commitment: the node confirms what it holds, and takes a confirmed study at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from small_pacs import LOOPBACK, NODE, SCANNER, Archive, running_node, send, small_study, wait_for

from lungcad.node.service import Node
from lungcad.node.settings import Peer

Answers = list[tuple[int, Dataset]]


@pytest.fixture
def answers() -> Iterator[tuple[int, Answers]]:
    """Port of the scanner, and the answers that came to it."""
    found: Answers = []

    def handle(event: evt.Event) -> tuple[int, None]:
        found.append((event.event_type, event.event_information))
        return 0, None

    entity = AE(SCANNER)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server: Any = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, handle)])
    yield server.server_address[1], found
    server.shutdown()


def ask(node: Node, images: Sequence[FileDataset], waiting: bool = False, action: int = 1) -> tuple[int, Answers]:
    """Status of a request for commitment, and the answers that come on its own association."""
    request = Dataset()
    request.TransactionUID = "1.2.3.4"
    request.ReferencedSOPSequence = []
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    entity = AE(SCANNER)
    entity.add_requested_context(StorageCommitmentPushModel)
    found: Answers = []

    def handle(event: evt.Event) -> tuple[int, None]:
        found.append((event.event_type, event.event_information))
        return 0, None

    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, handle)]
    association = entity.associate(LOOPBACK, node.receiver.port, ae_title=NODE, evt_handlers=handlers)
    status, _ = association.send_n_action(
        request, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    if waiting:
        wait_for(lambda: found)
    association.release()
    return int(status.Status), found


def test_a_committed_study_is_taken_at_once(tmp_path: Path, answers: tuple[int, Answers]) -> None:
    archive, (port, found), study = Archive(), answers, small_study()
    peers = (Peer(SCANNER, LOOPBACK, port),)
    with running_node(tmp_path, archive, still_seconds=3600, peers=peers) as node:
        send(study[:-1], node.receiver.port)
        assert ask(node, study) == (0, [])  # one has not come
        wait_for(lambda: found)
        kind, missing = found.pop()
        assert kind == 2 and len(missing.ReferencedSOPSequence) == 5
        (failed,) = missing.FailedSOPSequence
        assert failed.ReferencedSOPInstanceUID == study[-1].SOPInstanceUID and failed.FailureReason == 0x0112
        assert node.spool.due_studies(3600) == []
        send(study[-1:], node.receiver.port)
        assert ask(node, study) == (0, [])
        wait_for(lambda: found and archive.taken)
    kind, answer = found.pop()
    assert kind == 1 and answer.TransactionUID == "1.2.3.4" and len(answer.ReferencedSOPSequence) == 6
    assert "FailedSOPSequence" not in answer and list(archive.taken.values()) == [1]
    archive.stop()


def test_a_peer_without_a_port_is_answered_on_its_own_association(tmp_path: Path) -> None:
    archive, study = Archive(), small_study(slices=1)
    with running_node(tmp_path, archive, still_seconds=3600, peers=(Peer(SCANNER, LOOPBACK),)) as node:
        send(study, node.receiver.port)
        assert ask(node, study, action=7) == (0x0123, [])  # no such action
        status, ((kind, answer),) = ask(node, study, waiting=True)
    assert (status, kind, len(answer.ReferencedSOPSequence)) == (0, 1, 1)
    archive.stop()
