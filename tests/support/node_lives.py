# SPDX-License-Identifier: Apache-2.0
"""Lives of a node, each ended by SIGKILL at another point, and a last one that ends in order.

``python node_lives.py SPOOL NODE_PORT AET@HOST:PORT`` (of the archive). All is imported once, and each life is a fork.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_pacs import NODE, settings_of, stub_chain

import lungcad.node.sender
import lungcad.node.service
import lungcad.node.work
import lungcad.results.dicom.structured_report  # imported once, not in every life
from lungcad.node.sender import DicomDestination
from lungcad.node.service import Node
from lungcad.node.settings import Peer, parse_peers
from lungcad.node.spool import Spool


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, times: int = 1) -> Callable[[], None]:
    """End the process where a function is called for the n-th time."""
    calls: list[int] = []

    def patch() -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            calls.append(1)
            return die() if len(calls) == times else original(*args, **options)

        setattr(owner, name, wrapped)

    return patch


def after(owner: Any, name: str, times: int = 1) -> Callable[[], None]:
    """End the process where a function has been called for the n-th time."""
    calls: list[int] = []

    def patch() -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            calls.append(1)
            return die() if len(calls) == times else result

        setattr(owner, name, wrapped)

    return patch


POINTS: dict[str, Callable[[], None]] = {
    "an image is on the disk, and its sender not told": after(Spool, "file_image", 3),
    "an image is received, and not in its study": before(Spool, "file_image", 2),
    "a study is complete": before(Spool, "note_begin"),
    "the analysis begins": before(lungcad.node.service, "analyse"),
    "in the chain": before(lungcad.node.work, "read_volume"),
    "results are half written": after(lungcad.node.work, "write_dicom_results"),
    "results are in the outbox, the images still there": before(Spool, "add_results"),
    "the images are gone, nothing sent": before(DicomDestination, "send"),
    "the archive has the report, and the node has not noted it": before(lungcad.node.sender, "_mark_taken"),
    "the study is recorded, its results not removed": after(Spool, "record"),
}


def live(spool: Path, port: int, archive: Peer) -> None:
    """One life."""
    signal.alarm(120)
    node = Node(
        settings_of(spool, port=port, still_seconds=5.0), stub_chain,
        [DicomDestination(NODE, archive)],
    )  # fmt: skip
    node.stop_at_signals()
    node.run()


def fork(task: Callable[[], None]) -> int:
    if (pid := os.fork()) == 0:
        try:
            task()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def main(spool: Path, port: int, archive: Peer) -> None:
    for name, patch in POINTS.items():

        def life(patch: Callable[[], None] = patch) -> None:
            patch()
            live(spool, port, archive)

        _, status = os.waitpid(fork(life), 0)
        print(f"{name}: {'killed' if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)}", flush=True)
    last = fork(lambda: live(spool, port, archive))
    while not (any((spool / "done").glob("*.json")) and not any((spool / "outbox").iterdir())):
        time.sleep(0.05)
    os.kill(last, signal.SIGTERM)
    print(f"last: {os.waitstatus_to_exitcode(os.waitpid(last, 0)[1])}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *parse_peers("archive", sys.argv[3]))
