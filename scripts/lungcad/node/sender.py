# SPDX-License-Identifier: Apache-2.0
"""Results to the archive, by C-STORE or STOW-RS, again and again until each archive has taken each object.

An object counts as sent when the archive has said so; a file beside it notes that on the disk. A node that is killed
between the two sends the object once more, with the same UID and the same bytes, and the archive stays with one.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from lungcad.atomic import sync
from lungcad.node.logs import log
from lungcad.node.settings import Peer
from lungcad.node.spool import Spool
from lungcad.node.work import result_files

LONGEST_WAIT_SECONDS = 900.0
TIMEOUT_SECONDS = 60.0


class SendError(Exception):
    """An archive did not take an object.

    Args:
        reason: reason in words, without anything from the object.
        unreachable: whether the archive itself failed, so that other objects need not be tried now.
    """

    def __init__(self, reason: str, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class Destination(Protocol):
    """Archive that takes results.

    Attributes:
        name: name in the log, without passwords.
    """

    name: str

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """Send objects of one study; yield each that the archive has taken. Raises SendError."""
        ...


class DicomDestination:
    """Archive that takes C-STORE.

    Args:
        title: AE title of the node.
        peer: the archive, with its port.
        tls: context of a connection with TLS; None for a plain one.
    """

    def __init__(self, title: str, peer: Peer, tls: ssl.SSLContext | None = None) -> None:
        self.title, self.peer, self.tls = title, peer, tls
        self.name = f"{peer.title}@{peer.host}:{peer.port}"

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """Send objects over one association; see :class:`Destination`."""
        from pynetdicom.ae import ApplicationEntity

        entity = ApplicationEntity(self.title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_SECONDS
        entity.connection_timeout = TIMEOUT_SECONDS / 4
        for sop_class, syntax in {_meta_of(file) for file in files}:
            entity.add_requested_context(sop_class, syntax)
        tls = (self.tls, self.peer.host) if self.tls else None
        association = entity.associate(self.peer.host, self.peer.port or 0, ae_title=self.peer.title, tls_args=tls)
        if not association.is_established:
            raise SendError("association rejected" if association.is_rejected else "no association", unreachable=True)
        try:
            for file in files:
                yield self._send_one(association, file)
        finally:
            if association.is_established:
                association.release()

    def _send_one(self, association: Any, file: Path) -> Path:
        try:
            status = association.send_c_store(file).get("Status")
        except ValueError:
            raise SendError(f"the archive does not take the SOP class of {file.name}") from None
        except RuntimeError:
            raise SendError("the association broke off", unreachable=True) from None
        if status is None:
            raise SendError("no answer", unreachable=True)
        if status != 0 and status >> 12 != 0xB:  # 0xB...: stored, with a warning
            raise SendError(f"status 0x{status:04X} for {file.name}")
        return file


class WebDestination:
    """Archive that takes STOW-RS.

    Args:
        url: base of its DICOMweb services.
    """

    def __init__(self, url: str) -> None:
        from lungcad.node.web import open_client, without_password

        self.client, self.name = open_client(url), without_password(url)

    def send(self, files: Sequence[Path]) -> Iterator[Path]:
        """Store objects, each with one request; see :class:`Destination`."""
        import requests
        from pydicom import dcmread

        for file in files:
            try:
                answer = self.client.store_instances([dcmread(file)])
            except requests.HTTPError as error:
                code = error.response.status_code if error.response is not None else 0
                down = code >= 500 or code in (401, 403, 404, 429)
                raise SendError(f"HTTP {code} for {file.name}", unreachable=down) from None
            except requests.RequestException as error:
                raise SendError(type(error).__name__, unreachable=True) from None
            if answer.get("FailedSOPSequence"):
                reason = answer.FailedSOPSequence[0].get("FailureReason")
                raise SendError(f"the archive refused {file.name} (reason {reason})")
            yield file


class Outbox:
    """Results in the spool that wait for their archives.

    Args:
        spool: the spool.
        destinations: archives; each gets everything.
        first_wait_seconds: wait after a first failure; doubled with each further one, up to 15 minutes.
        clock: seconds, monotonic.
    """

    def __init__(self, spool: Spool, destinations: Sequence[Destination], first_wait_seconds: float,
                 clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self.spool, self.destinations, self.clock = spool, destinations, clock
        self.first_wait_seconds = first_wait_seconds
        self.sent = 0
        self.last_failure = ""
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def waiting(self) -> list[Path]:
        """Folders of results that some archive has not taken, the oldest first."""
        folders = [path for path in self.spool.outbox.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(folders, key=lambda path: path.stat().st_mtime)

    def send_due(self) -> None:
        """Send everything whose time has come; remove what every archive has taken."""
        for folder in self.waiting():
            left = False
            for destination in self.destinations:
                left |= not self._send_to(destination, folder)
            if not left:
                self.spool.record(folder.name, outcome="reported", objects=len(result_files(folder)))
                self.spool.remove_results(folder.name)

    def _send_to(self, destination: Destination, folder: Path) -> bool:
        """Send what one archive has not taken of one result; return whether it now has all."""
        mark = f".{sha256(destination.name.encode()).hexdigest()[:8]}.sent"
        files = [file for file in result_files(folder) if not file.with_name(file.name + mark).exists()]
        result_key, archive_key = (destination.name, folder.name), (destination.name, "")
        now = self.clock()
        if not files or any(now < self._failures.get(key, (0, 0.0))[1] for key in (result_key, archive_key)):
            return not files
        try:
            for file in destination.send(files):
                _mark_taken(file.with_name(file.name + mark))
                self.sent += 1
                log.info("sent to %s: %s of %s", destination.name, file.name, folder.name)
        except SendError as error:
            self._note_failure(archive_key if error.unreachable else result_key, str(error))
            return False
        except Exception as error:  # a library's own error must not end the sending of everything else
            self._note_failure(result_key, type(error).__name__)
            return False
        for key in (result_key, archive_key):
            self._failures.pop(key, None)
        return True

    def _note_failure(self, key: tuple[str, str], reason: str) -> None:
        count = self._failures.get(key, (0, 0.0))[0] + 1
        wait = min(self.first_wait_seconds * 2 ** (count - 1), LONGEST_WAIT_SECONDS)
        self._failures[key] = count, self.clock() + wait
        self.last_failure = f"{key[0]}: {reason}"
        log.warning("not sent to %s: %s (tried %d times, again in %.0f s)", key[0], reason, count, wait)


def _mark_taken(marker: Path) -> None:
    """Note on the disk that an object was taken."""
    marker.touch()
    sync(marker.parent)


def _meta_of(file: Path) -> tuple[str, str]:
    """SOP class and transfer syntax of a file of the outbox."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(file)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
