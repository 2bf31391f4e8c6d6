# SPDX-License-Identifier: Apache-2.0
"""Rows and cells of the Markdown tables that figures are told in."""

from collections.abc import Sequence
from typing import Any


def row(*cells: Any) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(str, cells))} |\n"


def with_interval(value: float | None, interval: Sequence[float] | None, form: str, unit: str = "") -> str:
    """A figure and its interval, the unit behind the figure; a dash where it is unknown."""
    if value is None or interval is None:
        return "-"
    low, high = interval
    return f"{value:{form}}{unit} ({low:{form}} to {high:{form}})"
