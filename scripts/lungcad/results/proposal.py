# SPDX-License-Identifier: Apache-2.0
"""Proposed category of a scan, and what decides whether a finding has one at all."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lungcad.finding import Finding
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement
from lungcad.volume import Notice

ALLOWED_DOUBTS = ("the nodule touches the pleura", "the nodule fills only")
"""Beginnings of doubts with which a category is still proposed, and which it then names.

Without them no nodule at the pleura would have a category; what fills only few voxels stays below all limits of size.
"""
ALLOWED_IF_THIN, THIN_MM = "slices are", 2.5
"""Beginning of a doubt about volumes, allowed up to a slice distance with which diameters can be compared."""
SLICE_TOLERANCE_MM = 1e-3
"""Tolerance of slice distances in mm: an oblique or rounded 2.5 mm comes out a hair larger."""

LUNG_RADS = "Lung-RADS v2022"
FLEISCHNER = "Fleischner 2017"

AS_SCREENED = "a screening CT", "a screening CT, as told"
"""Assumption of Lung-RADS on the scan, where its indication is not known and where it is."""
BY_CHANCE = "found by chance, as told"
ALL_MARKS = "every mark is a nodule, and none was missed"
IN_THE_CONDITION = frozenset({*AS_SCREENED, "the first one (baseline), without a prior CT", BY_CHANCE, ALL_MARKS})
"""Assumptions that the text for a radiology report says elsewhere: in its condition, and in its last sentence."""

Numbered = Sequence[tuple[int, Finding]]
"""Reported findings with their ids."""


@dataclass(frozen=True)
class FindingCategory:
    """Lung-RADS category of one finding.

    Attributes:
        id: id of the finding.
        category: category; None where an input is missing.
        reason: row of the table, or what is missing.
        not_computed: missing inputs that could change the category.
    """

    id: int
    category: str | None
    reason: str
    not_computed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assessment:
    """Proposed category of a scan; a radiologist assigns it.

    Attributes:
        guideline: :data:`LUNG_RADS` or :data:`FLEISCHNER`.
        category: category, or Fleischner's class of size; None where an input is missing.
        finding: id of the finding that decided, or would by what is known; None where none has a category.
        reason: row of the guideline's table, with the sizes; begins with ``not computed`` where an input is missing.
        recommendation: management that the guideline connects with the category.
        assumptions: circumstances taken for granted.
        not_computed: missing inputs that could change the category.
        findings: Lung-RADS category of each finding; empty for Fleischner, who judges the leading nodule alone.
    """

    guideline: str
    category: str | None
    finding: int | None
    reason: str
    recommendation: str
    assumptions: tuple[str, ...]
    not_computed: tuple[str, ...] = ()
    findings: tuple[FindingCategory, ...] = ()


def missing_for_category(name: str, measured: Measurement | None, slice_mm: float) -> str:
    """Reason why a finding has no category: it was not measured, or the measurement is in doubt; empty if it has.

    Args:
        name: name of the finding, such as ``finding 2``.
        measured: its measurement.
        slice_mm: distance of the scan's slices.
    """
    if measured is None:
        return needs(f"a measurement of {name}")
    thin = slice_mm <= THIN_MM + SLICE_TOLERANCE_MM
    allowed = (*ALLOWED_DOUBTS, *([ALLOWED_IF_THIN] if thin else []))
    if doubts := [doubt for doubt in measured.doubts if not doubt.startswith(allowed)]:
        return f"{needs(f'a measurement of {name} without doubt')} ({'; '.join(doubts)})"
    return needs(f"the kind of {name}") if measured.kind is None else ""


def doubtful(numbered: Numbered, used: Collection[int]) -> list[str]:
    """Assumptions that the findings in use are as measured although there are doubts, each doubt once."""
    by_doubts: dict[str, list[int]] = {}
    for number, finding in numbered:
        if number in used and finding.measurement and finding.measurement.doubts:
            by_doubts.setdefault("; ".join(finding.measurement.doubts), []).append(number)
    return [
        f"finding{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} as measured, although {doubts}"
        for doubts, numbers in by_doubts.items()
    ]


def shows_whole_lungs(warnings: Sequence[Notice]) -> bool:
    """Whether no warning says that a scan leaves out a part of the lungs."""
    return not any(notice.code == "W-COVERAGE" for notice in warnings)
