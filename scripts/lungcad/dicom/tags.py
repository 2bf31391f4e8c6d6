# SPDX-License-Identifier: Apache-2.0
"""Tags with numbers: read one by one, each refused with its name where it has no usable value."""

import math
from typing import Any

from pydicom.dataset import Dataset


class TagError(ValueError):
    """Error of a tag without a usable value.

    Attributes:
        code: code of the refusal.
        keyword: DICOM keyword of the tag.
        advice: what the user can do; empty where nothing special helps.
    """

    def __init__(self, code: str, keyword: str, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.keyword = keyword
        self.advice = advice


def read_numbers(dataset: Dataset, keyword: str, count: int, default: float | None = None) -> tuple[float, ...]:
    """Read exactly ``count`` finite numbers of a tag.

    Raises:
        TagError: E-TAG-MISSING (absent or empty, and no default), E-TAG-VALUE (anything else).
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == "" or value == b"":
            if default is not None:
                return (default,) * count
            raise TagError("E-TAG-MISSING", keyword, f"{keyword} is missing")
        values = tuple(float(part) for part in (value if _is_multi(value) else [value]))
    except TagError:
        raise
    except Exception as error:  # pydicom converts on access and raises many kinds
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is not a number") from error
    if len(values) != count or not all(map(math.isfinite, values)):
        shown = "\\".join(f"{part:g}" for part in values)
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {shown or 'empty'} (expected {count} finite number(s))")
    return values


def _is_multi(value: Any) -> bool:
    """Whether a value is a list of values."""
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes))


def read_integer(dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """Read one whole number within [low, high]; raises TagError."""
    (value,) = read_numbers(dataset, keyword, 1, default)
    if value != int(value) or not low <= value <= high:
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {value:g} (expected {low} to {high})")
    return int(value)


def read_positive(
    dataset: Dataset, keyword: str, count: int, high: float, default: float | None = None
) -> tuple[float, ...]:
    """Read ``count`` numbers in (0, high]; raises TagError."""
    values = read_numbers(dataset, keyword, count, default)
    if not all(0 < value <= high for value in values):
        shown = "\\".join(f"{part:g}" for part in values)
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {shown} (expected above 0, at most {high:g})")
    return values
