# SPDX-License-Identifier: Apache-2.0
"""Sides of the nodules of two exams: matched findings, places that were looked at, and their measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lungcad.finding import Finding, centers_of
from lungcad.followup.exam import Exam
from lungcad.followup.mass import mass_change_percent
from lungcad.followup.matching import USUAL_MM, match_findings
from lungcad.followup.registration import Registration, is_scanned
from lungcad.followup.search import Place, find_again
from lungcad.scan.scan import Scan

Measure = Callable[[Scan, Sequence[Finding]], list[Finding]]
"""Function that returns findings with their measurements; None where it outlines no nodule."""

LEAST_LIKENESS = 0.6
"""Least likeness of a place with the nodule from which what is measured there counts as the nodule."""
SAME_LIKENESS = 0.8
"""Least likeness from which the same structure is there, though no nodule could be outlined: it is not new."""
LEAST_DENSITY = 0.5
"""Least contrast of that place's core with the lung, as a share of the nodule's."""
LEAST_MASS = 0.4
"""Least mass above lung at that place, as a share of the nodule's, where it is not that alike: a vessel has less."""
SAME_MM = 3.0
"""Distance in mm, or half the diameter where that is more, within which a weak finding is the nodule looked for."""


@dataclass(frozen=True)
class Side:
    """One exam's side of a nodule.

    Attributes:
        finding: the nodule in this exam, with its measurement if there is one; None: looked for, and absent.
        number: number of the finding in nodules.json; None where the chain did not find it.
        looked_for: whether the place comes from the other exam.
        place: (x, y, z) in LPS mm: the finding's centre, or where it was looked for.
        likeness, density: likeness of the place with the nodule of the other exam, and contrast of its core, see
            :class:`lungcad.followup.search.Place`; None where it was not looked for.
        scanned: whether the scan covers the place.
        mass: mass above lung there as a share of the nodule's, see :mod:`lungcad.followup.mass`; None where the place
            was not looked for, or shows nothing to outline.
        shared: number of the finding of another nodule of the comparison that lies at the place: perhaps one nodule.
    """

    finding: Finding | None
    number: int | None
    looked_for: bool
    place: tuple[float, float, float]
    likeness: float | None = None
    density: float | None = None
    scanned: bool = True
    mass: float | None = None
    shared: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the place is sure enough to be shown: a finding's own, or looked at after a good registration."""
        return self.finding is not None or self.likeness is not None

    def shows(self, outlined: bool) -> bool:
        """Whether the place that was looked for shows the nodule; what could not be outlined must be more alike."""
        light = self.mass is not None and self.mass < LEAST_MASS
        least = LEAST_LIKENESS if outlined and not light else SAME_LIKENESS
        return (self.likeness or 0.0) >= least and (self.density or 0.0) >= LEAST_DENSITY


def sides_of(prior: Exam, current: Exam, registration: Registration) -> list[tuple[Side, Side]]:
    """Sides, prior and current, of every nodule that either exam reports; those looked for are not measured yet."""
    before, now = prior.result.numbered, current.result.numbered
    matched: list[tuple[int, int]] = []
    to_prior = registration.to_prior(centers_of([finding for _, finding in now]))
    if registration.reliable:
        sizes = [[diameter_of(finding) for _, finding in numbered] for numbered in (now, before)]
        matched = match_findings(to_prior, sizes[0], centers_of([finding for _, finding in before]), sizes[1])
    pairs = [(_found_side(*before[j]), _found_side(*now[i])) for i, j in matched]
    taken = tuple({number for number, _ in numbered} for numbered in (before, now))
    for i in sorted(set(range(len(now))) - {i for i, _ in matched}):
        side = _looked_for_side(current, now[i][1], prior, to_prior[i], registration, taken[0])
        pairs.append((side, _found_side(*now[i])))
    to_current = registration.to_current(centers_of([finding for _, finding in before]))
    for j in sorted(set(range(len(before))) - {j for _, j in matched}):
        side = _looked_for_side(prior, before[j][1], current, to_current[j], registration, taken[1])
        pairs.append((_found_side(*before[j]), side))
    return pairs


def _found_side(number: int, finding: Finding) -> Side:
    return Side(finding, number, False, finding.center_lps_mm)


