# SPDX-License-Identifier: Apache-2.0
"""Reading ahead: a scan is read and its lungs are found in a child process, while this one imports PyTorch and MONAI.

Both take seconds, and reading needs neither library. Threads could not do it, because imports hold Python's global
lock. The child is a fork, made while the process is small and has one thread, and decodes into memory that both share.
"""

import atexit
import contextlib
import mmap
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lungcad.dicom.lost import State, folder_state
from lungcad.dicom.series import BegunSeries
from lungcad.errors import InputError
from lungcad.reading.volume_file import BegunFile, begin_volume
from lungcad.scan.lungs import LungMask, segment_lungs
from lungcad.volume import Origin, Volume

Answer = tuple[Volume, tuple[int, ...], tuple[int, ...], int, LungMask | InputError, dict[str, float]]
"""Answer of the child: volume without its voxels; their shape, strides in bytes and first byte in the shared memory;
lungs or their refusal; seconds by stage."""

_BEGUN: dict[str, "ScanAhead"] = {}
"""Scans that are being read, by the arguments that they were asked for with."""


class ScanAhead:
    """Scan whose headers were checked, and which a child process reads.

    Args:
        begun: series or file whose headers were checked.
        before: sizes and times of the files before they were read.

    Attributes:
        seconds: duration of reading and of finding the lungs, by stage, after :meth:`result`.
    """

    def __init__(self, begun: BegunSeries | BegunFile, before: State) -> None:
        self.begun, self.before = begun, before
        self.seconds: dict[str, float] = {}
        self._memory = mmap.mmap(-1, 4 * begun.voxels)
        reader, writer = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(reader)
            self._answer(writer)
        os.close(writer)
        self._pipe = os.fdopen(reader, "rb")
        atexit.register(self._end)

    def result(self) -> tuple[Volume, LungMask]:
        """Wait for the child; a child that failed for another reason than a refusal is replaced by this process.

        Raises:
            InputError: refusal of the pixels; E-NO-LUNG.
        """
        with self._pipe:
            answer = self._pipe.read()
        self._end()
        try:
            found: Answer | InputError = pickle.loads(answer)
        except (EOFError, pickle.UnpicklingError):
            return self._read_here()
        if isinstance(found, InputError):
            raise found
        volume, shape, strides, offset, lungs, self.seconds = found
        if isinstance(lungs, InputError):
            raise lungs
        volume.hu = np.ndarray(shape, np.float32, self._memory, offset, strides)
        assert volume.origin is not None
        if isinstance(self.begun, BegunSeries) and self.begun.is_single:
            volume.origin = replace(volume.origin, series=self.begun)
        return volume, lungs

    def _read_here(self) -> tuple[Volume, LungMask]:
        """Read in this process."""
        start = time.perf_counter()
        volume = self.begun.decode()
        middle = time.perf_counter()
        lungs = segment_lungs(volume)
        self.seconds = {"read": middle - start, "lungs": time.perf_counter() - middle}
        return volume, lungs

    def _answer(self, writer: int) -> None:
        """Read, write the answer to a pipe, and end the process: the child's life. Other failures write nothing."""
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches parent and child
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(pickle.dumps(self._work(), pickle.HIGHEST_PROTOCOL))
        os._exit(0)

    def _work(self) -> Answer | InputError:
        """Read the scan into the shared memory and find the lungs."""
        start = time.perf_counter()
        shared = np.frombuffer(self._memory, np.float32)
        try:
            volume = self.begun.decode(shared)
        except InputError as error:
            return error
        middle = time.perf_counter()
        lungs: LungMask | InputError
        try:
            lungs = segment_lungs(volume)
        except InputError as error:
            lungs = error
        if not np.may_share_memory(volume.hu, shared):
            raise MemoryError("resampled: the voxels lie elsewhere")  # the parent reads again
        seconds = {"read": middle - start, "lungs": time.perf_counter() - middle}
        offset = volume.hu.__array_interface__["data"][0] - shared.__array_interface__["data"][0]
        origin = volume.origin and Origin(volume.origin.path, volume.origin.leniency)
        without = replace(volume, hu=np.empty((0, 0, 0), np.float32), origin=origin)
        return without, volume.hu.shape, volume.hu.strides, offset, lungs, seconds

    def _end(self) -> None:
        """End the child, whether it is done or not."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0


def begin_reading(path: str, series_uid: Any = None, acquisition: Any = None, leniency: Any = None) -> None:
    """Check the headers of a scan and begin to read it ahead, where the machine allows that.

    Values of another kind are left for the run to refuse.

    Raises:
        InputError: the headers are refused.
    """
    if not isinstance(leniency or {}, Mapping) or not isinstance(series_uid, str | None):
        return
    acquisition = None if acquisition is None else str(acquisition)
    before = folder_state(path)
    begun = begin_volume(path, series_uid, acquisition, **(leniency or {}))
    if can_fork():
        with contextlib.suppress(OSError):  # no memory, or no process: it is read later
            _BEGUN[_key(path, series_uid, acquisition, leniency)] = ScanAhead(begun, before)


def take_begun(
    path: str, series_uid: str | None, acquisition: str | None, leniency: Mapping[str, Any]
) -> ScanAhead | None:
    """Scan that :func:`begin_reading` began to read with these arguments, once; None where there is none."""
    return _BEGUN.pop(_key(path, series_uid, acquisition, leniency), None)


def can_fork() -> bool:
    """Whether a fork is safe and useful: Linux, one thread so far, no PyTorch yet, a processor to spare."""
    return (
        sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
        and len(os.sched_getaffinity(0)) > 1
    )  # fmt: skip


def _key(*arguments: Any) -> str:
    return repr([dict(argument) if isinstance(argument, Mapping) else argument or {} for argument in arguments])
