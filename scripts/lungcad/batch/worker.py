# SPDX-License-Identifier: Apache-2.0
"""Worker: a process with a warm chain, which reads the next series while one is in the networks.

It dies with the process that started it, and may be killed at any moment: results appear whole or not at all.
"""

import ctypes
import functools
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from lungcad.batch.journal import DONE, FAILED, REFUSED, Row
from lungcad.batch.manifest import Item
from lungcad.batch.resources import resident_gb
from lungcad.cpu import release_memory
from lungcad.errors import InputError, find_input_error
from lungcad.printable import printable


class EngineLike(Protocol):
    """Interface of an engine, as a worker uses it; see :class:`lungcad.batch.engine.Engine`."""

    def read(self, item: Item) -> Any:
        """Read a series."""

    def finish(self, item: Item, volume: Any, fingerprint: str) -> dict[str, float]:
        """Find its nodules, write the results, return the seconds by step."""


def load_engine(settings: Mapping[str, Any], out: Path) -> EngineLike:
    """Load the engine with its chain; imports torch. Arguments and errors are those of its class."""
    from lungcad.batch.engine import Engine

    return Engine(settings, out)


@dataclass
class Task:
    """Series to analyse: its row of the manifest, its fingerprint, and how many workers died on it so far."""

    item: Item
    fingerprint: str
    deaths: int = 0


@dataclass(frozen=True)
class Settled:
    """Message of a worker on a task: its row, and the traceback of a crash."""

    row: Row
    trace: str = ""


@dataclass(frozen=True)
class Fatal:
    """Message of a worker that cannot go on with any series."""

    error: Exception


KEPT_GB = 3.0
"""Resident memory beyond which a worker gives freed memory back after a scan. After every scan it would cost a sixth of
the time, because the next scan pays for each page again; a scan itself takes at most 2 GB."""

READY = "ready"
"""Message of a worker whose engine is loaded."""


def serve(connection: Connection, make: Callable[[], EngineLike], max_gb: float) -> None:
    """Answer tasks until None comes, a series crashes, or the memory grows beyond a limit.

    After a crash nobody knows what state the libraries are in, so the process ends and another takes its place.

    Args:
        connection: gives tasks, takes READY, :class:`Settled` and :class:`Fatal`.
        make: function that loads the engine.
        max_gb: resident memory beyond which the worker ends.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        engine = make()
    except Exception as error:
        connection.send(Fatal(_picklable(error)))
        return
    connection.send(READY)
    for task, read in _read_ahead(connection, engine):
        try:
            settled = settle(engine, task, read)
        except InputError as error:
            connection.send(Fatal(error))
            return
        connection.send(settled)
        if resident_gb() > min(KEPT_GB, max_gb / 2):
            release_memory()
        if settled.row.state == FAILED or resident_gb() > max_gb:
            return


def settle(engine: EngineLike, task: Task, read: Callable[[], tuple[Any, float]]) -> Settled:
    """Analyse one series; a refusal or a crash gives a row, too.

    Args:
        engine: engine that finds and writes.
        task: the series.
        read: function that gives its volume and the seconds of its reading.

    Raises:
        InputError: E-OUTPUT, the results cannot be written: those of other series could not either.
    """
    try:
        volume, reading = read()
    except Exception as error:
        return _unfinished(task, error)
    try:
        seconds = {"read": reading, **engine.finish(task.item, volume, task.fingerprint)}
    except Exception as error:
        refusal = find_input_error(error)
        if refusal is not None and refusal.code == "E-OUTPUT":
            raise refusal from error
        return _unfinished(task, error)
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return Settled(Row(task.item.series_uid, DONE, task.fingerprint, seconds=rounded))


def _unfinished(task: Task, error: Exception) -> Settled:
    """Row of a refusal, or of a crash with its traceback; the folder's name, often a patient's, is taken out."""
    refusal = find_input_error(error)
    if refusal is not None:
        return Settled(Row(task.item.series_uid, REFUSED, task.fingerprint, refusal.code, refusal.message))
    name, folder = type(error).__name__, str(task.item.folder)
    reason = printable(str(error).replace(folder, "FOLDER"), 300)
    trace = "".join(traceback.format_exception(error)).replace(folder, "FOLDER")
    return Settled(Row(task.item.series_uid, FAILED, task.fingerprint, name, reason), trace)


def _read_ahead(connection: Connection, engine: EngineLike) -> Iterator[tuple[Task, Callable[[], tuple[Any, float]]]]:
    """Yield tasks, each with a function that gives its volume; a thread reads at most one ahead."""
    waiting: queue.SimpleQueue[tuple[Task, Any, float] | None] = queue.SimpleQueue()
    free_slot = threading.Semaphore(1)

    def read() -> None:
        while True:
            free_slot.acquire()
            try:
                task = connection.recv()
            except (EOFError, OSError):
                task = None
            if task is None:
                waiting.put(None)
                return
            start = time.perf_counter()
            try:
                volume: Any = engine.read(task.item)
            except Exception as error:
                volume = error
            waiting.put((task, volume, time.perf_counter() - start))
            del volume  # the next one would otherwise be read beside it

    threading.Thread(target=read, daemon=True).start()
    while (answer := waiting.get()) is not None:
        task, *held = answer
        del answer
        free_slot.release()
        yield task, functools.partial(_take_volume, held)


def _take_volume(held: list[Any]) -> tuple[Any, float]:
    """Volume, and seconds of its reading, out of a list that is empty afterwards; raises what is an exception."""
    volume, seconds = held
    held.clear()
    if isinstance(volume, Exception):
        raise volume
    return volume, seconds


def _picklable(error: Exception) -> Exception:
    """Exception that another process can unpickle, with its text."""
    refusal = find_input_error(error)
    if refusal is not None:
        return refusal
    return RuntimeError(f"a worker cannot start: {printable(''.join(traceback.format_exception(error)), 1500)}")


def die_with_parent() -> None:
    """Let Linux kill this process when the one that started it ends, however that ends."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