def _looked_for_side(
    exam: Exam, finding: Finding, other: Exam, place: np.ndarray, registration: Registration, taken: set[int]
) -> Side:
    """Side of a nodule in the exam that does not report it, with the place to measure at as a finding.

    A finding lends its number once: those of ``taken`` belong to other nodules of the comparison, and a weak one that
    is found here joins them.
    """
    size = diameter_of(finding) or USUAL_MM
    x, y, z = place.tolist()
    if not registration.reliable or not is_scanned(other.scan, place):
        return Side(None, None, True, (x, y, z), scanned=is_scanned(other.scan, place))
    seen: Place = find_again(exam.scan, np.array(finding.center_lps_mm), size, other.scan, place)
    near = np.linalg.norm(centers_of(other.findings) - seen.center_lps_mm, axis=1)
    number = int(near.argmin()) + 1 if len(near) and near.min() <= max(SAME_MM, size / 2) else None
    shared = number if number in taken else None
    number = None if shared else number
    weak = other.findings[number - 1] if number else None
    taken.update([number] if number else [])
    proposed = replace(weak or Finding(seen.center_lps_mm), center_lps_mm=seen.center_lps_mm)
    return Side(
        replace(proposed, diameter_mm=proposed.diameter_mm or size), number, True, seen.center_lps_mm, seen.likeness,
        seen.density, shared=shared,
    )  # fmt: skip


def measured_sides(
    prior: Exam, current: Exam, pairs: Sequence[tuple[Side, Side]], measure: Measure | None
) -> list[tuple[Side, Side]]:
    """Sides with measurements, each of both exams by one program; what was looked for and is not there has no finding.

    An outline moves with the centre and the size at which a nodule is looked at, and a detector's differ from scan to
    scan. So each nodule is outlined twice: where it was found, then around the first outline's own centre, and in both
    exams at one size.

    Args:
        prior, current: exams.
        pairs: sides of :func:`sides_of`.
        measure: function that measures; None keeps the measurements that the findings have.
    """
    exams = prior, current
    columns = [_measured(exam, [pair[n] for pair in pairs], measure) for n, exam in enumerate(exams)]
    if measure is not None:
        sizes = [
            max((diameter_of(side.finding) or 0.0 for side in pair if side.finding), default=0.0)
            for pair in zip(*columns, strict=True)
        ]
        columns = [
            _measured_around_masks(exam, column, sizes, measure) for exam, column in zip(exams, columns, strict=True)
        ]
    return [_with_mass(prior, current, before, now) for before, now in zip(*columns, strict=True)]


def _with_mass(prior: Exam, current: Exam, before: Side, now: Side) -> tuple[Side, Side]:
    """Sides of a nodule with the mass at the place that was looked at; without a finding where that is too little."""
    if not (before.looked_for or now.looked_for) or before.finding is None or now.finding is None:
        return before, now
    percent = mass_change_percent(prior.scan, before.finding, current.scan, now.finding)
    share = None if percent is None else max(1 + percent / 100, 1e-6)
    looked_at = replace(now, mass=share) if now.looked_for else replace(before, mass=share and 1 / share)
    if not looked_at.shows(outlined=True):
        looked_at = replace(looked_at, finding=None, number=None)
    return (before, looked_at) if now.looked_for else (looked_at, now)


def _measured(exam: Exam, sides: Sequence[Side], measure: Measure | None) -> list[Side]:
    """Sides measured where their findings are; one that was looked for and is not there gets no finding."""
    todo = [side.finding for side in sides if side.finding is not None]
    results = iter(measure(exam.scan, todo) if measure is not None and todo else todo)
    done: list[Side] = []
    for side in sides:
        finding = None if side.finding is None else next(results)
        if finding is not None and side.looked_for:
            finding = finding if side.shows(finding.measurement is not None) else None
        done.append(replace(side, finding=finding, number=side.number if finding is not None else None))
    return done


def _measured_around_masks(
    exam: Exam, sides: Sequence[Side], sizes_mm: Sequence[float], measure: Measure
) -> list[Side]:
    """Sides measured again around the centres of their masks; those without a mask stay."""
    at: dict[int, Finding] = {}
    for n, side in enumerate(sides):
        if side.finding is not None and side.finding.mask is not None:
            center = side.finding.mask.center_lps_mm
            at[n] = replace(side.finding, center_lps_mm=center, diameter_mm=sizes_mm[n] or None)
    done = list(sides)
    for n, second in zip(at, measure(exam.scan, list(at.values())) if at else (), strict=True):
        first = sides[n].finding
        if first is not None and first.measurement is not None and second.measurement is not None:
            doubts = tuple(dict.fromkeys((*first.measurement.doubts, *second.measurement.doubts)))
            size = replace(second.measurement, doubts=doubts)
            place = first.center_lps_mm
            kept = replace(second, center_lps_mm=place, diameter_mm=first.diameter_mm, measurement=size)
            done[n] = replace(sides[n], finding=kept)
    return done


def diameter_of(finding: Finding) -> float | None:
    """Diameter in mm as measured, else the detector's; None if neither is known."""
    size = finding.measurement
    return finding.diameter_mm if size is None else size.effective_diameter_mm
