# SPDX-License-Identifier: Apache-2.0
"""Count scans and nodules as the papers do, to set the figures beside theirs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lungcad.lidc.labels import jnsc_label, jnsc_marginal
from lungcad.lidc.nodules import LidcNodule
from lungcad.lidc.readings import LidcScan

THICKEST_MM = 2.5
"""LUNA16 left out scans with thicker slices."""

UNEVEN = 0.01
"""Slices are unevenly spaced when their distances differ by more than this part of the median."""

SMALLEST_MM, LARGEST_MM = 3.0, 30.0
"""Diameters that MTMR-Net kept."""


@dataclass(frozen=True)
class ScanCounts:
    """How many CT series of which kind; those of LUNA16 are None where its list is not given."""

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
class Sides:
    """Nodules below, at and above a malignancy of 3."""

    below: int
    at: int
    above: int


def count_scans(scans: Sequence[LidcScan], luna16: set[str] | None) -> ScanCounts:
    """Count scans; ``luna16`` holds the UIDs of LUNA16's series."""
    thick = {scan.series_uid for scan in scans if scan.thickness_mm > THICKEST_MM}
    uneven = {scan.series_uid for scan in scans if is_uneven(scan.slice_z_mm)} - thick
    patients = Counter(scan.patient_id for scan in scans)
    every = {scan.series_uid for scan in scans}
    there = every & luna16 if luna16 is not None else None
    return ScanCounts(
        scans=len(scans),
        patients=len(patients),
        patients_twice=sum(number > 1 for number in patients.values()),
        readings=sum(len(scan.readings) for scan in scans),
        with_readings=sum(bool(scan.readings) for scan in scans),
        thick=len(thick),
        uneven=len(uneven),
        luna16=None if there is None else len(there),
        luna16_thick=None if there is None else len(there & thick),
        luna16_uneven=None if there is None else len(there & uneven),
        unexplained=None if there is None else len(every - there - thick - uneven),
    )


def is_uneven(slice_z_mm: np.ndarray) -> bool:
    """Whether slices are missing or doubled: their distances differ by more than :data:`UNEVEN`."""
    steps = np.diff(slice_z_mm)
    return bool(np.ptp(steps) > UNEVEN * np.median(steps))


def sides(nodules: Sequence[LidcNodule], malignancy: Callable[[LidcNodule], float]) -> Sides:
    """Count nodules by a malignancy such as :func:`mean_malignancy`."""
    values = np.array([malignancy(one) for one in nodules])
    return Sides(int((values < 3).sum()), int((values == 3).sum()), int((values > 3).sum()))


def mean_malignancy(nodule: LidcNodule) -> float:
    """MTMR-Net's."""
    return nodule.mean["malignancy"]


def median_malignancy(nodule: LidcNodule) -> float:
    """JNSC's."""
    return nodule.median["malignancy"]


def within_size(nodules: Sequence[LidcNodule]) -> list[LidcNodule]:
    """Nodules of 3 to 30 mm, by the diameter of the sphere of equal volume."""
    return [one for one in nodules if SMALLEST_MM <= one.diameter_mm <= LARGEST_MM]


def read_by(nodules: Sequence[LidcNodule], readers: int) -> list[LidcNodule]:
    """Nodules of at least so many readers."""
    return [one for one in nodules if one.n_readers >= readers]


def count_jnsc(nodules: Sequence[LidcNodule]) -> dict[str, int]:
    """JNSC's table 2: benign and malignant nodules, certain and marginal, and uncertain ones."""
    kinds = {0: "benign", 1: "malignant", None: "uncertain"}
    counts = Counter(
        kinds[jnsc_label(one)] + (", marginal" if jnsc_marginal(one) else ", certain") * (jnsc_label(one) is not None)
        for one in nodules
    )
    names = ("benign, certain", "benign, marginal", "uncertain", "malignant, marginal", "malignant, certain")
    return {name: counts[name] for name in names}
