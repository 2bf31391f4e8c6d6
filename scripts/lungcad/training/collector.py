# SPDX-License-Identifier: Apache-2.0
"""What the scorers of an evaluation have in common."""

from abc import ABC, abstractmethod
from pathlib import Path

from ignite.engine import Engine, Events


class Collector(ABC):
    """Ignite handler: collects case by case, and writes at the end.

    Args:
        output_dir: to write to.
        data: what was scored on, in words; goes into the figures.
    """

    def __init__(self, output_dir: str, data: str):
        self.folder, self.data = Path(output_dir), data

    def attach(self, engine: Engine) -> None:
        """Start afresh, collect, write."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    @abstractmethod
    def _start(self, engine: Engine) -> None: ...

    @abstractmethod
    def _collect(self, engine: Engine) -> None: ...

    @abstractmethod
    def _write(self, engine: Engine) -> None: ...
