# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lungcad.finding import FindingMask
from lungcad.geometry import affine_of
from lungcad.measure.location import locate
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

SHAPE = (100, 60, 90)
"""Voxels of 2 mm: a body of 200 x 120 x 180 mm, x from -100 mm (right) to 98 mm (left)."""


def scan() -> Scan:
    """Two box lungs, right from x = -80 to -22 mm, left from 20 to 78 mm, all from y = 20 to 98, z = 20 to 138 mm."""
    grid = affine_of(np.eye(3) * 2.0, (-100, 0, 0))
    made = Scan(Volume(np.zeros(SHAPE, np.float32), grid, "1.2"))
    mask = np.zeros(SHAPE, bool)
    mask[10:40, 10:50, 10:70] = mask[60:90, 10:50, 10:70] = True
    made.lungs = LungMask(mask, grid, 1000.0)
    return made


def cube(center: tuple[float, float, float], side_mm: int = 4) -> FindingMask:
    first = np.array(center) - (side_mm - 1) / 2
    return FindingMask(np.ones((side_mm,) * 3, bool), affine_of(np.eye(3), first))


@pytest.mark.parametrize(
    ("center", "side", "zone"),
    [((-50, 60, 30), "right", "lower"), ((50, 60, 80), "left", "middle"), ((50, 60, 130), "left", "upper"),
     ((-50, 60, 63), "right", "middle"), ((-50, 60, 55), "right", "lower")],
)  # fmt: skip
def test_side_and_third_of_the_height(center: tuple[float, float, float], side: str, zone: str) -> None:
    location = locate(scan(), cube(center))
    assert (location.side, location.zone) == (side, zone)


def test_distance_to_the_pleura_is_that_of_the_nodules_surface() -> None:
    deep = locate(scan(), cube((50, 59, 79)))  # 30 mm from the sides of the lung
    assert deep.pleura_mm == pytest.approx(27.5, abs=1.5)
    assert deep.juxtapleural is False
    near = locate(scan(), cube((50, 89, 79)))  # its last voxel at 90.5 mm, the lung ends at 99 mm
    assert near.pleura_mm == pytest.approx(8.5, abs=1.0)
    for y in (98, 110):  # across the surface, and outside of the mask
        touching = locate(scan(), cube((50, y, 79)))
        assert (touching.pleura_mm, touching.juxtapleural) == (0.0, True)


def test_no_side_is_named_near_the_midline() -> None:
    location = locate(scan(), cube((-24, 59, 79)))
    assert (location.side, location.zone) == (None, "middle")
