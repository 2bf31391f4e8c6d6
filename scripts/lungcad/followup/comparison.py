# SPDX-License-Identifier: Apache-2.0
"""Comparison of two exams: pairs of findings, nodules looked for where only one exam reports them, and their growth."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lungcad.followup.category import exam_category, lesion_category
from lungcad.followup.exam import Exam
from lungcad.followup.growth import (
    STATUSES,
    Change,
    Status,
    Variation,
    change_between,
    growth_refusals,
    judge,
    too_coarse,
)
from lungcad.followup.mass import mass_change_percent
from lungcad.followup.pair import protocol_notices
from lungcad.followup.registration import register
from lungcad.followup.sides import Measure, Side, diameter_of, measured_sides, sides_of
from lungcad.guidelines import LungRads
from lungcad.results.dicom.uids import derived_uid
from lungcad.results.proposals.by_lung_rads import exam_management
from lungcad.results.proposals.proposal import shows_whole_lungs
from lungcad.volume import Notice


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
        lung_rads: proposed category, see :mod:`lungcad.followup.category`; None where the current scan shows no nodule.
    """

    prior: Side
    current: Side
    status: Status
    reason: str
    change: Change | None
    tracking_uid: str
    doubts: tuple[str, ...] = ()
    lung_rads: LungRads | None = None


@dataclass(frozen=True)
class Comparison:
    """Comparison of a current with a prior exam.

    Attributes:
        prior, current: exams.
        days: days between them; None if not known.
        lesions: nodules, by status and then size.
        refusals: reasons why growth was not computed at all; empty if it was.
        overlap: overlap of the registered lungs, see :class:`Registration`.
        notices: warnings about the pair, then those about each scan, which begin with its name.
    """

    prior: Exam
    current: Exam
    days: float | None
    lesions: list[Lesion]
    refusals: list[str]
    overlap: float
    notices: list[Notice] = field(default_factory=list)

    @property
    def lung_rads(self) -> LungRads | None:
        """Proposed category of the current scan; None where it shows no nodule."""
        new = sum(lesion.status == "new" for lesion in self.lesions)
        categories = [lesion.lung_rads for lesion in self.lesions]
        return exam_category(categories, new, shows_whole_lungs(self.current.scan.warnings))

    @property
    def management(self) -> str:
        """Management that Lung-RADS connects with the category; empty without one."""
        found = self.lung_rads
        categories = [lesion.lung_rads for lesion in self.lesions if lesion.lung_rads is not None]
        return exam_management(found, categories) if found else ""

    @property
    def summary(self) -> str:
        """Summary in words, such as ``1 growing, 2 stable``."""
        counts = {status: sum(lesion.status == status for lesion in self.lesions) for status in STATUSES}
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
        measure: function that measures findings, see :func:`lungcad.followup.sides.measured_sides`; None keeps the
            measurements that they have.
        variation: our own coefficient of variation of a volume, by diameter in mm.
        notices: notices about the pair, which are passed on.

    Raises:
        InputError: E-NO-LUNG.
    """
    registration = register(current.scan, prior.scan)
    warned = [*notices, *protocol_notices(prior.header, current.header)]
    if not registration.reliable:
        share = f"{100 * registration.overlap:.0f} %"
        text = f"the lungs of the two scans do not fit on each other ({share} overlap): nothing is matched."
        warned.append(Notice("W-PAIR-REGISTRATION", text))
    warned += [
        Notice(notice.code, f"{name}: {notice.text}")
        for name, exam in (("prior", prior), ("current", current))
        for notice in exam.scan.warnings
    ]
    reasons = growth_refusals(prior.volume, current.volume, prior.header, current.header)
    pairs = measured_sides(prior, current, sides_of(prior, current, registration), measure)
    judged = _Judge(prior, current, days, reasons, registration.reliable, variation)
    lesions = [judged(before, now) for before, now in pairs]
    lesions.sort(key=lambda lesion: (STATUSES.index(lesion.status), -_size(lesion)))
    return Comparison(prior, current, days, lesions, reasons, registration.overlap, warned)


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
            for name, side, size in zip(("prior", "current"), (before, now), sizes, strict=True)
            for doubt in (*(size.doubts if size else ()), *_shared_place_doubts(side))
        )
        change: Change | None = None
        prior, current = sizes
        if before.finding is None or now.finding is None:
            status, reason = self._absent_in_one(before, now)
        elif self.refusals:
            status, reason = "not comparable", f"growth not computed: {'; '.join(self.refusals)}"
        elif prior is None or current is None:
            lacks = " and ".join(name for name, size in (("prior", prior), ("current", current)) if size is None)
            status, reason = "not comparable", f"no measurement in the {lacks} scan"
        else:
            mass = mass_change_percent(self.prior.scan, before.finding, self.current.scan, now.finding)
            change = change_between(prior, current, self.days, self.variation, mass)
            status, reason = judge(prior, current, change)
            change = change if status == "growing" else replace(change, doubling_days=None)
        slices_mm = self.prior.volume.spacing_mm[2], self.current.volume.spacing_mm[2]
        category = lesion_category(status, before.finding, now.finding, self.days, slices_mm)
        return Lesion(before, now, status, reason, change, self._tracking(before, now), doubts, category)

    def _absent_in_one(self, before: Side, now: Side) -> tuple[Status, str]:
        """Status of a nodule that one exam alone shows."""
        name, side = ("prior", before) if before.finding is None else ("current", now)
        exam, shown = (self.prior, now) if before.finding is None else (self.current, before)
        if not self.registered:
            return "not comparable", "the lungs of the two scans could not be registered"
        if not side.scanned:
            return "not comparable", f"the {name} scan does not cover its place"
        if coarse := too_coarse(exam.volume, exam.header, _diameter(shown)):
            return "not comparable", f"not seen in the {name} scan, whose {coarse}"
        place = ", ".join(f"{value:.0f}" for value in side.place)
        seen = f"likeness {side.likeness or 0:.2f}, density {side.density or 0:.2f}"
        seen += "" if side.mass is None else f", {100 * side.mass:.0f} % of its mass"
        text = f"looked for in the {name} scan at ({place}) mm: no such nodule there ({seen})"
        return ("new" if name == "prior" else "resolved"), text

    def _tracking(self, before: Side, now: Side) -> str:
        known = self.prior.tracking.get(before.number or 0) or self.current.tracking.get(now.number or 0)
        exam, side = (self.prior, before) if before.finding is not None else (self.current, now)
        center = ",".join(f"{value:.3f}" for value in side.place)
        return known or derived_uid("lesion", exam.volume.series_uid, center)


def _shared_place_doubts(side: Side) -> list[str]:
    """Doubt where another nodule of the comparison has the finding at a place that was looked at."""
    if side.finding is None or side.shared is None:
        return []
    return [f"finding {side.shared}, listed as another nodule, lies at this place: perhaps one nodule, marked twice"]


def _diameter(side: Side) -> float | None:
    return None if side.finding is None else diameter_of(side.finding)


def _size(lesion: Lesion) -> float:
    return max(_diameter(side) or 0.0 for side in (lesion.prior, lesion.current))
