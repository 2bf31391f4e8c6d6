# SPDX-License-Identifier: Apache-2.0
"""Storage commitment (PS3.4 annex J): what the spool holds is confirmed, and its studies are then complete.

The node is no archive. It confirms the images that it holds when it is asked, and keeps them until their study has been
analysed, no longer.
"""

import queue
import threading
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from lungcad.node.logs import log
from lungcad.node.settings import Peer, Settings
from lungcad.node.spool import Spool, is_uid

SUCCESS, INVALID_ARGUMENT, NO_SUCH_ACTION = 0x0000, 0x0115, 0x0123
"""Status of the response to a request for an action (PS3.7 10.1.4)."""
REQUEST_COMMITMENT, ALL_HELD, SOME_MISSING = 1, 1, 2
"""Action type, and event types of the answer (PS3.4 J.3)."""
NO_SUCH_OBJECT = 0x0112
"""Failure reason of an instance that is not held (PS3.3 C.14.1.1)."""


class Commitments:
    """Answers to requests for commitment, each on a new association to the peer that asked.

    A peer without a port gets its answer on its own association, as long as that is open.

    Args:
        settings: settings of the node.
        spool: where the images are.
    """

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self.settings, self.spool = settings, spool
        self._waiting: queue.SimpleQueue[tuple[Any, Dataset, int] | None] = queue.SimpleQueue()
        threading.Thread(target=self._answer_all, daemon=True, name="commitment").start()

    def handle(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Take one request (N-ACTION); its answer (N-EVENT-REPORT) follows."""
        if event.action_type != REQUEST_COMMITMENT:
            return NO_SUCH_ACTION, None
        try:
            asked = event.action_information
            items = {str(item.ReferencedSOPInstanceUID): item for item in asked.ReferencedSOPSequence}
            transaction = str(asked.TransactionUID)
        except Exception:  # whatever a peer can leave out or damage
            return INVALID_ARGUMENT, None
        if not is_uid(transaction):
            return INVALID_ARGUMENT, None
        held = self.spool.commit(list(items))
        answer = Dataset()
        answer.TransactionUID = transaction
        if held:
            answer.ReferencedSOPSequence = [items[uid] for uid in items if uid in held]
        if missing := [items[uid] for uid in items if uid not in held]:
            for item in missing:
                item.FailureReason = NO_SUCH_OBJECT
            answer.FailedSOPSequence = missing
        log.info("commitment: %d of %d instances held", len(held), len(items))
        self._waiting.put((event.assoc, answer, SOME_MISSING if missing else ALL_HELD))
        return SUCCESS, None

    def stop(self) -> None:
        """End the thread that answers requests for storage commitment."""
        self._waiting.put(None)

    def _answer_all(self) -> None:
        while (entry := self._waiting.get()) is not None:
            association, answer, kind = entry
            title, address = association.requestor.ae_title, association.requestor.address
            peer = next((peer for peer in self.settings.peers
                         if peer.port and peer.title == title and address in peer.addresses), None)  # fmt: skip
            try:
                if peer is None:
                    self._report(association, answer, kind)
                else:
                    self._call(peer, answer, kind)
            except Exception as error:  # the peer will ask again
                log.warning("commitment: no answer to %s (%s)", address, type(error).__name__)

    def _call(self, peer: Peer, answer: Dataset, kind: int) -> None:
        entity = ApplicationEntity(self.settings.title)
        entity.add_requested_context(StorageCommitmentPushModel)
        tls = (self.settings.client_tls, peer.host) if self.settings.client_tls else None
        association = entity.associate(
            peer.host, peer.port or 0, ae_title=peer.title, tls_args=tls,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
        )  # fmt: skip
        try:
            self._report(association, answer, kind)
        finally:
            if association.is_established:
                association.release()

    def _report(self, association: Any, answer: Dataset, kind: int) -> None:
        status, _ = association.send_n_event_report(
            answer, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        if status.get("Status") != SUCCESS:
            log.warning("commitment: the answer was not taken (status %s)", status.get("Status", "none"))
