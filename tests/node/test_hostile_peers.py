# SPDX-License-Identifier: Apache-2.0
"""Peers that are not configured, hostile or broken change nothing: a good study still goes through."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from small_pacs import (
    ARCHIVE,
    LOOPBACK,
    NODE,
    SCANNER,
    Archive,
    running_node,
    send,
    small_study,
    wait_for,
)

from lungcad.node.service import Node
from lungcad.node.settings import Peer


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    one = Archive()
    yield one
    one.stop()


@pytest.fixture
def node(tmp_path: Path, archive: Archive) -> Iterator[Node]:
    archive.taken.clear()
    with running_node(tmp_path, archive, object_bytes=1 << 20, quota_bytes=64 << 20) as one:
        yield one


def raw(node: Node, *parts: bytes) -> socket.socket:
    """A connection that sends bytes as they are."""
    connection = socket.create_connection((LOOPBACK, node.receiver.port), 5)
    for part in parts:
        try:
            connection.sendall(part)
        except OSError:  # the node has closed it
            break
    return connection


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(("caller", "called"), [("STRANGER", NODE), (SCANNER, "OTHER"), (ARCHIVE, NODE)])
def test_unknown_titles_are_rejected(caller: str, called: str, node: Node) -> None:
    assert send(small_study(slices=1), node.receiver.port, caller, called) == []
    assert node.receiver.received == 0


def test_a_peer_at_another_address_is_not_even_heard(tmp_path: Path, archive: Archive) -> None:
    with running_node(tmp_path, archive, peers=(Peer(SCANNER, "127.0.0.2"),)) as node:
        assert send(small_study(slices=1), node.receiver.port) == []
        assert is_closed(raw(node))


def test_junk_half_associations_and_endless_messages_change_nothing(
    node: Node, tmp_path: Path, archive: Archive
) -> None:
    entity = AE(SCANNER)
    entity.add_requested_context(CTImageStorage)
    half = entity.associate(LOOPBACK, node.receiver.port, ae_title=NODE)
    connections = [
        raw(node),  # says nothing
        raw(node, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        raw(node, bytes(range(256)) * 64),
        raw(node, struct.pack(">BBL", 1, 0, 200), b"\0\1"),  # half a request for an association
        raw(node, struct.pack(">BBL", 1, 0, 0xFFFFFFFF), b"\0" * 4096),  # 4 GB of it
        raw(node, struct.pack(">BBL", 4, 0, 100), b"\0" * 100),  # data before any association
    ]
    assert is_closed(connections[4])
    assert set(send(small_study(), node.receiver.port)) == {0}
    wait_for(lambda: archive.taken)
    half.abort()
    for connection in connections:
        connection.close()
    assert list(archive.taken.values()) == [1]


def test_an_object_beyond_the_limit_is_broken_off_and_leaves_nothing(
    node: Node, tmp_path: Path, archive: Archive
) -> None:
    (large,) = small_study(7, slices=1)
    large.PixelData = bytes(3 << 20)
    assert send([large], node.receiver.port) != [0]
    wait_for(lambda: not any((tmp_path / "receiving").iterdir()))
    assert not any((tmp_path / "studies").iterdir())
    assert set(send(small_study(), node.receiver.port)) == {0}
    wait_for(lambda: archive.taken)


def test_a_peer_that_vanishes_in_the_middle_of_an_object_leaves_nothing(node: Node, tmp_path: Path) -> None:
    entity = AE(SCANNER)
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(LOOPBACK, node.receiver.port, ae_title=NODE)
    (image,) = small_study(8, slices=1)
    image.PixelData = bytes(900 << 10)
    transport = association.dul.socket
    whole = transport.send

    def cut(data: bytes) -> None:
        if len(data) > 8000:
            transport.socket.shutdown(socket.SHUT_RDWR)
        whole(data)

    transport.send = cut  # type: ignore[method-assign, union-attr]
    with contextlib.suppress(Exception):  # whatever the sender makes of it
        association.send_c_store(image)
    wait_for(lambda: not any((tmp_path / "receiving").iterdir()))
    assert node.receiver.received == 0


def test_a_full_spool_refuses_and_takes_again_when_there_is_room(tmp_path: Path, archive: Archive) -> None:
    study = small_study(9)
    with running_node(tmp_path, archive, quota_bytes=12_000, still_seconds=60) as node:
        statuses = send(study, node.receiver.port)
        assert statuses[0] == 0 and statuses[-1] == 0xA700
        assert len(list((tmp_path / "studies").glob("*/images/*"))) == statuses.count(0)
        node.spool.quota_bytes = 1 << 20
        assert send(study[-1:], node.receiver.port) == [0]


def test_objects_that_are_not_what_the_request_says_are_refused(node: Node, tmp_path: Path) -> None:
    images = small_study(10, slices=3)
    del images[0].StudyInstanceUID
    images[1].StudyInstanceUID = "../../../tmp/escape"
    del images[2].Rows, images[2].PixelData
    statuses = send(images, node.receiver.port)
    assert statuses[:2] == [0xA900, 0xA900] and statuses[2] in (0xC000, 0)
    assert not (tmp_path.parent / "tmp").exists() and node.receiver.received == statuses.count(0)


def test_a_silent_handshake_holds_nobody_up(tmp_path: Path, archive: Archive, tls_files: tuple[Path, Path]) -> None:
    """With TLS: a client that says nothing, one without TLS, and one that the node knows by its certificate."""
    from lungcad.node.settings import tls_contexts

    certificate, key = map(str, tls_files)
    server, client = tls_contexts(certificate, key, certificate)
    archive.taken.clear()
    with running_node(tmp_path, archive, server_tls=server) as node:
        silent = raw(node)
        begun = time.monotonic()
        assert send(small_study(11, slices=1), node.receiver.port) == []  # without TLS
        assert set(send(small_study(11), node.receiver.port, tls=(client, LOOPBACK))) == {0}
        assert time.monotonic() - begun < 14
        silent.close()
        wait_for(lambda: archive.taken)


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    import shutil
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "node.crt", folder / "node.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=node"
    options = ["-addext", f"subjectAltName=IP:{LOOPBACK}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    return certificate, key
