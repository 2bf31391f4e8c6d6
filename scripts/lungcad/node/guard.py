# SPDX-License-Identifier: Apache-2.0
"""Limits of the receiver against peers that are not configured, hostile or broken.

pynetdicom speaks the protocol; it sets no limit to the length of a PDU or of an object, keeps what is no object in
memory, and lets one peer's TLS handshake hold up all others. Here connections from other addresses are closed unread,
lengths are checked before the bytes are read, and every wait has an end.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from lungcad.node.logs import log
from lungcad.printable import printable

PDU_BYTES = 1 << 17
"""Largest PDU with data that peers are told they may send."""
PDU_LIMIT = 1 << 20
"""Largest PDU that is read; a request with 128 presentation contexts of many transfer syntaxes has some 100 kB."""
MESSAGE_LIMIT = 16 << 20
"""Largest message that is no object, which pynetdicom keeps in memory; a commitment of 1000 images has 150 kB."""
ROOM_STEP = 8 << 20
"""Bytes of one object between two looks at the space that is left."""
HANDSHAKE_SECONDS = 15.0
NETWORK_SECONDS = 60.0
"""Longest silence of a peer."""


class LimitError(OSError):
    """A peer broke a limit; pynetdicom takes it for a broken connection and closes it."""


class Meter:
    """Bytes of one association, counted before they are read.

    Args:
        association: association of pynetdicom; its current message says whether it goes to a file.
        object_bytes: largest object.
        has_room: whether the spool may grow.
    """

    def __init__(self, association: Any, object_bytes: int, has_room: Callable[[], bool]) -> None:
        self.association, self.object_bytes, self.has_room = association, object_bytes, has_room
        self.count = self.looked_at = 0

    def recv(self, read: Callable[[int], bytearray], length: int) -> bytearray:
        """Read ``length`` bytes with pynetdicom's function ``read``; raises LimitError instead where too many."""
        if length > PDU_LIMIT:
            raise self._broken(f"a PDU of {length} bytes")
        message = self.association.dimse.message
        if message is None:  # the last one is complete
            self.count = self.looked_at = 0
        self.count += length
        in_file = getattr(message, "_data_set_file", None) is not None
        if self.count > (self.object_bytes if in_file else MESSAGE_LIMIT):
            raise self._broken(f"{'an object' if in_file else 'a message'} of more than {self.count} bytes")
        if self.count - self.looked_at > ROOM_STEP:
            self.looked_at = self.count
            if not self.has_room():
                raise self._broken("an object for which the spool has no room")
        return read(length)

    def _broken(self, what: str) -> LimitError:
        log.warning("association closed: %s sends %s", address_of(self.association), what)
        forget_object(self.association)
        break_off(self.association)
        return LimitError(what)


def forget_object(association: Any) -> None:
    """Remove the file of an object that an association was receiving when it ended."""
    path = getattr(association.dimse.message, "_data_set_path", None)
    if path is not None:
        path.unlink(missing_ok=True)


def break_off(association: Any) -> None:
    """Close the connection of an association, whatever it is waiting for."""
    connection = association.dul.socket.socket
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def address_of(association: Any) -> str:
    """IP address of the peer of an association."""
    return printable(association.requestor.address, 60)


class GuardedHandler(RequestHandler):
    """Handler of one connection, with a :class:`Meter`."""

    server: "GuardedServer"

    def _create_association(self) -> Any:
        association: Any = super()._create_association()
        transport: Any = association.dul.socket
        meter = Meter(association, self.server.object_bytes, self.server.has_room)
        transport.recv = partial(meter.recv, transport.recv)
        return association


class GuardedServer(ThreadedAssociationServer):
    """Server that takes connections from configured addresses only.

    Args:
        addresses: IP addresses that may connect.
        object_bytes: largest object.
        has_room: whether the spool may grow.
        args, kwargs: arguments of pynetdicom's server.
    """

    daemon_threads = True

    def __init__(self, *args: Any, addresses: frozenset[str], object_bytes: int, has_room: Callable[[], bool],
                 **kwargs: Any) -> None:  # fmt: skip
        self.addresses, self.object_bytes, self.has_room = addresses, object_bytes, has_room
        super().__init__(*args, **kwargs | {"request_handler": GuardedHandler})

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its handshake, if any, is done in its own thread."""
        connection, address = self.socket.accept()  # type: ignore[union-attr]
        connection.settimeout(HANDSHAKE_SECONDS)
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the connection comes from a configured address."""
        known = str(client_address[0]).removeprefix("::ffff:") in self.addresses
        if not known:
            log.warning("connection refused: %s is no peer's address", printable(client_address[0], 60))
        return known

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Complete the handshake, then serve the association."""
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        request.settimeout(NETWORK_SECONDS)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed; its text could quote anything."""
        log.warning("connection from %s failed", printable(client_address[0], 60))
