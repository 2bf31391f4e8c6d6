# SPDX-License-Identifier: Apache-2.0
"""Growth of one nodule between two scans, with the error of measurement, and why it is not computed where it is not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lungcad.followup.exam import Header
from lungcad.guidelines import (
    beyond_error,
    bts_growth,
    fleischner_growth,
    lung_rads_growth,
    volume_change_interval,
    volume_change_percent,
    volume_doubling_days,
    volume_repeatability,
)
from lungcad.guidelines.growth import BTS_PERCENT
from lungcad.guidelines.measurement_error import own_volume_cv
from lungcad.measurement import THICK_SLICE_MM, Measurement, slices_too_thick
from lungcad.results.words import shown_mean_mm
from lungcad.volume import Volume

Status = Literal["growing", "shrinking", "stable", "new", "resolved", "not comparable"]
STATUSES: tuple[Status, ...] = ("growing", "new", "stable", "shrinking", "resolved", "not comparable")
"""Statuses in the order in which they are listed."""
THIN_MM = 1.25
"""Largest distance of slices in mm for which our own coefficient of variation holds."""
SLICE_DIFFERENCE_MM = 0.5
"""Difference of slice distance or thickness in mm above which two scans are of different protocols."""
LEAST_SHARED = 0.4
"""Least change of the mass that confirms a change of volume, as a share of it, both as logarithms."""
DAYS_A_MONTH = 30.4375
Variation = Callable[[float], float]
"""Coefficient of variation of our volume (0.1 is 10 %) by diameter in mm, from repeated scans."""


@dataclass(frozen=True)
class Change:
    """Change of a nodule between two scans.

    Attributes:
        mean_diameter_mm: change of the mean diameter in mm, see :func:`mean_mm`.
        volume_mm3, volume_percent: change of the volume.
        mass_percent: change of the mass in both outlines together, see :mod:`lungcad.followup.mass`; None if not known.
        error_percent: lower and upper limit of a change that a repeated scan of an unchanged nodule would show (95 %).
        error_source: source of these limits.
        interval_mm3: confidence interval (95 %) of the change by our own coefficient of variation; None if not known.
        doubling_days: volume doubling time in days; None where the volume did not grow or the interval is not known,
            and in a comparison where the nodule is not growing beyond the error.
        rules: growth in words by Lung-RADS v2022, Fleischner 2017 and BTS 2015.
    """

    mean_diameter_mm: float
    volume_mm3: float
    volume_percent: float
    error_percent: tuple[float, float]
    error_source: str
    interval_mm3: tuple[float, float] | None
    doubling_days: float | None
    rules: tuple[str, ...]
    mass_percent: float | None = None


def mean_mm(size: Measurement) -> float:
    """Mean diameter in mm, of axes rounded to 0.1 mm, as everything that shows or compares it takes it."""
    return shown_mean_mm({"long_axis_mm": size.long_axis_mm, "short_axis_mm": size.short_axis_mm})


def growth_refusals(prior: Volume, current: Volume, before: Header, now: Header) -> list[str]:
    """Reasons why sizes of two scans must not be compared: thick slices, other slices, other kernel; empty if none."""
    reasons = [
        f"slices of the {name} scan are {volume.spacing_mm[2]:.2g} mm apart "
        f"(growth needs {THICK_SLICE_MM:g} mm or less)"
        for name, volume in (("prior", prior), ("current", current))
        if slices_too_thick(volume.spacing_mm[2])
    ]
    steps = prior.spacing_mm[2], current.spacing_mm[2]
    if abs(steps[1] - steps[0]) > SLICE_DIFFERENCE_MM:
        reasons.append(f"slices are {steps[0]:.2g} mm apart in the prior and {steps[1]:.2g} mm in the current scan")
    thick = before.thickness_mm, now.thickness_mm
    if thick[0] is not None and thick[1] is not None and abs(thick[1] - thick[0]) > SLICE_DIFFERENCE_MM:
        reasons.append(f"slices are {thick[0]:.2g} mm thick in the prior and {thick[1]:.2g} mm in the current scan")
    if before.kernel and now.kernel and before.kernel != now.kernel:
        reasons.append(f"kernel {before.kernel} in the prior and {now.kernel} in the current scan")
    return reasons


def own_variation(prior: Volume, current: Volume) -> Variation | None:
    """Our own coefficient of variation; None for slices more than :data:`THIN_MM` apart, where it was not measured."""
    thin = max(prior.spacing_mm[2], current.spacing_mm[2]) <= THIN_MM + 1e-3
    return own_volume_cv if thin else None


def too_coarse(volume: Volume, header: Header, diameter_mm: float | None) -> str:
    """Reason why a scan cannot show that a nodule is absent: below two of its thick slices; empty if it can.

    Args:
        volume, header: scan in which the nodule was looked for.
        diameter_mm: diameter of the nodule; one that is not known counts as small.
    """
    slice_mm = max(volume.spacing_mm[2], header.thickness_mm or 0.0)
    if not slices_too_thick(slice_mm) or (diameter_mm or 0.0) >= 2 * slice_mm:
        return ""
    size = "a nodule of unknown size" if diameter_mm is None else f"a nodule of {diameter_mm:.1f} mm"
    return f"slices of {slice_mm:.2g} mm are too thick to exclude {size}"


def change_between(
    prior: Measurement, current: Measurement, days: float | None, variation: Variation | None = None,
    mass_percent: float | None = None,
) -> Change:  # fmt: skip
    """Change of a nodule from its two measurements.

    Args:
        prior, current: measurements.
        days: days between the scans; None if not known.
        variation: our own coefficient of variation; None if not known.
        mass_percent: change of the mass in both outlines together; None if not known.

    Raises:
        ValueError: sizes or days not above 0.
    """
    before, now = prior.volume_mm3, current.volume_mm3
    means = mean_mm(prior), mean_mm(current)
    limits = volume_repeatability(_kind(prior, current), means[0])
    interval = None
    if variation is not None:
        spread = variation(prior.effective_diameter_mm), variation(current.effective_diameter_mm)
        interval = volume_change_interval(before, now, *spread)
    months = None if days is None else days / DAYS_A_MONTH
    rules = (
        lung_rads_growth(*means, months).reason,
        fleischner_growth(*means).reason,
        bts_growth(before, now).reason,
    )
    return Change(
        means[1] - means[0], now - before, volume_change_percent(before, now),
        (limits.lowest, limits.highest), limits.source, interval,
        None if days is None else volume_doubling_days(before, now, days), rules, mass_percent,
    )  # fmt: skip


def judge(prior: Measurement, current: Measurement, change: Change) -> tuple[Status, str]:
    """Status of a nodule that both scans show, and its reason.

    It grows where its volume rose by at least 25 % (BTS 2015) and beyond the error of measurement, the published one
    and, where known, our own; it shrinks likewise. A change of volume that the mass in the same region does not share
    (:data:`LEAST_SHARED`) is one of the outlines, and not comparable.
    """
    percent, limits = change.volume_percent, change.error_percent
    published = volume_repeatability(_kind(prior, current), mean_mm(prior))
    beyond = beyond_error(prior.volume_mm3, current.volume_mm3, published)
    if change.interval_mm3 is not None:
        beyond = beyond and not change.interval_mm3[0] <= 0 <= change.interval_mm3[1]
    said = f"{percent:+.0f} % in volume, {change.mean_diameter_mm:+.1f} mm in mean diameter"
    error = f"error of measurement {limits[0]:+.0f} to {limits[1]:+.0f} %"
    if abs(percent) >= BTS_PERCENT and beyond and not _shared_by_mass(change):
        mass = f"{change.mass_percent:+.0f} % in mass where both outlines lie"
        return "not comparable", f"{said}, but {mass}: the outlines differ more than the nodule"
    if percent >= BTS_PERCENT and beyond:
        return "growing", f"{said}: at least 25 % and beyond the {error}"
    if percent <= -BTS_PERCENT and beyond:
        return "shrinking", f"{said}: at least 25 % less and beyond the {error}"
    why = f"within the {error}" if not beyond else f"below 25 % ({error})"
    return "stable", f"{said}: {why}"


def _shared_by_mass(change: Change) -> bool:
    """Whether the mass changed with the volume; a mass that is not known agrees."""
    if change.mass_percent is None:
        return True
    volume, mass = (math.log(1 + max(percent, -99.0) / 100) for percent in (change.volume_percent, change.mass_percent))
    return mass / volume >= LEAST_SHARED


def _kind(prior: Measurement, current: Measurement) -> str:
    """Kind with the larger error of the two; a kind that is not known counts as the least repeatable."""
    kinds: Sequence[str | None] = (prior.kind, current.kind)
    return "solid" if all(kind == "solid" for kind in kinds) else "part-solid"
