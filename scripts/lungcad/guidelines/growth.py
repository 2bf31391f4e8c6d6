# SPDX-License-Identifier: Apache-2.0
"""Volume doubling time, and growth by the rule of each guideline.

The rules disagree on purpose and are kept apart: a nodule of 6 mm grows by BTS with +0.46 mm (25 % of its volume), by
Lung-RADS with more than 1.5 mm within 12 months, by Fleischner with 2 mm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lungcad.guidelines.inputs import needs, number, positive, size_mm
from lungcad.guidelines.measuring import NOISE_DECIMALS, rounded

LUNG_RADS_MM = 1.5
"""Increase of the mean diameter above which a nodule grows, within LUNG_RADS_MONTHS (Lung-RADS v2022)."""

LUNG_RADS_MONTHS = 12

FLEISCHNER_MM = 2.0
"""Smallest growth of the mean diameter (Fleischner 2017; Eur Radiol 2021, doi 10.1007/s00330-021-08302-0)."""

BTS_PERCENT = 25.0
"""Smallest growth of the volume (BTS 2015; Eur Radiol 2021, as above)."""


@dataclass(frozen=True)
class Growth:
    """Growth of a nodule between two exams by one guideline's rule.

    Attributes:
        growing: True, False, or None where the rule cannot decide.
        change: change of the size, in ``unit``; negative where the nodule shrank.
        unit: ``mm`` or ``%``.
        reason: the numbers and the rule in words; begins with ``not computed`` where ``growing`` is None.
    """

    growing: bool | None
    change: float
    unit: str
    reason: str


@dataclass(frozen=True)
class GrowthHistory:
    """Growth over several exams by Lung-RADS v2022, ready for ``lung_rads(status=..., slow_growth=...)``.

    Attributes:
        status: ``growing`` or ``stable``; None where only an exam in between could tell.
        slow_growth: True where the nodule grew over several exams, but never fast enough for ``growing``.
        reason: the numbers and the rule in words; begins with ``not computed`` where ``status`` is None.
    """

    status: str | None
    slow_growth: bool
    reason: str


def volume_doubling_days(volume_1: float, volume_2: float, days: float) -> float | None:
    """Days in which a volume doubles at the rate of two measurements: ``days * ln 2 / ln(volume_2 / volume_1)``.

    Args:
        volume_1: earlier volume in mm3.
        volume_2: later volume in mm3.
        days: days between the two exams.

    Returns:
        Doubling time in days; None where the nodule did not grow.

    Raises:
        ValueError: a volume or a number of days that is not above 0.
    """
    volume_1, volume_2 = positive("volume_1", volume_1), positive("volume_2", volume_2)
    days = positive("days", days)
    doublings = math.log2(volume_2 / volume_1)  # exactly 1 for a doubled volume
    return days / doublings if doublings > 0 else None


def volume_change_percent(volume_1: float, volume_2: float) -> float:
    """Change of volume in percent of the earlier one.

    Raises:
        ValueError: a volume that is not above 0.
    """
    volume_1, volume_2 = positive("volume_1", volume_1), positive("volume_2", volume_2)
    return 100 * (volume_2 - volume_1) / volume_1


def whole_months(months: float) -> int:
    """Interval between exams in whole months, rounded half up, as screening intervals are named.

    A yearly CT after 370 days (12.2 months) counts as one after 12 months.

    Raises:
        ValueError: an interval that is not above 0.
    """
    return int(rounded(positive("months", months), 0))


def lung_rads_growth(prior_mm: float, mean_mm: float, months: float | None = None) -> Growth:
    """Growth by Lung-RADS v2022: mean diameter larger by more than 1.5 mm within 12 months.

    A longer interval is divided into the fewest parts of at most 12 months. Their changes add up to the whole one,
    whatever the nodule did in between, so that one of them is at least the average: where that exceeds 1.5 mm, the
    nodule grew within 12 months. Where it does not, only an exam in between could tell.

    Args:
        prior_mm: mean diameter in mm at the earlier exam.
        mean_mm: mean diameter in mm now; both count to one decimal.
        months: months between the exams; needed only where the change exceeds 1.5 mm.

    Raises:
        ValueError: sizes or interval not above 0.
    """
    change = rounded(rounded(size_mm("mean_mm", mean_mm), 1) - rounded(size_mm("prior_mm", prior_mm), 1), 1)
    said = f"{change:+.1f} mm in mean diameter"
    if change <= LUNG_RADS_MM:
        return Growth(False, change, "mm", f"{said}: not more than 1.5 mm, no growth by Lung-RADS")
    if months is None:
        return Growth(None, change, "mm", f"{needs('months')} between the exams ({said})")
    parts = math.ceil(whole_months(months) / LUNG_RADS_MONTHS)
    if parts == 1:
        return Growth(True, change, "mm", f"{said} within 12 months: growing by Lung-RADS (more than 1.5 mm)")
    pace = f"{said} over {months:.3g} months"
    if change > LUNG_RADS_MM * parts:
        proof = f"in one of its {parts} parts of at most 12 months more than 1.5 mm"
        return Growth(True, change, "mm", f"{pace}, so {proof}: growing by Lung-RADS")
    pace += f", on average {12 * change / float(months):.1f} a year"
    return Growth(None, change, "mm", f"{needs('an exam at most 12 months before')} ({pace})")


def lung_rads_growth_history(sizes: Sequence[tuple[float, float]]) -> GrowthHistory:
    """Growth by Lung-RADS v2022 over all exams of a nodule.

    A nodule is growing where the last exam is more than 1.5 mm above one at most 12 months before it, and where that
    follows from a longer interval (see :func:`lung_rads_growth`). It is undecided, not stable, where the latest exam
    that is at least 12 months older than the last leaves it open. It grows slowly (our reading of "over several exams")
    where it is not known to be growing, but the last of three or more exams is more than 1.5 mm above the first.

    Args:
        sizes: (months since any start, mean diameter in mm) of each exam, earliest first.

    Raises:
        ValueError: fewer than two exams, not in order of time, or a size not above 0.
    """
    if len(sizes) < 2 or any(isinstance(exam, str) or len(exam) != 2 for exam in sizes):
        raise ValueError(f"sizes must be (months, mean_mm) of at least two exams, not {sizes!r}")
    exams = [(number("months", month), size_mm("mean_mm", size)) for month, size in sizes]
    if any(after[0] <= before[0] for before, after in pairwise(exams)):
        raise ValueError("sizes must be in order of time, each exam at a time of its own")
    last_month, last_mm = exams[-1]
    pairs = [(last_month - month, lung_rads_growth(size, last_mm, last_month - month)) for month, size in exams[:-1]]
    for past, growth in pairs:
        if growth.growing and whole_months(past) <= LUNG_RADS_MONTHS:
            return GrowthHistory("growing", False, growth.reason)
    # The latest exam that is not less than 12 months old answers for all before it.
    year = next((growth for past, growth in reversed(pairs) if whole_months(past) >= LUNG_RADS_MONTHS), None)
    if year is not None and year.growing:
        return GrowthHistory("growing", False, year.reason)
    total = pairs[0][1].change
    slow = len(exams) > 2 and total > LUNG_RADS_MM
    if year is not None and year.growing is None:
        text = f"{year.change:+.1f} mm in mean diameter over more than 12 months"
        return GrowthHistory(None, slow, f"{needs('an exam in between, at most 12 months before the last')} ({text})")
    words = "slow growth over several exams" if slow else "no growth"
    text = f"{total:+.1f} mm since the first of {len(exams)} exams, not within the last 12 months: {words} by Lung-RADS"
    return GrowthHistory("stable", slow, text)


def fleischner_growth(prior_mm: float, mean_mm: float) -> Growth:
    """Growth by Fleischner 2017: mean diameter larger by at least 2 mm.

    The difference is taken before any rounding to whole mm, which would turn 5.4 to 6.6 mm into 2 mm.

    Raises:
        ValueError: a size not above 0.
    """
    change = rounded(size_mm("mean_mm", mean_mm) - size_mm("prior_mm", prior_mm), 1)
    growing = change >= FLEISCHNER_MM
    reason = f"{change:+.1f} mm in mean diameter: {_growth_word(growing)} by Fleischner (2 mm)"
    return Growth(growing, change, "mm", reason)


def bts_growth(volume_1: float, volume_2: float) -> Growth:
    """Growth by BTS 2015: volume larger by at least 25 %.

    Raises:
        ValueError: a volume not above 0.
    """
    change = rounded(volume_change_percent(volume_1, volume_2), NOISE_DECIMALS)
    growing = change >= BTS_PERCENT
    return Growth(growing, change, "%", f"{change:+.1f} % in volume: {_growth_word(growing)} by BTS (25 %)")


def _growth_word(growing: bool) -> str:
    """Word for growth, or none, in a reason."""
    return "growing" if growing else "no growth"
