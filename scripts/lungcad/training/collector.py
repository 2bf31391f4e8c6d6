# SPDX-License-Identifier: Apache-2.0
"""What the scorers of an evaluation have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events


class Collector(ABC):
    """Collects case by case, and writes at the end; attached to an ignite engine it does so by itself.

    Args:
        output_dir: to write to.
        data: what was scored on, in words; goes into the figures.
    """

    def __init__(self, output_dir: str, data: str):
        self.folder, self.data = Path(output_dir), data

    def attach(self, engine: Engine) -> None:
        """Start afresh, collect, write."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.add(engine.state.batch, engine.state.output))
        engine.add_event_handler(Events.COMPLETED, self.write)

    @abstractmethod
    def start(self) -> None:
        """Forget what was collected."""

    @abstractmethod
    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Take in one case, or one nodule.

        Args:
            batch: what went into the network, and what postprocessing made of it.
            output: of the engine.
        """

    @abstractmethod
    def write(self) -> None:
        """Write what was collected."""
