# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022 (ACR, November 2022): category of a nodule of a lung-cancer screening CT.

Sources: ACR/RSNA common data element RDES267 (hoodcm/oifm-definitions); notes of the ACR as transcribed at
yingbo777.com; Christensen 2024, Chest 165:738; the order of the part-solid row from version 1.1 (NBK568579, table 2);
features of 4X, slow growth of non-solid nodules and stable 4B (notes 7, 8, 14) agree in three public implementations.
"""

from collections.abc import Collection

from lungcad.guidelines.growth import lung_rads_growth, whole_months
from lungcad.guidelines.inputs import needs
from lungcad.guidelines.lung_rads_course import course_of
from lungcad.guidelines.lung_rads_input import DOUBLED, Nodule
from lungcad.guidelines.lung_rads_result import LungRads, more_suspicious
from lungcad.guidelines.lung_rads_table import UNDECIDED, Row, category_by_size, new_or_growing_part

STEPS = {"3": (6, "2"), "4A": (3, "3")}
"""Step down of a stable nodule by its prior category: months that it must stay stable, and the category then."""


def lung_rads(
    kind: str,
    mean_mm: float,
    solid_mm: float | None = None,
    status: str | None = "baseline",
    juxtapleural: bool = False,
    *,
    prior_mm: float | None = None,
    prior_solid_mm: float | None = None,
    prior_kind: str | None = None,
    months: float | None = None,
    prior_category: str | None = None,
    smooth: bool | None = None,
    shape: str | None = None,
    calcification: str | None = None,
    fat: bool = False,
    suspicious: Collection[str] = (),
    slow_growth: bool = False,
    proven_benign: bool = False,
) -> LungRads:
    """Proposed Lung-RADS v2022 category of one nodule (a cavitary one is solid, with its total diameter).

    Sizes of the prior exam decide between stable and growing, even against ``status``. Where the kind changed, what
    counts is the solid part: none of a non-solid nodule, all of a solid one.

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        mean_mm: mean diameter in mm; rounded here to one decimal, half up.
        solid_mm: mean diameter in mm of a part-solid nodule's solid part, 0 where none can be measured.
        status: ``baseline``, ``new``, ``stable`` (or smaller) or ``growing``; that of the solid part, if part-solid.
            None for a nodule that was there before, where it is not known whether it grew.
        juxtapleural: the nodule lies at the pleura; smooth and oval, lentiform or triangular unless ``smooth`` and
            ``shape`` say otherwise.
        smooth: whether the margin of a juxtapleural nodule is smooth; None counts as smooth.
        shape: shape of a juxtapleural nodule, one of ``SHAPES``; None counts as oval, lentiform or triangular.
        prior_mm: mean diameter in mm at the prior exam.
        prior_solid_mm: mean diameter in mm of the solid part at the prior exam; 0 for a new solid part.
        prior_kind: kind at the prior exam; None counts as the kind of now, or as what ``prior_solid_mm`` shows.
        months: months since the prior exam; whole months count.
        prior_category: category at the prior exam, which can lower or raise that of a stable nodule.
        calcification: pattern, one of ``CALCIFICATIONS``; None for a nodule without calcification.
        fat: the nodule contains fat.
        suspicious: suspicious features, of ``SUSPICIOUS``.
        slow_growth: the nodule grew over several exams, but never 1.5 mm within 12 months (see
            ``lung_rads_growth_history``).
        proven_benign: work-up has shown that the nodule is benign.

    Raises:
        ValueError: impossible or contradictory input.
    """
    nodule = Nodule(
        kind, mean_mm, solid_mm, status, juxtapleural, prior_mm, prior_solid_mm, months, prior_category,
        prior_kind, smooth, shape, calcification, fat, suspicious, slow_growth, proven_benign,
    )  # fmt: skip
    if nodule.benign:
        return LungRads("1", nodule.benign)
    return LungRads("2", "proven benign by work-up") if nodule.proven_benign else _assessed(nodule)


def _assessed(nodule: Nodule) -> LungRads:
    """Category of a nodule that is not benign by its contents or by work-up."""
    status, comparison, confirm = course_of(nodule)
    if status is None and not nodule.slow_growth:
        return LungRads(None, comparison)
    assumed = ["baseline screening CT"] if status == "baseline" else []
    if nodule.measured_before and nodule.prior_kind is None and nodule.kind_before == nodule.kind:
        assumed.append(f"{nodule.kind} at the prior exam too")
    if nodule.typical_juxtapleural and status in ("baseline", "new", "stable"):
        if nodule.smooth is None or nodule.shape is None:
            assumed.append("smooth margin, and oval, lentiform or triangular shape")
        found = Row("2", f"juxtapleural, solid, {nodule.mean_mm:.1f} mm, {status}: below 10 mm")
        comparison = question = ""
    else:
        found, question = _category_by_course(nodule, status or UNDECIDED)
    (category, reason), feature = _with_features(found, nodule.suspicious)
    if status == UNDECIDED:
        comparison, question = "", comparison
    reason = f"{reason}; {comparison}" if comparison else reason
    return LungRads(category, reason, tuple(assumed), tuple(filter(None, (question, confirm, feature))))


def _category_by_course(nodule: Nodule, status: str) -> tuple[Row, str]:
    """Category by course, and the input that is missing for that of a stable nodule."""
    by_size = category_by_size(nodule.kind, nodule.mean_mm, nodule.solid_mm, status)
    said = f"{nodule.kind}, {nodule.mean_mm:.1f} mm"
    if nodule.slow_growth:
        return Row("2" if nodule.kind == "non-solid" else "4B", f"{said}: slow growth over several exams"), ""
    if status == "growing" and nodule.kind == "solid" and nodule.kind_before == "part-solid":
        return new_or_growing_part(nodule.mean_mm, f"{said}, part-solid before, growing"), ""
    if status != "stable" or nodule.kind == "non-solid":
        return by_size, ""
    before = nodule.prior_category
    if before in (None, "0", "1"):
        return by_size, f"{needs('prior_category')}, which can lower or raise the category of a stable nodule"
    if _reached_higher_class(nodule, by_size.category):
        return Row(by_size.category, f"{by_size.reason}; it has reached a higher class of size"), ""
    if nodule.prior_mm is not None and lung_rads_growth(nodule.prior_mm, nodule.mean_mm).growing is not False:
        return Row(by_size.category, f"{by_size.reason}; no step down, as the whole nodule grew"), ""
    return _stepped_down(nodule, str(before), said)


def _reached_higher_class(nodule: Nodule, category: str | None) -> bool:
    """Whether a nodule without growth has nevertheless reached a higher class of size since the prior exam."""
    if nodule.prior_mm is None or category is None:
        return False
    before = category_by_size(nodule.kind_before, nodule.prior_mm, nodule.prior_solid_mm, "stable").category
    return before is not None and before != category and more_suspicious(before, category) == category


def _stepped_down(nodule: Nodule, before: str, said: str) -> tuple[Row, str]:
    """Category of a stable nodule that had category 2 or higher before, and an input missing for a step down."""
    if before == "2":
        return Row("2", f"{said}, stable: category 2 before"), ""
    if before not in STEPS:
        return Row("4B", f"{said}, stable: {before} before, and 4B until proven benign"), ""
    needed, then = STEPS[before]
    if nodule.months is None:
        return Row(before, f"{said}, stable: category {before} before"), f"{needs('months')} to step down"
    if whole_months(nodule.months) < needed:
        return Row(before, f"{said}, stable, but not yet {needed} months: stays category {before}"), ""
    return Row(then, f"{said}, stable for {needed} months or more: from category {before} to {then}"), ""


def _with_features(found: Row, features: Collection[str]) -> tuple[Row, str]:
    """Category with suspicious features, and a question to a reader.

    From category 3 they make it 4X. A lower category stays, and says that they do not count; but a non-solid nodule is
    category 2 up to 30 mm, and doubling is a feature of 4X that only a non-solid nodule has: a reader must decide.
    """
    if not features or found.category is None:
        return found, ""
    named = ", ".join(features)
    if found.category in ("3", "4A", "4B"):
        return Row("4X", f"{found.reason} (category {found.category}), and {named}"), ""
    question = f"{needs('a reader')}: {DOUBLED}, a feature of 4X" if DOUBLED in features else ""
    return Row(found.category, f"{found.reason}; {named}: features give 4X from category 3 alone"), question
