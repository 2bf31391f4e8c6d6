# SPDX-License-Identifier: Apache-2.0
"""Comparison of two exams: pairs of findings, nodules looked for where only one exam reports them, and their growth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lungcad.finding import Finding, centers_of
from lungcad.followup.again import Place, look_again
from lungcad.followup.exam import Exam
from lungcad.followup.growth import STATUSES, Change, Status, Variation, change_between, judge, refusals
from lungcad.followup.matching import USUAL_MM, match
from lungcad.followup.registration import Registration, covered, register
from lungcad.results.dicom.uids import derived_uid
from lungcad.scan.scan import Scan
from lungcad.volume import Notice

Measure = Callable[[Scan, Sequence[Finding]], list[Finding]]
"""Function that returns findings with their measurements; None where it outlines no nodule."""

LEAST_LIKENESS = 0.6
"""Least likeness of a place with the nodule from which what is measured there counts as the nodule."""
SAME_LIKENESS = 0.8
"""Least likeness from which the same structure is there, though no nodule could be outlined: it is not new."""
LEAST_DENSITY = 0.5
"""Least contrast of that place's core with the lung, as a share of the nodule's."""
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
            :class:`lungcad.followup.again.Place`; None where it was not looked for.
        scanned: whether the scan covers the place.
    """

    finding: Finding | None
    number: int | None
    looked_for: bool
    place: tuple[float, float, float]
    likeness: float | None = None
    density: float | None = None
    scanned: bool = True

    def shows(self, outlined: bool) -> bool:
        """Whether the place that was looked for shows the nodule; what could not be outlined must be more alike."""
        least = LEAST_LIKENESS if outlined else SAME_LIKENESS
        return (self.likeness or 0.0) >= least and (self.density or 0.0) >= LEAST_DENSITY


