# SPDX-License-Identifier: Apache-2.0
"""Proposed category of a scan, and what decides whether a finding has one at all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lungcad.finding import Finding
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement, slices_too_thick
from lungcad.volume import Notice

ALLOWED_DOUBTS = ("the nodule touches the pleura", "the nodule fills only")
"""Beginnings of doubts with which a category is still proposed, and which it then names.

Without them no nodule at the pleura would have a category; what fills only few voxels stays below all limits of size.
"""
ALLOWED_IF_THIN = "slices are"
"""Beginning of a doubt about volumes, allowed up to a slice distance with which diameters can be compared."""

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
    allowed = (*ALLOWED_DOUBTS, *([] if slices_too_thick(slice_mm) else [ALLOWED_IF_THIN]))
    if doubts := [doubt for doubt in measured.doubts if not doubt.startswith(allowed)]:
        return f"{needs(f'a measurement of {name} without doubt')} ({'; '.join(doubts)})"
    return needs(f"the kind of {name}") if measured.kind is None else ""


def doubtful(numbered: Numbered, used: Collection[int]) -> list[str]:
    """Assumptions that the findings in use are as measured although there are doubts, each doubt once."""
    each = {number: finding.measurement.doubts for number, finding in numbered
            if number in used and finding.measurement and finding.measurement.doubts}  # fmt: skip
    return said_once({n: [f"finding {n} as measured, although {'; '.join(doubts)}"] for n, doubts in each.items()})


def said_once(texts: Mapping[int, Sequence[str]], name: str = "finding {}", word: str = "finding") -> list[str]:
    """Texts on findings by their ids, each once and with the ids of all that share it: ``findings 1, 3 as ...``.

    Args:
        texts: texts by id, in which the first ``name`` of that id names the finding.
        name: name of a finding in the texts, ``{}`` in place of its id.
        word: word before the ids.
    """
    ids: dict[str, list[str]] = {}
    for number, some in texts.items():
        for text in some:
            ids.setdefault(text.replace(name.format(number), "\0", 1), []).append(str(number))
    return [text.replace("\0", f"{word}{'s' if len(of) > 1 else ''} {', '.join(of)}") for text, of in ids.items()]


def shows_whole_lungs(warnings: Sequence[Notice]) -> bool:
    """Whether no warning says that a scan leaves out a part of the lungs."""
    return not any(notice.code == "W-COVERAGE" for notice in warnings)
