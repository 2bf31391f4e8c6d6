# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022: course of a nodule since the prior exam, by its sizes and its kind in both.

The table's rows on growth of a part-solid nodule speak of its solid part. A nodule that became wholly solid is judged
by them too: all of it is then solid part. Sources: see ``lung_rads``.
"""

from typing import NamedTuple

from lungcad.guidelines.growth import Growth, lung_rads_growth
from lungcad.guidelines.inputs import needs
from lungcad.guidelines.lung_rads_input import Nodule
from lungcad.guidelines.lung_rads_table import UNDECIDED, category_by_size, new_or_growing_part

LARGE_NON_SOLID_MM = 30.0
"""Size from which the category of a non-solid nodule depends on its course."""


class Course(NamedTuple):
    """Status after comparison with the prior exam (None where an input is missing), the comparison in words, and what a
    reader must confirm (empty: nothing).
    """

    status: str | None
    reason: str
    question: str = ""


def course_of(nodule: Nodule) -> Course:
    """Status by the sizes of both exams where they decide, else the status that was given.

    The solid part alone decides for a part-solid nodule. Growth over more than 12 months that the sizes do not prove is
    left undecided: the size then gives the category, without a step down.
    """
    if nodule.kind != nodule.kind_before:
        return _changed(nodule)
    growth: Growth | None = None
    if nodule.kind != "part-solid":
        if nodule.prior_mm is not None:
            growth = lung_rads_growth(nodule.prior_mm, nodule.mean_mm, nodule.months)
    elif nodule.prior_solid_mm == 0 and nodule.solid_mm:
        return Course("growing", "the solid part is new")
    elif nodule.prior_solid_mm and nodule.solid_mm:
        growth = lung_rads_growth(nodule.prior_solid_mm, nodule.solid_mm, nodule.months)
    elif nodule.prior_solid_mm is not None and nodule.solid_mm == 0:
        return Course("stable", "no solid part can be measured")
    elif nodule.measured_before and nodule.status in ("baseline", None):
        sizes = {"solid_mm": nodule.solid_mm, "prior_solid_mm": nodule.prior_solid_mm}
        missing = needs(*(name for name, size in sizes.items() if size is None))
        return Course(None, f"{missing}: a part-solid nodule grows by its solid part")
    if growth is not None:
        return _by_growth(nodule, growth)
    if nodule.status is None:
        return Course(UNDECIDED, needs("an exam at most 12 months before"))
    return Course(nodule.status, "")


def _by_growth(nodule: Nodule, growth: Growth, said: str = "", question: str = "") -> Course:
    """Course by the growth of what is compared; ``said`` is put before its reason."""
    reason = f"{said}; {growth.reason}" if said else growth.reason
    if growth.growing is not None:
        return Course("growing" if growth.growing else "stable", reason, question)
    if nodule.status == "growing":
        return Course("growing", f"growing as told; {reason}", question)
    return Course(None if nodule.months is None else UNDECIDED, growth.reason, question)


def _changed(nodule: Nodule) -> Course:
    """Course of a nodule whose kind changed: by its solid part, which is none of a non-solid and all of a solid one."""
    before, now = nodule.kind_before, nodule.kind
    said = f"the kind changed from {before} to {now}"
    question = f"{needs('a reader')} to confirm that {said}"
    if now == "non-solid":
        if nodule.mean_mm < LARGE_NON_SOLID_MM:
            return Course("stable", f"{said}: no solid part is left", question)
        return Course(None, f"not computed: {said}, {nodule.mean_mm:.1f} mm: 2 where it is stable, 3 where it is new")
    if before == "non-solid" and now == "solid":
        return _from_non_solid_to_solid(nodule, said, question)
    size_mm = nodule.mean_mm if now == "solid" else nodule.solid_mm
    if size_mm is None:
        return Course(None, f"{needs('solid_mm')}: {said}")
    prior_mm = {"non-solid": 0.0, "part-solid": nodule.prior_solid_mm, "solid": nodule.prior_mm}[before]
    if prior_mm is None:
        if nodule.status == "growing":
            return Course("growing", f"growing as told; {said}", question)
        return Course(None, f"{needs('prior_solid_mm' if before == 'part-solid' else 'prior_mm')}: {said}")
    if size_mm == 0:
        return Course("stable", f"{said}: no solid part can be measured", question)
    if prior_mm == 0:
        return Course("growing", f"{said}: its solid part is new", question)
    course = _by_growth(nodule, lung_rads_growth(prior_mm, size_mm, nodule.months), said, question)
    return _unless_the_whole_grew(nodule, course, said) if before == "solid" else course


def _unless_the_whole_grew(nodule: Nodule, course: Course, said: str) -> Course:
    """Course of a solid nodule that became part-solid, left to a reader where the whole grew, its solid part not."""
    if nodule.prior_mm is None or course.status == "growing":
        return course
    whole = lung_rads_growth(nodule.prior_mm, nodule.mean_mm, nodule.months)
    if whole.growing is False:
        return course
    part = category_by_size(nodule.kind, nodule.mean_mm, nodule.solid_mm, "stable").category
    solid = category_by_size("solid", nodule.mean_mm, None, "growing").category
    rows = f"{part} by its solid part, {solid} as a solid nodule that grew by {whole.change:.1f} mm"
    return Course(None, f"not computed: {said}, for which the table has no row ({rows})")


def _from_non_solid_to_solid(nodule: Nodule, said: str, question: str) -> Course:
    """Course of a non-solid nodule that became wholly solid, for which the table has no row.

    As a new solid part it has one category, by its size another: where they differ, a reader decides.
    """
    part = new_or_growing_part(nodule.mean_mm, "").category
    whole = category_by_size("solid", nodule.mean_mm, None, "stable").category
    if part == whole:
        return Course("growing", said, question)
    rows = f"{part} as a new solid part of {nodule.mean_mm:.1f} mm, {whole} by its size alone"
    return Course(None, f"not computed: {said}, for which the table has no row ({rows})")
