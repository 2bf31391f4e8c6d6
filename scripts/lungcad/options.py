# SPDX-License-Identifier: Apache-2.0
"""Values given on the command line: what fire made of them, checked."""

import math
from collections.abc import Mapping
from typing import Any

from lungcad.errors import InputError


def whole(name: str, value: Any, least: int) -> int:
    """Whole number of at least ``least``; raises InputError E-USAGE for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError("E-USAGE", f"--{name} is {value} (expected a whole number from {least}).")
    return value


def switch(name: str, value: Any) -> bool:
    """A config's key that is true or false, in any case; raises InputError E-CONFIG for any other word."""
    word = str(value).lower()
    if word not in ("true", "false"):
        raise InputError("E-CONFIG", f"{name} is {value} (expected true or false).")
    return word == "true"


def check_operating_point(name: str, thresholds: Mapping[str, float]) -> None:
    """Raise InputError E-CONFIG where no threshold has that name."""
    if name not in thresholds:
        raise InputError("E-CONFIG", f"unknown operating point: {name} (expected {', '.join(thresholds)}).")


def probability(name: str, value: Any) -> float:
    """Number from 0 to 1; raises InputError E-USAGE for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InputError("E-USAGE", f"--{name} is {value} (expected a number from 0 to 1).")
    return float(value)


def positive_numbers(name: str, text: str) -> list[float]:
    """Numbers above 0 from a list such as ``0.5,3``; raises InputError E-USAGE where one is none."""
    try:
        numbers = [float(part) for part in text.strip("[]()").split(",") if part.strip()]
    except ValueError:
        numbers = [0.0]
    if not all(0 < number < math.inf for number in numbers):
        raise InputError("E-USAGE", f"--{name} is {text} (expected numbers above 0).", "Such as 0.5,3.")
    return numbers
