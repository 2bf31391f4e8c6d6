# SPDX-License-Identifier: Apache-2.0
"""Fleischner Society 2017: which of several nodules leads, the most suspicious and not always the largest.

Source: MacMahon 2017, Radiology 284:228, recommendations 3 to 5 and table. It ranks no kinds against each other: the
order here is that of its own recommendations for single nodules, by how soon and how far they go. Our own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lungcad.guidelines.fleischner import LARGE, LARGEST_NODULE_MM, SMALL, fleischner
from lungcad.guidelines.inputs import needs
from lungcad.guidelines.measuring import rounded

SOLID_PART_MM = 6
"""Size in whole mm from which the solid part of a part-solid nodule makes it highly suspicious."""
RANKS = (
    "solid below 6 mm, or the only subsolid one, below 6 mm",
    "one of several subsolid below 6 mm",
    "solid of 6 to 8 mm, or non-solid of 6 mm or more",
    "part-solid of 6 mm or more, with a solid part below 6 mm",
    "solid of more than 8 mm, or part-solid with a solid part of 6 mm or more",
    "a mass of more than 30 mm",
)
"""Ranks of a nodule, from the least to the most suspicious."""


@dataclass(frozen=True)
class Leading:
    """Nodule that leads, for ``fleischner``.

    Attributes:
        index: its position in the list.
        multiple: argument ``multiple`` for it: whether there are several solid nodules, or several subsolid ones, as it
            is one; the guideline has rows of its own for each.
        reason: its rank, and why.
        not_computed: solid parts that are missing and could change who leads, each ``not computed: needs ...``.
    """

    index: int
    multiple: bool
    reason: str
    not_computed: tuple[str, ...] = ()


def fleischner_leading(nodules: Sequence[tuple[str, float, float | None]]) -> Leading:
    """Most suspicious of the nodules of one scan, by Fleischner 2017.

    Within a rank the larger solid nodule or solid part leads, then the larger nodule; among nodules of 6 mm that are
    seen again after 6 to 12 months (solid of 6 to 8 mm, non-solid), the larger nodule. A part-solid nodule whose solid
    part is not known ranks as if that were below 6 mm, and is named in ``not_computed`` where it could lead.

    Args:
        nodules: (kind, mean_mm, solid_mm) of each, as for ``fleischner``; solid_mm is None where it is not known and
            for other kinds than part-solid.

    Raises:
        ValueError: no nodule, or impossible input.
    """
    if not nodules or any(isinstance(nodule, str) or len(nodule) != 3 for nodule in nodules):
        raise ValueError(f"nodules must be (kind, mean_mm, solid_mm) of at least one nodule, not {nodules!r}")
    subsolid = sum(kind != "solid" for kind, _, _ in nodules)
    keys = [_key(*nodule, subsolid > 1) for nodule in nodules]
    index = max(range(len(keys)), key=keys.__getitem__)
    kind, mean_mm, _ = nodules[index]
    count = len(nodules) - subsolid if kind == "solid" else subsolid
    unknown = tuple(
        needs(f"solid_mm of nodule {number + 1}")
        for number, (other, size, part) in enumerate(nodules)
        if other == "part-solid" and part is None and _key(other, size, size, subsolid > 1) >= keys[index]
    )
    said = f"{kind}, {rounded(mean_mm, 0):.0f} mm ({RANKS[int(keys[index][0])]})"
    return Leading(index, count > 1, f"the most suspicious of {len(nodules)}: {said}", unknown)


def _key(kind: str, mean_mm: float, solid_mm: float | None, several_subsolid: bool) -> tuple[float, float, float]:
    """Rank of a nodule, the size that orders nodules of that rank, and its mean diameter."""
    category = fleischner(kind, mean_mm, "low", False, solid_mm=solid_mm).category
    part = mean_mm if kind == "solid" else solid_mm or 0.0
    if rounded(mean_mm, 0) > LARGEST_NODULE_MM:
        rank = 5
    elif category == SMALL:
        rank = 1 if several_subsolid and kind != "solid" else 0
    elif kind == "part-solid":
        rank = 4 if rounded(part, 0) >= SOLID_PART_MM else 3
    else:
        rank = 4 if kind == "solid" and category == LARGE else 2
    return rank, part if rank in (3, 4) else mean_mm, mean_mm
