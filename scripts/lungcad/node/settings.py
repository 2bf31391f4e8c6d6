# SPDX-License-Identifier: Apache-2.0
"""Settings of a node: its own title and port, its peers, and its limits."""

import re
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from lungcad.errors import InputError
from lungcad.printable import printable

_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
"""AE title: at most 16 printable characters of ASCII without a backslash (PS3.5 6.2), no space at its ends."""
_PEER = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]]+)(?::(?P<port>\d{1,5}))?")


TlsPair = tuple[ssl.SSLContext, ssl.SSLContext]
"""TLS of incoming and of outgoing connections."""


@dataclass(frozen=True)
class Peer:
    """Application entity of another machine.

    Attributes:
        title: AE title.
        host: name or address.
        port: port on which it listens; None where it is never called.
    """

    title: str
    host: str
    port: int | None = None

    @property
    def addresses(self) -> frozenset[str]:
        """IP addresses of the host.

        Raises:
            InputError: E-NODE, the name is not known.
        """
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            text = f"the host of {self.title} is not known ({error.strerror})."
            raise InputError("E-NODE", text, "Give its address.") from error
        return frozenset(str(entry[4][0]) for entry in found)


def ae_title(name: str, text: str) -> str:
    """AE title as given for an option; raises InputError E-USAGE for anything else."""
    if not _TITLE.fullmatch(text):
        expected = "expected 1 to 16 characters, such as LUNGCAD"
        raise InputError("E-USAGE", f"--{name} holds the AE title {printable(text, 40)} ({expected}).")
    return text


def parse_peers(name: str, text: str | None, port_needed: bool = False) -> tuple[Peer, ...]:
    """Peers from a list such as ``PACS@10.0.0.5:104,CT1@ct1.example``.

    Args:
        name: name of the option.
        text: the list; None is none.
        port_needed: whether each needs a port.

    Raises:
        InputError: E-USAGE.
    """
    peers = []
    for part in filter(None, (text or "").split(",")):
        match = _PEER.fullmatch(part.strip())
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port_needed and port is None) or not (port is None or 0 < port < 65536):
            shape = "AET@HOST:PORT" if port_needed else "AET@HOST or AET@HOST:PORT"
            raise InputError("E-USAGE", f"--{name} holds {printable(part, 80)} (expected {shape}).")
        peers.append(Peer(ae_title(name, match["title"]), match["host"].strip("[]"), port))
    return tuple(peers)


@dataclass(frozen=True)
class Settings:
    """Settings of a node.

    Attributes:
        title: AE title of the node.
        port: port on which it listens; 0 for any free one.
        peers: peers that may send; one with a port gets answers to storage commitment there.
        spool: folder of its state and of everything that it has not finished.
        host: address on which it listens; empty for all.
        still_seconds: seconds without a new image after which a study is complete.
        quota_bytes: largest size of the spool.
        object_bytes: largest object that is received.
        server_tls, client_tls: TLS of connections to the node, and of those that it makes; None for plain ones.
        leniency: options of :func:`lungcad.dicom.read_series`.
        comprehensive: write a Comprehensive SR instead of a Comprehensive 3D SR.
        tries: times that the analysis of a study may begin, before it is given up as one that ends the process.
        drain_seconds: time for open associations to end, once the node is asked to stop.
        poll_seconds: time between two looks at the spool.
        first_wait_seconds: wait before a failed sending is tried again; doubled each time.
    """

    title: str
    port: int
    peers: tuple[Peer, ...]
    spool: Path
    host: str = ""
    still_seconds: float = 60.0
    quota_bytes: int = 50 << 30
    object_bytes: int = 4 << 30
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None
    leniency: dict[str, object] = field(default_factory=dict)
    comprehensive: bool = False
    tries: int = 12
    drain_seconds: float = 10.0
    poll_seconds: float = 1.0
    first_wait_seconds: float = 5.0


def tls_contexts(certificate: str | None, key: str | None, authority: str | None) -> TlsPair:
    """TLS for incoming and for outgoing connections, both with the node's certificate.

    Args:
        certificate: file of the node's certificate with its chain, PEM.
        key: file of its private key, PEM.
        authority: file of the certificates that peers must have been signed by; peers then need one themselves. None
            asks clients for none, and judges servers by the machine's own authorities.

    Raises:
        InputError: E-NODE, a file is missing or no certificate or key.
    """
    try:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2  # the BCP 195 profiles of PS3.15 B.9 and later
            context.load_cert_chain(str(certificate), key)
        if authority:
            server.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        text = f"TLS cannot be set up: {reason} (expected --tls_cert and --tls_key, PEM files)."
        raise InputError("E-NODE", text) from error
    return server, client
