# SPDX-License-Identifier: Apache-2.0
"""Pool of workers: gives each one series to analyse and one to read, and replaces those that end or die.

Python's own process pools break when a worker is killed; here the series that it had go to another worker, alone, and a
series on which two workers died is a row of its own.
"""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from lungcad.batch.journal import FAILED, Row
from lungcad.batch.worker import READY, EngineLike, Fatal, Settled, Task, serve

MAX_DEATHS = 2
"""Number of workers that may die on a series before it counts as failed."""
MAX_FALSE_STARTS = 3
"""Number of workers in a row that may die before they are ready."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


@dataclass(eq=False)
class _Worker:
    """Running worker, the function that loads its engine, and the series that it has."""

    process: BaseProcess
    connection: Connection
    make: Callable[[], EngineLike]
    tasks: deque[Task] = field(default_factory=deque)
    given: int = 0
    ready: bool = False
    ending: bool = False


class Pool:
    """Processes that analyse series.

    Args:
        makers: for each worker, a function that can be pickled and loads its engine.
        threads: threads of a worker.
        max_gb: memory of a worker beyond which another takes its place.
        series_per_worker: number of series after which another takes its place.
    """

    def __init__(self, makers: Sequence[Callable[[], EngineLike]], threads: int = 1, max_gb: float = float("inf"),
                 series_per_worker: int = 200) -> None:  # fmt: skip
        self._makers, self._threads = makers, threads
        self._max_gb, self._max_series = max_gb, series_per_worker
        self._workers: list[_Worker] = []
        self._waiting: deque[Task] = deque()
        self._false_starts = 0

    def run(self, tasks: Iterator[Task]) -> Iterator[Settled]:
        """Yield a settled row for each task, in the order in which they end.

        Raises:
            InputError: a worker cannot load its engine or write its results.
            RuntimeError: workers die before they are ready.
        """
        self._tasks = tasks
        try:
            for make in self._makers:
                if self._has_waiting():
                    self._start(make)
            while self._workers:
                self._hand_out()
                for connection in wait([worker.connection for worker in self._workers]):
                    worker = next(worker for worker in self._workers if worker.connection is connection)
                    yield from self._receive(worker)
        finally:
            self._kill()

    def _start(self, make: Callable[[], EngineLike]) -> None:
        """Start a worker; its threads are limited by the environment, which its libraries read as they load."""
        context = multiprocessing.get_context("spawn")
        pool_end, worker_end = context.Pipe()
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update(dict.fromkeys(THREADS, str(self._threads)))
        try:
            process = context.Process(target=serve, args=(worker_end, make, self._max_gb), daemon=True)
            process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        worker_end.close()
        self._workers.append(_Worker(process, pool_end, make))

    def _hand_out(self) -> None:
        """Give each worker a series, then each a second one to read; end those for which there is none."""
        for depth in (1, 2):
            for worker in self._workers:
                if worker.ending or len(worker.tasks) >= depth or any(task.deaths for task in worker.tasks):
                    continue
                task = self._next(alone=not worker.tasks) if worker.given < self._max_series else None
                if task is not None:
                    worker.tasks.append(task)
                    worker.given += 1
                    self._send(worker, task)
                elif not worker.tasks:
                    worker.ending = True
                    self._send(worker, None)

    def _send(self, worker: _Worker, message: Task | None) -> None:
        with contextlib.suppress(OSError):  # dead: its connection says so at once
            worker.connection.send(message)

    def _next(self, alone: bool) -> Task | None:
        """Next series; one that an ended worker had goes to a worker that has none."""
        if self._waiting and alone:
            return self._waiting.popleft()
        return next(self._tasks, None)

    def _has_waiting(self) -> bool:
        """Whether a series waits for a worker."""
        if not self._waiting and (task := next(self._tasks, None)) is not None:
            self._waiting.append(task)
        return bool(self._waiting)

    def _receive(self, worker: _Worker) -> Iterator[Settled]:
        """Take one message of a worker, or notice its end."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(message, Fatal):
            raise message.error
        if message == READY:
            worker.ready, self._false_starts = True, 0
        else:
            worker.tasks.popleft()
            yield message

    def _replace(self, worker: _Worker) -> Iterator[Settled]:
        """Replace a worker that has ended; its series are analysed again, unless several workers died on them."""
        worker.process.join()
        self._workers.remove(worker)
        worker.connection.close()
        code = worker.process.exitcode or 0
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= MAX_FALSE_STARTS:
                raise RuntimeError(f"{MAX_FALSE_STARTS} workers died before they were ready ({_death(code)})")
        for task in worker.tasks:
            task.deaths += bool(code) and worker.ready
            if task.deaths < MAX_DEATHS:
                self._waiting.append(task)
                continue
            reason = f"{MAX_DEATHS} workers died on this series ({_death(code)})"
            yield Settled(Row(task.item.series_uid, FAILED, task.fingerprint, "WorkerDied", reason), reason)
        if self._has_waiting():
            self._start(worker.make)

    def _kill(self) -> None:
        """Kill all workers; what they were writing vanishes at the next start."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()


def _death(code: int) -> str:
    """Exit code in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