@dataclass(frozen=True)
class Lesion:
    """Nodule in one or both exams.

    Attributes:
        prior, current: its sides.
        status: one of :data:`lungcad.followup.growth.STATUSES`.
        reason: the status in words and numbers.
        change: change of size; None where it was not computed.
        tracking_uid: tracking UID, the same in all exams of a nodule.
        doubts: reasons for not trusting a measurement.
    """

    prior: Side
    current: Side
    status: Status
    reason: str
    change: Change | None
    tracking_uid: str
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Comparison of a current with a prior exam.

    Attributes:
        prior, current: exams.
        days: days between them; None if not known.
        lesions: nodules, by status and then size.
        refusals: reasons why growth was not computed at all; empty if it was.
        overlap: overlap of the registered lungs, see :class:`Registration`.
        notices: warnings about the pair.
    """

    prior: Exam
    current: Exam
    days: float | None
    lesions: list[Lesion]
    refusals: list[str]
    overlap: float
    notices: list[Notice] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """Summary in words, such as ``1 growing, 2 stable``."""
        counts = {status: sum(one.status == status for one in self.lesions) for status in STATUSES}
        return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no nodule in either scan"


def compare(
    prior: Exam, current: Exam, days: float | None = None, measure: Measure | None = None,
    variation: Variation | None = None, notices: Sequence[Notice] = (),
) -> Comparison:  # fmt: skip
    """Compare the reported nodules of two exams of one patient.

    A nodule that one exam alone reports is looked for in the other and measured there, so that ``new`` and ``resolved``
    mean looked at and absent.

    Args:
        prior, current: exams.
        days: days between them; None if not known.
        measure: function that measures findings without a measurement; None leaves them without.
        variation: our own coefficient of variation of a volume, by diameter in mm.
        notices: notices about the pair, which are passed on.

    Raises:
        InputError: E-NO-LUNG.
    """
    registration = register(current.scan, prior.scan)
    warned = list(notices)
    if not registration.reliable:
        share = f"{100 * registration.overlap:.0f} %"
        text = f"the lungs of the two scans do not fit on each other ({share} overlap): nothing is matched."
        warned.append(Notice("W-PAIR-REGISTRATION", text))
    reasons = refusals(prior.volume, current.volume, prior.header, current.header)
    pairs = _pairs(prior, current, registration)
    before = _measured(prior, [one for one, _ in pairs], measure)
    now = _measured(current, [two for _, two in pairs], measure)
    judged = _Judge(prior, current, days, reasons, registration.reliable, variation)
    lesions = [judged(one, two) for one, two in zip(before, now, strict=True)]
    lesions.sort(key=lambda lesion: (STATUSES.index(lesion.status), -_size(lesion)))
    return Comparison(prior, current, days, lesions, reasons, registration.overlap, warned)


def _pairs(prior: Exam, current: Exam, registration: Registration) -> list[tuple[Side, Side]]:
    """Sides of every nodule that either exam reports; those looked for have not been measured yet."""
    before, now = _numbered(prior), _numbered(current)
    matched: list[tuple[int, int]] = []
    to_prior = registration.to_prior(centers_of([one for _, one in now]))
    if registration.reliable:
        sizes = [[_diameter(one) for _, one in some] for some in (now, before)]
        matched = match(to_prior, sizes[0], centers_of([one for _, one in before]), sizes[1])
    pairs = [(_found(*before[j]), _found(*now[i])) for i, j in matched]
    for i in sorted(set(range(len(now))) - {i for i, _ in matched}):
        side = _looked_for(current, now[i][1], prior, to_prior[i], registration)
        pairs.append((side, _found(*now[i])))
    to_current = registration.to_current(centers_of([one for _, one in before]))
    for j in sorted(set(range(len(before))) - {j for _, j in matched}):
        side = _looked_for(prior, before[j][1], current, to_current[j], registration)
        pairs.append((_found(*before[j]), side))
    return pairs


def _numbered(exam: Exam) -> list[tuple[int, Finding]]:
    """Reported findings with their numbers."""
    listed = zip(exam.findings, exam.reported, strict=True)
    return [(number, one) for number, (one, reported) in enumerate(listed, 1) if reported]


def _found(number: int, finding: Finding) -> Side:
    return Side(finding, number, False, finding.center_lps_mm)


def _looked_for(exam: Exam, finding: Finding, other: Exam, place: np.ndarray, registration: Registration) -> Side:
    """Side of a nodule in the exam that does not report it, with the place to measure at as a finding."""
    size = _diameter(finding) or USUAL_MM
    x, y, z = place.tolist()
    if not registration.reliable or not covered(other.scan, place):
        return Side(None, None, True, (x, y, z), scanned=covered(other.scan, place))
    seen: Place = look_again(exam.scan, np.array(finding.center_lps_mm), size, other.scan, place)
    near = np.linalg.norm(centers_of(other.findings) - seen.center_lps_mm, axis=1)
    number = int(near.argmin()) + 1 if len(near) and near.min() <= max(SAME_MM, size / 2) else None
    weak = other.findings[number - 1] if number else None
    at = replace(weak or Finding(seen.center_lps_mm), center_lps_mm=seen.center_lps_mm)
    return Side(
        replace(at, diameter_mm=at.diameter_mm or size), number, True, seen.center_lps_mm, seen.likeness, seen.density
    )


def _measured(exam: Exam, sides: Sequence[Side], measure: Measure | None) -> list[Side]:
    """Sides with measurements; one that was looked for and is not there gets no finding."""
    todo = [side.finding for side in sides if side.finding is not None and side.finding.measurement is None]
    results = iter(measure(exam.scan, todo) if measure is not None and todo else todo)
    done: list[Side] = []
    for side in sides:
        finding = side.finding
        if finding is not None and finding.measurement is None:
            finding = next(results)
        if finding is not None and side.looked_for:
            finding = finding if side.shows(finding.measurement is not None) else None
        done.append(replace(side, finding=finding, number=side.number if finding is not None else None))
    return done


@dataclass(frozen=True)
class _Judge:
    """Verdict on one nodule after another, with what holds for all of them."""

    prior: Exam
    current: Exam
    days: float | None
    refusals: Sequence[str]
    registered: bool
    variation: Variation | None

    def __call__(self, before: Side, now: Side) -> Lesion:
        sizes = [side.finding.measurement if side.finding else None for side in (before, now)]
        doubts = tuple(
            f"{name}: {doubt}"
            for name, size in zip(("prior", "current"), sizes, strict=True)
            for doubt in (size.doubts if size else ())
        )
        change: Change | None = None
        prior, current = sizes
        if before.finding is None or now.finding is None:
            status, reason = self._alone(before, now)
        elif self.refusals:
            status, reason = "not comparable", f"growth not computed: {'; '.join(self.refusals)}"
        elif prior is None or current is None:
            lacks = " and ".join(name for name, size in (("prior", prior), ("current", current)) if size is None)
            status, reason = "not comparable", f"no measurement in the {lacks} scan"
        else:
            change = change_between(prior, current, self.days, self.variation)
            status, reason = judge(prior, current, change)
        return Lesion(before, now, status, reason, change, self._tracking(before, now), doubts)

    def _alone(self, before: Side, now: Side) -> tuple[Status, str]:
        """Status of a nodule that one exam alone shows."""
        name, side = ("prior", before) if before.finding is None else ("current", now)
        if not self.registered:
            return "not comparable", "the lungs of the two scans could not be registered"
        if not side.scanned:
            return "not comparable", f"the {name} scan does not cover its place"
        place = ", ".join(f"{value:.0f}" for value in side.place)
        seen = f"likeness {side.likeness or 0:.2f}, density {side.density or 0:.2f}"
        text = f"looked for in the {name} scan at ({place}) mm: no such nodule there ({seen})"
        return ("new" if name == "prior" else "resolved"), text

    def _tracking(self, before: Side, now: Side) -> str:
        known = self.prior.tracking.get(before.number or 0) or self.current.tracking.get(now.number or 0)
        exam, side = (self.prior, before) if before.finding is not None else (self.current, now)
        center = ",".join(f"{value:.3f}" for value in side.place)
        return known or derived_uid("lesion", exam.volume.series_uid, center)


def _diameter(finding: Finding) -> float | None:
    size = finding.measurement
    return finding.diameter_mm if size is None else size.effective_diameter_mm


def _size(lesion: Lesion) -> float:
    return max((_diameter(side.finding) or 0.0 for side in (lesion.prior, lesion.current) if side.finding), default=0.0)
