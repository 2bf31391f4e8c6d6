# SPDX-License-Identifier: Apache-2.0
"""Counts of scans and nodules by the papers' rules, for comparison with the papers' figures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lungcad.lidc.labels import jnsc_label, jnsc_marginal
from lungcad.lidc.nodules import LidcNodule
from lungcad.lidc.readings import LidcScan

MAX_THICKNESS_MM = 2.5
"""Largest slice thickness in mm of the scans in LUNA16."""

UNEVEN = 0.01
"""Difference of slice distances, as a share of their median, from which slices count as unevenly spaced."""

SMALLEST_MM, LARGEST_MM = 3.0, 30.0
"""Smallest and largest diameter in mm of the nodules that MTMR-Net kept."""


@dataclass(frozen=True)
class ScanCounts:
    """Numbers of CT series by kind; those of LUNA16 are None where its list is not given.

    Attributes:
        scans: number of series.
        patients: number of patients.
        patients_twice: number of patients with more than one series.
        readings: number of readings in all series.
        with_readings: number of series with a reading.
        thick: number of series with slices thicker than :data:`MAX_THICKNESS_MM`.
        uneven: number of other series with slices missing or doubled.
        luna16: number of series in LUNA16.
        luna16_thick, luna16_uneven: numbers of those that are thick or uneven.
        unexplained: number of series that are neither thick nor uneven, yet not in LUNA16.
    """

    scans: int
    patients: int
    patients_twice: int
    readings: int
    with_readings: int
    thick: int
    uneven: int
    luna16: int | None
    luna16_thick: int | None
    luna16_uneven: int | None
    unexplained: int | None


@dataclass(frozen=True)
class MalignancyCounts:
    """Numbers of nodules below, at and above a malignancy of 3."""

    below: int
    at: int
    above: int


def count_scans(scans: Sequence[LidcScan], luna16: set[str] | None) -> ScanCounts:
    """Count scans by kind; ``luna16`` holds the UIDs of LUNA16's series, None where they are not known."""
    thick = {scan.series_uid for scan in scans if scan.thickness_mm > MAX_THICKNESS_MM}
    uneven = {scan.series_uid for scan in scans if is_uneven(scan.slice_z_mm)} - thick
    patients = Counter(scan.patient_id for scan in scans)
    all_uids = {scan.series_uid for scan in scans}
    listed = all_uids & luna16 if luna16 is not None else None
    return ScanCounts(
        scans=len(scans),
        patients=len(patients),
        patients_twice=sum(number > 1 for number in patients.values()),
        readings=sum(len(scan.readings) for scan in scans),
        with_readings=sum(bool(scan.readings) for scan in scans),
        thick=len(thick),
        uneven=len(uneven),
        luna16=None if listed is None else len(listed),
        luna16_thick=None if listed is None else len(listed & thick),
        luna16_uneven=None if listed is None else len(listed & uneven),
        unexplained=None if listed is None else len(all_uids - listed - thick - uneven),
    )


def is_uneven(slice_z_mm: np.ndarray) -> bool:
    """Whether slices are missing or doubled: their distances differ by more than :data:`UNEVEN`."""
    steps = np.diff(slice_z_mm)
    return bool(np.ptp(steps) > UNEVEN * np.median(steps))


def count_by_malignancy(nodules: Sequence[LidcNodule], malignancy: Callable[[LidcNodule], float]) -> MalignancyCounts:
    """Count nodules below, at and above 3 by a malignancy such as :func:`mean_malignancy`."""
    values = np.array([malignancy(nodule) for nodule in nodules])
    return MalignancyCounts(int((values < 3).sum()), int((values == 3).sum()), int((values > 3).sum()))


def mean_malignancy(nodule: LidcNodule) -> float:
    """Mean malignancy over the readers, as MTMR-Net uses it."""
    return nodule.mean["malignancy"]


def median_malignancy(nodule: LidcNodule) -> float:
    """Median malignancy over the readers, as JNSC uses it."""
    return nodule.median["malignancy"]


def within_size(nodules: Sequence[LidcNodule]) -> list[LidcNodule]:
    """Nodules of 3 to 30 mm, by the diameter of the sphere of equal volume."""
    return [nodule for nodule in nodules if SMALLEST_MM <= nodule.diameter_mm <= LARGEST_MM]


def with_min_readers(nodules: Sequence[LidcNodule], min_readers: int) -> list[LidcNodule]:
    """Nodules of at least ``min_readers`` readers."""
    return [nodule for nodule in nodules if nodule.n_readers >= min_readers]


def count_jnsc(nodules: Sequence[LidcNodule]) -> dict[str, int]:
    """Count nodules by the classes of JNSC's table 2: benign and malignant, each certain or marginal, and uncertain."""
    kinds = {0: "benign", 1: "malignant", None: "uncertain"}
    counts = Counter(
        kinds[label] + ("" if label is None else ", marginal" if jnsc_marginal(nodule) else ", certain")
        for nodule, label in ((nodule, jnsc_label(nodule)) for nodule in nodules)
    )
    names = ("benign, certain", "benign, marginal", "uncertain", "malignant, marginal", "malignant, certain")
    return {name: counts[name] for name in names}
