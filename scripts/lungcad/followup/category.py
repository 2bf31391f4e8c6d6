# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022 category of nodules after comparison with the prior scan: proposed, for screening CTs alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lungcad.finding import Finding
from lungcad.followup.growth import DAYS_A_MONTH
from lungcad.guidelines import LungRads, lung_rads, mean_diameter_mm
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement
from lungcad.results.proposals import by_lung_rads
from lungcad.results.proposals.plain_words import in_plain_words, open_questions
from lungcad.results.proposals.proposal import missing_for_category, said_once

CONDITION = "If both are screening CTs, and the prior one the last before"
"""Condition under which a category holds, in the words of a sentence's beginning."""
NODULE = "the nodule"
"""Name of a nodule in its own category; :func:`exam_category` puts its id there."""


def lesion_category(
    status: str, before: Finding | None, now: Finding | None, days: float | None, slices_mm: tuple[float, float]
) -> LungRads | None:
    """Lung-RADS category of a nodule; None for one that the current scan does not show.

    Growth is Lung-RADS's own, by the mean diameter: a volume that grew by 25 % can be stable by it.

    Args:
        status: status of the comparison.
        before, now: the nodule in the prior and the current scan.
        days: days between the scans.
        slices_mm: distance of the slices of both.
    """
    if now is None:
        return None
    if status == "not comparable":
        return LungRads(None, needs(f"a comparison of {NODULE} with the prior scan"))
    measured, earlier = now.measurement, before.measurement if before else None
    missing = missing_for_category(f"{NODULE} in the current scan", measured, slices_mm[1])
    if status != "new":
        missing = missing or missing_for_category(f"{NODULE} in the prior scan", earlier, slices_mm[0])
    if missing or measured is None or measured.kind is None:
        return LungRads(None, missing)
    try:
        course = _course(None if status == "new" else earlier, days)
        size = measured.kind, _mean_mm(measured), measured.solid_mm
        found = lung_rads(*size, **course)
        if now.location and now.location.juxtapleural:
            found = by_lung_rads.with_pleural_question(found, lung_rads(*size, juxtapleural=True, **course), NODULE)
    except ValueError as error:
        found = LungRads(None, f"{needs(f'possible sizes of {NODULE}')} ({error})")
    doubts = dict.fromkeys(
        doubt for measurement in (earlier, measured) if measurement is not None for doubt in measurement.doubts
    )
    although = (f"{NODULE} as measured, although {'; '.join(doubts)}",) if doubts and found.category else ()
    return in_plain_words(replace(found, assumed=(*found.assumed, *although)))


def _course(earlier: Measurement | None, days: float | None) -> dict[str, Any]:
    """Arguments of ``lung_rads`` on the prior exam; without a measurement there the nodule is new."""
    if earlier is None:
        return {"status": "new"}
    months = None if days is None else days / DAYS_A_MONTH
    return {
        "prior_mm": _mean_mm(earlier), "prior_solid_mm": earlier.solid_mm, "prior_kind": earlier.kind, "months": months,
    }  # fmt: skip


def exam_category(categories: Sequence[LungRads | None], new_nodules: int, whole_lungs: bool = True) -> LungRads | None:
    """Category of the current scan, the highest of its nodules, with their ids; None where it shows none.

    Args:
        categories: categories of the nodules by id, see :func:`lesion_category`; the first has id 1.
        new_nodules: number of new ones.
        whole_lungs: whether the current scan shows the whole of the lungs.
    """
    shown = {number: category for number, category in enumerate(categories, start=1) if category is not None}
    if not shown:
        return None
    named = {number: _named(category, number) for number, category in shown.items()}
    found = by_lung_rads.exam_category(named, whole_lungs, new_nodules, "nodule")
    assumed, questions = (
        tuple(said_once({number: getattr(category, name) for number, category in shown.items()}, NODULE, "nodule"))
        for name in ("assumed", "not_computed")
    )
    return replace(found, assumed=assumed, not_computed=questions)


def _named(found: LungRads, number: int) -> LungRads:
    """Category of a nodule with its id in the reason."""
    name, reason = f"nodule {number}", found.reason
    if found.category is not None:
        return replace(found, reason=f"{name}, {reason}")
    named = reason.replace(NODULE, name, 1) if NODULE in reason else by_lung_rads.with_name(reason, name)
    return replace(found, reason=named)


def category_words(found: LungRads) -> str:
    """Category in a sentence that begins with its condition, with what it assumes and leaves open."""
    if found.category is None:
        return f"Lung-RADS: {found.reason}."
    granted = f" Taken for granted: {'; '.join(found.assumed)}." if found.assumed else ""
    asked = f" Open: {open_questions(found.not_computed)}." if found.not_computed else ""
    return f"{CONDITION}: proposed Lung-RADS {found.category} ({found.reason}).{granted}{asked}"


def _mean_mm(size: Measurement) -> float:
    """Mean diameter of the rounded axes, as Lung-RADS takes it; raises ValueError for impossible axes."""
    return mean_diameter_mm(size.long_axis_mm, size.short_axis_mm)
