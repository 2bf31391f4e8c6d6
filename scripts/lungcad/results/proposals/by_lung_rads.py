# SPDX-License-Identifier: Apache-2.0
"""Assessment by Lung-RADS v2022, as if the scan were a baseline screening CT: the highest category of its findings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lungcad.finding import Finding
from lungcad.guidelines import LungRads, lung_rads, lung_rads_exam, mean_diameter_mm
from lungcad.guidelines.inputs import needs
from lungcad.guidelines.lung_rads_result import CATEGORIES, MANAGEMENT
from lungcad.results.proposals.plain_words import in_plain_words
from lungcad.results.proposals.proposal import (
    ALL_MARKS,
    AS_SCREENED,
    LUNG_RADS,
    Assessment,
    FindingCategory,
    Numbered,
    doubtful,
    said_once,
    shows_whole_lungs,
)
from lungcad.results.result import Result

HIGHEST_BY_SIZE = "4B"
"""Highest category that size and growth give; 4X needs signs of cancer that no stage judges."""


def assess_by_lung_rads(result: Result, numbered: Numbered, missing: Mapping[int, str]) -> Assessment:
    """Assessment by Lung-RADS v2022.

    Args:
        result: result, for its indication and its warnings.
        numbered: reported findings with their ids.
        missing: reason why a finding has no category by its id; empty if it has.
    """
    each = {number: _category_of(number, finding, missing[number]) for number, finding in numbered}
    exam = exam_category(each, shows_whole_lungs(result.warnings))
    scored = [number for number, one in each.items() if one.category is not None]
    sizes = {number: finding.measurement.mean_diameter_mm for number, finding in numbered if finding.measurement}
    leading = max(scored, key=lambda n: (CATEGORIES.index(str(each[n].category)), sizes[n]), default=None)
    assumed = [text for text in exam.assumed if text != "baseline screening CT"]
    calcified = said_once({
        number: [f"calcification ({finding.measurement.calcification}) of finding {number} not taken into account"]
        for number, finding in numbered
        if finding.measurement and finding.measurement.calcification not in (None, "none")
    })  # fmt: skip
    assumptions = (AS_SCREENED[result.indication == "screening"], "the first one (baseline), without a prior CT",
                   *assumed, *calcified, *doubtful(numbered, scored), ALL_MARKS)  # fmt: skip
    return Assessment(
        LUNG_RADS, exam.category, leading, exam.reason, exam_management(exam, list(each.values())), assumptions,
        tuple(said_once({number: one.not_computed for number, one in each.items()})),
        tuple(FindingCategory(n, one.category, one.reason, one.not_computed) for n, one in each.items()),
    )  # fmt: skip


def _category_of(number: int, finding: Finding, missing: str) -> LungRads:
    """Category of one finding, with its id in the reason; none where something is missing."""
    measured, name = finding.measurement, f"finding {number}"
    if measured is None or measured.kind is None or missing:
        return LungRads(None, missing)
    try:
        size = measured.kind, mean_diameter_mm(measured.long_axis_mm, measured.short_axis_mm), measured.solid_mm
        found = lung_rads(*size)
        if finding.location and finding.location.juxtapleural:
            found = with_pleural_question(found, lung_rads(*size, juxtapleural=True), name)
    except ValueError as error:
        return in_plain_words(LungRads(None, f"{needs(f'possible sizes of {name}')} ({error})"))
    if found.category is not None:
        return in_plain_words(replace(found, reason=f"{name}, {found.reason}"))
    return in_plain_words(replace(found, reason=with_name(found.reason, name)))


def with_name(reason: str, name: str) -> str:
    """Reason why a category is not computed, with the name of the nodule in its parentheses."""
    return reason.replace(" (", f" ({name}, ", 1) if " (" in reason else f"{reason} ({name})"


def with_pleural_question(found: LungRads, typical: LungRads, name: str) -> LungRads:
    """Category of a nodule that touches the lung's surface, with the question that could lower it to 2.

    Lung-RADS calls such a nodule below 10 mm benign only where it is smooth and oval, lentiform or triangular. The
    contact is with the surface of a lung mask, mediastinum and diaphragm included, and no stage measures margin and
    shape: the category is that without this rule.

    Args:
        found: category without the rule.
        typical: category of the nodule if it is smooth and of such a shape.
        name: name of the nodule.
    """
    if typical.category != "2" or found.category in (None, "1", "2"):
        return found
    question = f"{needs(f'margin and shape of {name}')}: category 2 if smooth and oval, lentiform or triangular"
    return replace(found, not_computed=(*found.not_computed, question))


def exam_category(
    each: Mapping[int, LungRads], whole_lungs: bool, new_nodules: int = 0, word: str = "finding"
) -> LungRads:
    """Category of a scan, see :func:`lungcad.guidelines.lung_rads_exam`; that of its nodules is named beside a 0.

    Nodules without a category leave it open, unless another one has the highest that a size can give.

    Args:
        each: categories of the nodules by id, at least one, with their names in the reasons.
        whole_lungs: whether the scan shows the whole of the lungs.
        new_nodules: number of new nodules.
        word: word before the ids in the reasons; nodules that lack the same share one reason.
    """
    is_settled = any(one.category == HIGHEST_BY_SIZE for one in each.values())
    open_ones = {} if is_settled else {n: [one.reason] for n, one in each.items() if one.category is None}
    shared = [LungRads(None, reason) for reason in said_once(open_ones, f"{word} {{}}", word)]
    found = [*(one for one in each.values() if one.category is not None), *shared]
    highest = lung_rads_exam(found)
    exam = lung_rads_exam(found, lungs_evaluable=whole_lungs, new_nodules=new_nodules)
    reason = highest.reason.removeprefix("highest of 1: ")
    seen = f"{exam.reason} ({reason.removeprefix('not computed: ')})"
    return replace(exam, reason=reason if exam == highest else seen)


def exam_management(exam: LungRads, each: Sequence[LungRads]) -> str:
    """Management of a scan's category; beside that of category 0 the one of its most suspicious nodule."""
    scored = [one.category for one in each if one.category not in (None, "0")]
    if exam.category != "0" or not scored:
        return exam.management
    top = max((str(category) for category in scored), key=CATEGORIES.index)
    return f"{exam.management}; for the nodules seen, category {top} or more: {MANAGEMENT[top]}"
