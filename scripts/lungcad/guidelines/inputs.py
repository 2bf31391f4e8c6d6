# SPDX-License-Identifier: Apache-2.0
"""Inputs that the guidelines share: kinds of nodule, and checks that name an impossible input."""

import math
from collections.abc import Collection
from numbers import Real
from typing import Any

KINDS = ("solid", "part-solid", "non-solid")
"""Kinds of nodule: solid, solid with ground glass, pure ground glass."""

CALCIFICATIONS = {
    "diffuse": True,
    "complete": True,
    "central": True,
    "laminated": True,
    "concentric rings": True,
    "popcorn": True,
    "eccentric": False,
    "stippled": False,
    "other": False,
}
"""Whether a pattern of calcification is benign; "complete" means diffuse, "concentric rings" means laminated."""

LARGEST_MM = 300.0
"""Largest size accepted, that of a lung; a larger number is most likely in other units."""


def number(name: str, value: Any, lowest: float = -math.inf, highest: float = math.inf) -> float:
    """Check a finite number within its limits, both included.

    Raises:
        ValueError: not a number (a bool is none), not finite, or outside the limits; for None the text begins with
            "not computed: needs".
    """
    if value is None:
        raise ValueError(needs(name))
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {value!r}")
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if not lowest <= found <= highest:
        raise ValueError(f"{name} must be {_limits(lowest, highest)}, not {value!r}")
    return found


def _limits(lowest: float, highest: float) -> str:
    """Limits in words, such as ``from 4 to 30`` or ``at least 0``."""
    if math.isinf(highest):
        return f"at least {lowest:g}"
    return f"at most {highest:g}" if math.isinf(lowest) else f"from {lowest:g} to {highest:g}"


def positive(name: str, value: Any, highest: float = math.inf) -> float:
    """Check a finite number above zero.

    Raises:
        ValueError: not a number, not finite, zero, negative or above ``highest``.
    """
    found = number(name, value, highest=highest)
    if found <= 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return found


def size_mm(name: str, value: Any) -> float:
    """Check a diameter in mm: above 0, at most 300.

    Raises:
        ValueError: not such a number.
    """
    return positive(name, value, highest=LARGEST_MM)


def whole_number(name: str, value: Any, lowest: int) -> int:
    """Check an integer of at least ``lowest``; 3.0 is one, 3.5 and True are not.

    Raises:
        ValueError: not such a number.
    """
    found = number(name, value, lowest=lowest)
    if found != int(found):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(found)


def flag(name: str, value: Any) -> bool:
    """Check a yes or no: True, False, 1 or 0.

    Raises:
        ValueError: any other value; for None the text begins with "not computed: needs".
    """
    if value is None:
        raise ValueError(needs(name))
    if isinstance(value, str) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Check one of the allowed words.

    Raises:
        ValueError: any other value; the text lists the allowed words, and for None begins with "not computed: needs".
    """
    if value is None:
        raise ValueError(needs(name))
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def solid_part_mm(kind: str, mean_mm: float, solid_mm: Any, name: str = "solid_mm") -> float | None:
    """Check the diameter in mm of the solid part against the nodule's kind and total diameter.

    Args:
        kind: one of ``KINDS``.
        mean_mm: total diameter in mm.
        solid_mm: diameter of the solid part in mm, 0 where none can be measured; None where not known.
        name: the input's name for the error.

    Raises:
        ValueError: larger than the whole nodule; above 0 for a non-solid nodule; smaller than a whole solid nodule.
    """
    if solid_mm is None:
        return None
    found = number(name, solid_mm, lowest=0, highest=LARGEST_MM)
    if found > mean_mm:
        raise ValueError(f"{name} ({found:g} mm) must not be larger than the whole nodule ({mean_mm:g} mm)")
    if kind == "non-solid" and found > 0:
        raise ValueError(f"{name} is {found:g} mm, but a non-solid nodule has no solid part: its kind is 'part-solid'")
    if kind == "solid" and found < mean_mm:
        raise ValueError(f"{name} is {found:g} mm of {mean_mm:g} mm: the kind is 'part-solid', or leave {name} out")
    return found


def benign_calcification(pattern: Any) -> bool:
    """Whether a pattern of calcification is benign; False for None, a nodule without calcification.

    Raises:
        ValueError: a pattern that is not in ``CALCIFICATIONS``.
    """
    return pattern is not None and CALCIFICATIONS[choice("calcification", pattern, CALCIFICATIONS)]


def needs(*names: str) -> str:
    """Sentence in place of a result that lacks inputs: ``not computed: needs age, family_history``."""
    return f"not computed: needs {', '.join(names)}"
