# SPDX-License-Identifier: Apache-2.0
"""Category that a guideline would give to a result: proposed, with all that it takes for granted.

Without a known indication it is Lung-RADS v2022, as if the scan were a baseline screening CT; Fleischner 2017 only for
a scan with another indication than screening. Sources: :mod:`lungcad.guidelines`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lungcad.finding import Finding
from lungcad.guidelines import fleischner, lung_rads, lung_rads_exam, mean_diameter_mm
from lungcad.guidelines.fleischner import RISKS
from lungcad.guidelines.inputs import needs
from lungcad.guidelines.lung_rads_result import CATEGORIES, LungRads
from lungcad.measurement import Measurement
from lungcad.results.result import Result

ALLOWED_DOUBTS = ("the nodule touches the pleura", "the nodule fills only")
"""Beginnings of doubts with which a category is still proposed, and which it then names.

Lung-RADS has a rule for nodules at the pleura; what fills only few voxels stays below all limits of size.
"""
ALLOWED_IF_THIN, THIN_MM = "slices are", 2.5
"""Beginning of a doubt about volumes, allowed up to a slice distance with which diameters can be compared."""

LUNG_RADS = "Lung-RADS v2022"
FLEISCHNER = "Fleischner 2017"


@dataclass(frozen=True)
class FindingCategory:
    """Lung-RADS category of one finding: its id, category (None where an input is missing) and reason."""

    id: int
    category: str | None
    reason: str


@dataclass(frozen=True)
class Assessment:
    """Proposed category of a scan; a radiologist assigns it.

    Attributes:
        guideline: :data:`LUNG_RADS` or :data:`FLEISCHNER`.
        category: category, or Fleischner's class of size; None where an input is missing.
        finding: id of the finding that decided; None where none has a category.
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


def assess(result: Result) -> Assessment | None:
    """Assessment by the findings at or above the operating point; None where none of them was measured."""
    numbered = [(number, finding) for number, finding in enumerate(result.findings, start=1)
                if finding.score is not None and finding.score >= result.threshold]  # fmt: skip
    if not any(finding.measurement for _, finding in numbered):
        return None
    missing = {number: missing_for_category(f"finding {number}", one.measurement, result.volume.spacing_mm[2])
               for number, one in numbered}  # fmt: skip
    if result.indication == "incidental":
        return _fleischner(numbered, missing)
    return _lung_rads(numbered, missing, result.indication)


def _lung_rads(
    numbered: Sequence[tuple[int, Finding]], missing: Mapping[int, str], indication: str | None
) -> Assessment:
    """Assessment by Lung-RADS v2022: the highest category of the findings."""
    each = {number: _lung_rads_of(number, finding, missing[number]) for number, finding in numbered}
    scored = [number for number, one in each.items() if one.category is not None]
    exam = next(iter(each.values())) if len(each) == 1 else lung_rads_exam(list(each.values()))
    sizes = {number: finding.measurement.mean_diameter_mm for number, finding in numbered if finding.measurement}
    leading = max(scored, key=lambda n: (CATEGORIES.index(str(each[n].category)), sizes[n]), default=None)
    assumed = [text for text in exam.assumed if text != "baseline screening CT"]
    known = "a screening CT, as told" if indication == "screening" else "a screening CT"
    calcified = [
        f"calcification ({finding.measurement.calcification}) of finding {number} not taken into account"
        for number, finding in numbered
        if finding.measurement and finding.measurement.calcification not in (None, "none")
    ]
    assumptions = (known, "the first one (baseline), without a prior CT", *assumed, *calcified, *_although(numbered),
                   "every mark is a nodule, and none was missed")  # fmt: skip
    return Assessment(
        LUNG_RADS, exam.category, leading, exam.reason, exam.management, assumptions, exam.not_computed,
        tuple(FindingCategory(number, one.category, one.reason) for number, one in each.items()),
    )  # fmt: skip


def _lung_rads_of(number: int, finding: Finding, missing: str) -> LungRads:
    """Category of one finding, with its id in the reason; none where something is missing."""
    measured = finding.measurement
    if measured is None or measured.kind is None or missing:
        return LungRads(None, missing)
    try:
        mean_mm = mean_diameter_mm(measured.long_axis_mm, measured.short_axis_mm)
        touches = bool(finding.location and finding.location.juxtapleural)
        found = lung_rads(measured.kind, mean_mm, measured.solid_mm, juxtapleural=touches)
    except ValueError as error:
        return LungRads(None, f"{needs(f'possible sizes of finding {number}')} ({error})")
    return found if found.category is None else replace(found, reason=f"finding {number}, {found.reason}")


def missing_for_category(name: str, measured: Measurement | None, slice_mm: float) -> str:
    """Reason why a finding has no category: it was not measured, or the measurement is in doubt; empty if it has.

    Args:
        name: name of the finding, such as ``finding 2``.
        measured: its measurement.
        slice_mm: distance of the scan's slices.
    """
    if measured is None:
        return needs(f"a measurement of {name}")
    allowed = (*ALLOWED_DOUBTS, *([ALLOWED_IF_THIN] if slice_mm <= THIN_MM else []))
    if doubts := [doubt for doubt in measured.doubts if not doubt.startswith(allowed)]:
        return f"{needs(f'a measurement of {name} without doubt')} ({'; '.join(doubts)})"
    return needs(f"the kind of {name}") if measured.kind is None else ""


def _although(numbered: Sequence[tuple[int, Finding]]) -> list[str]:
    """Assumptions that findings are as measured although there are doubts, each doubt once."""
    doubtful: dict[str, list[int]] = {}
    for number, finding in numbered:
        if finding.measurement and finding.measurement.doubts:
            doubtful.setdefault("; ".join(finding.measurement.doubts), []).append(number)
    return [
        f"finding{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} as measured, although {doubts}"
        for doubts, numbers in doubtful.items()
    ]


def _fleischner(numbered: Sequence[tuple[int, Finding]], missing: Mapping[int, str]) -> Assessment:
    """Assessment by Fleischner 2017 of the largest finding, by its diameter; for both risks where they differ."""
    sizes = {number: finding.measurement.mean_diameter_mm for number, finding in numbered
             if finding.measurement and not missing[number]}  # fmt: skip
    left_out = tuple(filter(None, missing.values()))
    if not sizes:
        return Assessment(FLEISCHNER, None, None, "; ".join(left_out), needs("the category"), ())
    leading = max(sizes, key=sizes.__getitem__)
    measured = dict(numbered)[leading].measurement
    assert measured is not None and measured.kind is not None  # missing_for_category says so
    size, multiple = (measured.kind, measured.mean_diameter_mm), len(numbered) > 1
    found = fleischner(*size, None, multiple)
    recommendation = found.recommendation
    if recommendation == needs("risk"):
        both = (f"at {risk} risk {fleischner(*size, risk, multiple).recommendation}" for risk in RISKS)
        recommendation = "; ".join(both)
    assumptions = (
        "found by chance, as told", "35 years or older, no known cancer, no immunosuppression",
        "the risk of cancer is not known", "the largest nodule is the most suspicious one", *_although(numbered),
        "every mark is a nodule, and none was missed",
    )  # fmt: skip
    reason = f"finding {leading}, {found.reason}"
    return Assessment(FLEISCHNER, found.category, leading, reason, recommendation, assumptions, left_out)
