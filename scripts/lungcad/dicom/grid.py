# SPDX-License-Identifier: Apache-2.0
"""Places of a stack of slices, and whether further images could belong to it by their place."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lungcad.dicom.frames import Slice

SAME_PLACE = 0.1
"""Share of the slice distance within which a place counts as taken by a slice."""
NEXT_PLACE = 1.6
"""Number of slice distances from the end of the stack within which an image could continue it."""
ON_AXIS_MM = 1.0
"""Largest distance within the plane of an image's first pixel from that of a slice of the same stack."""
EVEN_MM = 0.2
"""Largest spread of the distances of places that divide a gap evenly: positions are rounded to 0.1 mm."""


class Grid:
    """Places of a stack of slices along its normal.

    Args:
        slices: parallel slices.
        others: positions in mm of the images of the series that are not among them.

    Attributes:
        normal: unit normal (3,) of the slices.
        places: distances along the normal in mm, ascending, each once.
        step: median distance between places in mm.
        origins: (n, 3) centres of the first pixels in LPS mm.
        is_thinned: whether the slices are every second or third of a finer stack, to which the others belong.
    """

    def __init__(self, slices: Sequence[Slice], others: Sequence[Sequence[float]] = ()) -> None:
        self.normal = unit_normal(slices[0].orientation)
        self.places = np.unique(np.round([np.dot(piece.position_mm, self.normal) for piece in slices], 3))
        self.step = float(np.median(np.diff(self.places))) if len(self.places) > 1 else 1.0
        self.origins = np.array([piece.position_mm for piece in slices])
        self.is_thinned = self._is_divided_by(others)

    def off_axis_mm(self, position_mm: Sequence[float]) -> float:
        """Distance in mm, within the plane, of an image's first pixel from the nearest first pixel of the stack."""
        offsets = self.origins - np.asarray(position_mm)
        return float(np.linalg.norm(offsets - np.outer(offsets @ self.normal, self.normal), axis=1).min())

    def has_room_at(self, position_mm: Sequence[float]) -> bool:
        """Whether an image at a position could fill a gap or continue the stack."""
        along = float(np.dot(position_mm, self.normal))
        if self._is_taken(along):
            return False
        above = int(np.searchsorted(self.places, along))
        if above in (0, len(self.places)):
            end = self.places[0] if above == 0 else self.places[-1]
            return abs(along - end) < NEXT_PLACE * self.step
        return self.is_thinned or bool(self.places[above] - self.places[above - 1] > 1.5 * self.step)

    def _is_taken(self, along: float) -> bool:
        """Whether a slice lies at a distance along the normal in mm."""
        return bool(np.abs(self.places - along).min() < SAME_PLACE * self.step)

    def _is_divided_by(self, others: Sequence[Sequence[float]]) -> bool:
        """Whether images divide most of the distances between places evenly.

        Such images are slices with a fault that every second or third image has. Images that also lie at half of the
        slices' own places are another stack, such as a finer reconstruction, and divide nothing.
        """
        on_axis = [position for position in others if self.off_axis_mm(position) < ON_AXIS_MM]
        along = np.unique(np.round([np.dot(position, self.normal) for position in on_axis], 3))
        free = np.array([place for place in along if not self._is_taken(place)])
        taken = {int(np.abs(self.places - place).argmin()) for place in along if self._is_taken(place)}
        if not len(free) or len(taken) > len(self.places) / 2:
            return False
        divided = 0
        for low, high in pairwise(self.places):
            inside = free[(free > low) & (free < high)]
            gaps = np.diff([low, *inside, high])
            divided += bool(len(inside) and np.ptp(gaps) <= max(EVEN_MM, SAME_PLACE * np.median(gaps)))
        return divided >= (len(self.places) - 1) / 2


def unit_normal(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal (3,) from 6 direction cosines; zeros where they do not span a plane."""
    cosines = np.asarray(orientation, float)
    normal = np.cross(cosines[:3], cosines[3:])
    length = np.linalg.norm(normal)
    return normal / length if length > 0.5 else np.array([0.0, 0.0, 0.0])
