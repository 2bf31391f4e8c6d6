# SPDX-License-Identifier: Apache-2.0
import numpy as np
from small_lidc import reading, scan, square

from lungcad.geometry import scaled_affine
from lungcad.lidc.readings import Contour, Reading
from lungcad.training.lidc_masks import nearest_nodule, outlined_nodules, set_on_grid

AFFINE = scaled_affine(np.diag([0.5, 0.5, 2.0, 1.0]), (-200, -100, -2), (1, 1, 1))
"""Of the small scan: 0.5 mm pixels, slices at -4, -2, 0, 2, 4 mm."""


def test_voxels_that_three_readers_outline_are_nodule() -> None:
    # outlines of 7 enclose 5 pixels a side; all three overlap in columns 14 to 16
    nodules = outlined_nodules(
        scan(*(reading(n, 10 + n, 20, (0.0, 2.0), side=7, malignancy=n) for n in (1, 2, 3))), AFFINE
    )
    assert len(nodules) == 1
    voxels = np.argwhere(nodules[0].mask) + nodules[0].first
    assert voxels.min(axis=0).tolist() == [14, 21, 2]  # slice 2 is at 0 mm
    assert voxels.max(axis=0).tolist() == [16, 25, 3]
    assert len(voxels) == 3 * 5 * 2
    assert nodules[0].malignancy == (1.0, 2.0, 3.0)
    assert nodules[0].name == "LIDC-IDRI-0001_1"
    np.testing.assert_allclose(nodules[0].center, (15, 23, 2.5))
    two = outlined_nodules(scan(*(reading(n, 10 + n, 20, (0.0,), side=7) for n in (1, 2))), AFFINE)
    assert two[0].mask.sum() == 4 * 5  # of two readers both must agree


def test_exclusions_are_holes() -> None:
    whole = reading(1, 10, 20, (0.0,), side=9)
    hole = Contour(0.0, square(12, 22, 4), inclusion=False)  # encloses 2 x 2
    (nodule,) = outlined_nodules(scan(Reading("1", (*whole.contours, hole), whole.ratings)), AFFINE)
    assert nodule.mask.sum() == 49 - 4


def test_the_nearest_nodule_is_taken_within_its_reach() -> None:
    nodules = outlined_nodules(scan(reading(1, 10, 20), reading(2, 60, 20)), AFFINE)
    place = np.array([-100 + 62 * 0.5, -50 + 22 * 0.5, 0.0])
    assert nearest_nodule(nodules, AFFINE, place, 1.0) is nodules[-1 if nodules[-1].center[0] > 30 else 0]
    assert nearest_nodule(nodules, AFFINE, place + 5, 3.0) is None
    assert nearest_nodule([], AFFINE, place, 3.0) is None


def test_masks_on_another_grid_keep_place_and_volume() -> None:
    (nodule,) = outlined_nodules(scan(reading(1, 10, 20, (-2.0, 0.0, 2.0), side=22)), AFFINE)  # 20 x 20 x 3 voxels
    grid = scaled_affine(np.diag([1.0] * 3 + [1.0]), (-105, -55, -9), (1, 1, 1))
    masks = np.zeros((40, 40, 20), np.uint8)
    set_on_grid(masks, 7, nodule, AFFINE, grid)
    inside = np.argwhere(masks == 7)
    assert abs(len(inside) - 10 * 10 * 6) <= 100
    # columns 11 to 30 are -94.5 to -85 mm, rows 21 to 40 are -39.5 to -30 mm, slices around 0
    np.testing.assert_allclose(inside.mean(axis=0) + np.array([-105, -55, -9]), (-89.75, -34.75, 0.0), atol=0.5)
    small = np.zeros((5, 5, 5), np.uint8)
    set_on_grid(small, 7, nodule, AFFINE, grid)  # elsewhere
    assert not small.any()
