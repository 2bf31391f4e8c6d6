# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022 category of nodules after comparison with the prior scan: proposed, for screening CTs alone."""

from collections.abc import Sequence

from lungcad.finding import Finding
from lungcad.followup.growth import DAYS_A_MONTH
from lungcad.guidelines import LungRads, lung_rads, lung_rads_exam, mean_diameter_mm
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement
from lungcad.results.assessment import missing_for_category

CONDITION = "If both are screening CTs, and the prior one the last before"
"""Condition under which a category holds, in the words of a sentence's beginning."""


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
        return LungRads(None, needs("a comparison with the prior scan"))
    measured, earlier = now.measurement, before.measurement if before else None
    missing = missing_for_category("the nodule in the current scan", measured, slices_mm[1])
    if status != "new":
        missing = missing or missing_for_category("the nodule in the prior scan", earlier, slices_mm[0])
    if missing or measured is None or measured.kind is None:
        return LungRads(None, missing)
    touches = bool(now.location and now.location.juxtapleural)
    try:
        if status == "new" or earlier is None:
            return lung_rads(measured.kind, _mean_mm(measured), measured.solid_mm, "new", touches)
        return lung_rads(
            measured.kind, _mean_mm(measured), measured.solid_mm, juxtapleural=touches, prior_mm=_mean_mm(earlier),
            prior_solid_mm=earlier.solid_mm, months=None if days is None else days / DAYS_A_MONTH,
        )  # fmt: skip
    except ValueError as error:
        return LungRads(None, f"{needs('possible sizes')} ({error})")


def exam_category(each: Sequence[LungRads | None], new_nodules: int) -> LungRads | None:
    """Category of the current scan, the highest of its nodules; None where it shows none.

    Args:
        each: categories of the nodules, see :func:`lesion_category`.
        new_nodules: number of new ones.
    """
    shown = [one for one in each if one is not None]
    return lung_rads_exam(shown, new_nodules=new_nodules) if shown else None


def category_words(found: LungRads) -> str:
    """Category in a sentence that begins with its condition."""
    if found.category is None:
        return f"Lung-RADS: {found.reason}."
    asked = f" Open: {open_questions(found.not_computed)}." if found.not_computed else ""
    return f"{CONDITION}: proposed Lung-RADS {found.category} ({found.reason}).{asked}"


def open_questions(not_computed: Sequence[str]) -> str:
    """Missing inputs in words for a reader, without the names of arguments."""
    words = "; ".join(text.removeprefix("not computed: ") for text in not_computed)
    return words.replace("prior_category", "the category at the prior CT")


def _mean_mm(size: Measurement) -> float:
    """Mean diameter of the rounded axes, as Lung-RADS takes it."""
    return mean_diameter_mm(size.long_axis_mm, size.short_axis_mm)
