# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022: category of a nodule by kind, size and status alone.

A limit belongs to the upper class throughout: 6.0 mm is "6 to below 8". Sizes are mean diameters with one decimal.
Sources: see ``lung_rads``.
"""

from bisect import bisect_right
from typing import NamedTuple

from lungcad.guidelines.inputs import needs

UNDECIDED = "growth not decided"
"""Status of a nodule that grew, but over an interval that cannot show how fast."""


class Row(NamedTuple):
    """Row of the table: category (None where an input is missing) and reason."""

    category: str | None
    reason: str


def category_by_size(kind: str, mean_mm: float, solid_mm: float | None, status: str) -> Row:
    """Category of a nodule by kind, size and status.

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        mean_mm: mean diameter of the whole in mm, one decimal.
        solid_mm: mean diameter of the solid part in mm, one decimal; None where not known.
        status: ``baseline``, ``new``, ``stable``, ``growing`` or ``UNDECIDED``; the limits of size for ``stable`` and
            ``UNDECIDED`` are those of ``baseline``.
    """
    if kind == "solid":
        return _solid(mean_mm, status)
    return _non_solid(mean_mm, status) if kind == "non-solid" else _part_solid(mean_mm, solid_mm, status)


def _category_among(size: float, limits: tuple[float, ...], categories: tuple[str, ...]) -> Row:
    """Category of a size among ascending limits, each included in the class above it; n + 1 categories for n limits."""
    index = bisect_right(limits, size)
    lower = f"{limits[index - 1]:g} mm or more" if index else ""
    upper = f"below {limits[index]:g} mm" if index < len(limits) else ""
    return Row(categories[index], ", ".join(filter(None, (lower, upper))))


def _solid(mean_mm: float, status: str) -> Row:
    """Category of a solid nodule; a growing one is 4A or 4B even below 4 mm."""
    if status == "growing":
        found = _category_among(mean_mm, (8,), ("4A", "4B"))
    elif status == "new":
        found = _category_among(mean_mm, (4, 6, 8), ("2", "3", "4A", "4B"))
    else:
        found = _category_among(mean_mm, (6, 8, 15), ("2", "3", "4A", "4B"))
    return Row(found.category, f"solid, {mean_mm:.1f} mm, {status}: {found.reason}")


def _non_solid(mean_mm: float, status: str) -> Row:
    """Category of a ground-glass nodule; one that grows to 30 mm reaches a higher class of size and is category 3."""
    stays = mean_mm < 30 or status == "stable"
    limit = "below 30 mm" if mean_mm < 30 else "30 mm or more"
    return Row("2" if stays else "3", f"non-solid, {mean_mm:.1f} mm, {status}: {limit}")


def _part_solid(mean_mm: float, solid_mm: float | None, status: str) -> Row:
    """Category of a part-solid nodule: by its total size below 6 mm, else by its solid part."""
    part = "solid part not known" if solid_mm is None else f"solid part {solid_mm:.1f} mm"
    said = f"part-solid, {mean_mm:.1f} mm, {part}, {status}"
    if status == "growing":
        return new_or_growing_part(solid_mm, said)
    if mean_mm >= 6:
        if status == "new":
            return new_or_growing_part(solid_mm, said)
        if solid_mm is None:
            return Row(None, f"{needs('solid_mm')} ({said}: 6 mm or more)")
        found = _category_among(solid_mm, (6, 8), ("3", "4A", "4B"))
        return Row(found.category, f"{said}: total 6 mm or more, solid part {found.reason}")
    if status == "new":
        if solid_mm is not None and solid_mm >= 4:
            return new_or_growing_part(solid_mm, said)
        return Row("3", f"{said}: total below 6 mm and new")
    return Row("2", f"{said}: total below 6 mm")


def new_or_growing_part(solid_mm: float | None, said: str) -> Row:
    """Category of a part-solid nodule with a new or growing solid part.

    Args:
        solid_mm: mean diameter of the solid part in mm, one decimal; None where not known.
        said: the nodule in words.
    """
    if solid_mm is None:
        return Row(None, f"{needs('solid_mm')} ({said}: 4A or 4B)")
    found = _category_among(solid_mm, (4,), ("4A", "4B"))
    return Row(found.category, f"{said}: new or growing solid part {found.reason}")
