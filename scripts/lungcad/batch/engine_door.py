# SPDX-License-Identifier: Apache-2.0
"""Door to the engine: a function that a worker calls, so that only workers import torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad.batch.worker import Finder


def make_engine(settings: Mapping[str, Any], out: Path) -> Finder:
    """Load the engine; arguments and errors as for :class:`lungcad.batch.engine.Engine`."""
    from lungcad.batch.engine import Engine

    return Engine(settings, out)
