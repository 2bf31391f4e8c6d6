# SPDX-License-Identifier: Apache-2.0
"""Journal of a batch: what became of each series, a line of JSON each, appended and flushed as it happens.

A shard has a file of its own in ``<out>/batch/status``, which is locked while a process works on the shard. A line that
a killed process left incomplete is no line; its series is missing and is analysed again.
"""

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lungcad.batch.shards import Shard
from lungcad.errors import InputError

DONE, REFUSED, FAILED = "done", "refused", "failed"
"""States of a series: a result, a refusal with its code, a crash."""
LOCK_SECONDS = 60.0
"""Time to wait for an earlier process of the same shard, which may be dying."""


@dataclass(frozen=True, slots=True)
class Row:
    """Line of a journal.

    Attributes:
        series_uid: name of the series.
        state: DONE, REFUSED or FAILED.
        fingerprint: of input, settings, weights and version.
        code: code of a refusal; type of the exception of a crash.
        reason: text of the refusal or crash, without names and paths.
        seconds: duration by step.
        time: end of the work, UTC in ISO 8601.
    """

    series_uid: str
    state: str
    fingerprint: str
    code: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    time: str = ""


class Journal:
    """Open journal of one shard, which holds the shard's lock.

    Args:
        out: output folder.
        shard: the shard.
        seconds: how long to wait for another process of this shard.

    Raises:
        InputError: E-OUTPUT, another process works on the shard, or on the folder with another number of shards.
    """

    def __init__(self, out: Path, shard: Shard, seconds: float = LOCK_SECONDS) -> None:
        folder = status_folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{shard}.jsonl"
        self._file: BinaryIO = path.open("ab", buffering=0)
        try:
            _lock(self._file, fcntl.LOCK_EX, seconds)
            for other in folder.glob("*.jsonl"):
                if not other.stem.endswith(f"-of-{shard.count}"):
                    with other.open("rb") as file:
                        _lock(file, fcntl.LOCK_SH, 0.0)
        except InputError:
            self._file.close()
            raise
        if path.stat().st_size and path.read_bytes()[-1:] != b"\n":
            self._file.write(b"\n")

    def add(self, row: Row) -> None:
        """Append a row, with the time, in one write that a reader sees at once."""
        row = row if row.time else replace(row, time=datetime.now(UTC).isoformat(timespec="milliseconds"))
        self._file.write((json.dumps(asdict(row), ensure_ascii=True) + "\n").encode())

    def close(self) -> None:
        """Give up the lock."""
        self._file.close()


def status_folder(out: Path) -> Path:
    """Folder of the journals of all shards."""
    return out / "batch" / "status"


def read_rows(out: Path) -> Iterator[Row]:
    """Complete rows of all journals of an output folder."""
    for path in sorted(status_folder(out).glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError):  # the incomplete line of a killed process
                    yield Row(**json.loads(line))


def latest_rows(out: Path, is_wanted: Callable[[str], bool] = lambda uid: True) -> dict[str, Row]:
    """Latest row by UID of each series whose UID ``is_wanted`` accepts; all by default."""
    latest: dict[str, Row] = {}
    for row in read_rows(out):
        if is_wanted(row.series_uid) and (row.series_uid not in latest or latest[row.series_uid].time <= row.time):
            latest[row.series_uid] = row
    return latest


def _lock(file: BinaryIO, kind: int, seconds: float) -> None:
    """Lock a file; a file system without locks is trusted.

    Raises:
        InputError: E-OUTPUT, another process holds the lock for longer than that.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                shard = Path(file.name).stem.replace("-", " ")
                text = f"another process works on shard {shard} in the output folder."
                raise InputError("E-OUTPUT", text, "Wait for it or stop it.") from error
            time.sleep(min(0.2, max(seconds, 0.01)))
        except OSError:
            return
