# SPDX-License-Identifier: Apache-2.0
"""Checks of values given on the command line, after fire has read them."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from lungcad.errors import InputError
from lungcad.printable import printable


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Word that is one of those known; raises InputError E-USAGE for any other."""
    words = list(known)
    if value not in words:
        near = difflib.get_close_matches(str(value), words, n=1)
        text = f"--{name} is {printable(value, 80)} (expected {' or '.join(words)})."
        raise InputError("E-USAGE", text, f"Did you mean {near[0]}?" if near else "")
    return value


def listed(value: Any) -> list[str]:
    """Parts of a list that fire has read as one, or as text such as ``a,b`` or ``[a,b]``; empty ones are left out."""
    parts = value if isinstance(value, list | tuple) else str(value).removeprefix("[").removesuffix("]").split(",")
    return [part for part in (str(part).strip() for part in parts) if part]


def whole_number(name: str, value: Any, least: int) -> int:
    """Whole number of at least ``least``; raises InputError E-USAGE for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError("E-USAGE", f"--{name} is {value} (expected a whole number from {least}).")
    return value


def whole_numbers(name: str, value: Any) -> list[int]:
    """Whole numbers from 0 that fire has read as one or as several; raises InputError E-USAGE for anything else."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        text = f"--{name} is {printable(value, 80)} (expected whole numbers, separated by commas)."
        raise InputError("E-USAGE", text, "Such as 0,1,2, or () for none.")
    return numbers


def true_or_false(name: str, value: Any) -> bool:
    """Value of a config's key that is true or false, in any case; raises InputError E-CONFIG for any other word."""
    word = str(value).lower()
    if word not in ("true", "false"):
        raise InputError("E-CONFIG", f"{name} is {printable(value, 80)} (expected true or false).")
    return word == "true"


def text_or_none(name: str, value: Any) -> str | None:
    """Value of a config's key that is a word or null; raises InputError E-CONFIG for lists, numbers and switches."""
    if value is not None and not isinstance(value, str):
        raise InputError("E-CONFIG", f"{name} is {printable(value, 80)} (expected text).")
    return value


def options_by_name(name: str, value: Any) -> Mapping[str, Any]:
    """Value of a config's key that is a set of options; null is none; raises InputError E-CONFIG for anything else."""
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        example = "Such as \"{'max_spacing_mm': 7}\"."
        raise InputError("E-CONFIG", f"{name} is {printable(value, 80)} (expected options by name).", example)
    return value or {}


def thresholds_by_name(name: str, value: Any) -> Mapping[str, float]:
    """Least probabilities by name of the operating point; raises InputError E-CONFIG for anything else."""
    for point, threshold in options_by_name(name, value).items():
        if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
            text = f"{name} of {printable(point, 40)} is {printable(threshold, 80)} (expected a number from 0 to 1)."
            raise InputError("E-CONFIG", text)
    return value or {}


def check_operating_point(name: str, thresholds: Mapping[str, float]) -> None:
    """Refuse a name that no threshold has; raises InputError E-CONFIG."""
    if not isinstance(name, str) or name not in thresholds:
        known = ", ".join(thresholds)
        raise InputError("E-CONFIG", f"unknown operating point: {printable(name, 80)} (expected {known}).")


def probability(name: str, value: Any) -> float:
    """Number from 0 to 1; raises InputError E-USAGE for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InputError("E-USAGE", f"--{name} is {value} (expected a number from 0 to 1).")
    return float(value)


def positive_number(name: str, value: Any) -> float:
    """Number above 0; raises InputError E-USAGE for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise InputError("E-USAGE", f"--{name} is {printable(value, 80)} (expected a number above 0).")
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
