# SPDX-License-Identifier: Apache-2.0
"""C-STORE and C-ECHO: every object goes to a file as received, in the transfer syntax in which it came."""

import tempfile
import threading
import time
from typing import Any

from pydicom import uid
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from lungcad.dicom.codecs import DECODERS, NATIVE
from lungcad.dicom.header import CT_CLASSES, Header, read_header
from lungcad.errors import InputError
from lungcad.node.commitment import Commitments
from lungcad.node.guard import NETWORK_SECONDS, PDU_BYTES, GuardedServer, address_of, break_off, forget_object
from lungcad.node.logs import log
from lungcad.node.settings import Peer, Settings
from lungcad.node.spool import Spool, is_uid
from lungcad.printable import printable

SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
"""Status of a C-STORE response (PS3.4 B.2.3)."""
UNKNOWN_CALLER = (0x01, 0x01, 0x03)
"""Rejection of an association: permanent, by the user, calling AE title not recognised."""
MAX_ASSOCIATIONS = 40
SYNTAXES = [str(uid.ExplicitVRLittleEndian), *dict.fromkeys(map(str, (*NATIVE[:1], *NATIVE[2:], *DECODERS)))]
"""Transfer syntaxes that the intake reads, the one preferred first."""


class Receiver:
    """Server for the configured peers.

    Objects of other classes than CT are received and dropped: a peer that sends whole studies would take a refusal for
    a failure of all.

    Args:
        settings: settings of the node.
        spool: where the images go.
    """

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self.settings, self.spool = settings, spool
        self.received = self.dropped = 0
        self.commitments = Commitments(settings, spool)
        self._allowed: dict[str, list[tuple[Peer, frozenset[str]]]] = {}
        for peer in settings.peers:
            self._allowed.setdefault(peer.title, []).append((peer, peer.addresses))
        self._entity = ApplicationEntity(settings.title)
        self._server: GuardedServer | None = None

    @property
    def port(self) -> int:
        """Port on which it listens."""
        return int(self._server.server_address[1]) if self._server else 0

    def start(self) -> None:
        """Start to listen for associations.

        Raises:
            InputError: E-NODE, the port cannot be had.
        """
        _config.LOG_HANDLER_LEVEL = "none"
        _config.STORE_RECV_CHUNKED_DATASET = True  # objects go to files, piece by piece
        tempfile.tempdir = str(self.spool.receiving)  # pynetdicom has no option for their folder
        entity = self._entity
        entity.require_called_aet = True
        entity.require_calling_aet = sorted(self._allowed)
        entity.maximum_associations = MAX_ASSOCIATIONS
        entity.maximum_pdu_size = PDU_BYTES
        entity.acse_timeout = NETWORK_SECONDS / 4
        entity.network_timeout = entity.dimse_timeout = NETWORK_SECONDS
        entity.add_supported_context(Verification)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax or "", SYNTAXES)
        for extra in set(CT_CLASSES) - {context.abstract_syntax for context in AllStoragePresentationContexts}:
            entity.add_supported_context(extra, SYNTAXES)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._check_caller), (evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_N_ACTION, self.commitments.handle), (evt.EVT_CONN_CLOSE, lambda event: forget_object(event.assoc)),
        ]  # fmt: skip
        addresses = frozenset().union(*(known for peers in self._allowed.values() for _, known in peers))
        try:
            server: Any = entity.make_server(
                (self.settings.host, self.settings.port), evt_handlers=handlers, ssl_context=self.settings.server_tls,
                server_class=GuardedServer, addresses=addresses, object_bytes=self.settings.object_bytes,
                has_room=self.spool.has_room,
            )  # fmt: skip
        except OSError as error:
            text = f"cannot listen on port {self.settings.port}: {error.strerror} (expected a free port)."
            raise InputError("E-NODE", text, "Give another --port, or stop what uses it.") from error
        entity._servers.append(server)  # as AE.start_server does, which takes no class of server
        self._server = server
        threading.Thread(target=server.serve_forever, daemon=True, name="receiver").start()

    def stop(self) -> None:
        """Take no more associations, let the open ones end for a while, then break them off."""
        if self._server is not None:
            self._server.shutdown()
            end = time.monotonic() + self.settings.drain_seconds
            for association in self._server.active_associations:
                association.join(max(0.0, end - time.monotonic()))
            for association in self._server.active_associations:
                break_off(association)
        self.commitments.stop()
        tempfile.tempdir = None

    def _check_caller(self, event: evt.Event) -> None:
        """Reject a caller whose title is not that of a peer at its address."""
        request: Any = event.assoc.requestor.primitive
        title, address = request.calling_ae_title.strip(), address_of(event.assoc).removeprefix("::ffff:")
        if not any(address in known for _, known in self._allowed.get(title, [])):
            log.warning("association rejected: %s at %s is no peer", printable(title, 16), address)
            event.assoc.acse.send_reject(*UNKNOWN_CALLER)
            event.assoc.kill()

    def _echo(self, event: evt.Event) -> int:
        log.info("C-ECHO from %s", address_of(event.assoc))
        return SUCCESS

    def _store(self, event: evt.Event) -> int:
        """Keep one object, if it is a CT image; the status says what became of it."""
        request: Any = event.request
        if request.AffectedSOPClassUID not in CT_CLASSES:
            self.dropped += 1
            return SUCCESS
        if not self.spool.has_room():
            log.warning("object refused: the spool is full")
            return OUT_OF_RESOURCES
        header = read_header(event.dataset_path)
        if not isinstance(header, Header):
            log.warning("object refused: it cannot be read")
            return CANNOT_UNDERSTAND
        study, instance = header.text("StudyInstanceUID"), header.text("SOPInstanceUID")
        same = instance == request.AffectedSOPInstanceUID and header.text("SOPClassUID") == request.AffectedSOPClassUID
        if not (same and is_uid(study) and is_uid(instance)):
            log.warning("object refused: its UIDs are none, or not those of the request")
            return MISMATCH
        try:
            self.spool.file_image(event.dataset_path, study, instance)
        except OSError as error:
            log.error("object refused: it cannot be written (%s)", error.strerror)
            return OUT_OF_RESOURCES
        self.received += 1
        return SUCCESS
