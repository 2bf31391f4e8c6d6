# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from measured_ball import SIZE, affine, ball

from lungcad.geometry import to_world
from lungcad.measure.mask import central_mask


@pytest.mark.parametrize(("radius_mm", "within"), [(2.0, 0.08), (3.0, 0.04), (5.0, 0.03), (8.0, 0.02)])
def test_mask_has_the_volume_and_the_place_of_the_ball(radius_mm: float, within: float) -> None:
    share = ball(radius_mm, (0.4, -0.3, 0.2))
    nodule = central_mask(share, -850 + 900 * share, affine(), 0.5)
    assert nodule is not None and not nodule.cut
    assert nodule.mask.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=within)
    center = to_world(nodule.mask.affine, np.argwhere(nodule.mask.mask)).mean(axis=0)
    assert center == pytest.approx([10.4, 19.7, 30.2], abs=0.06)
    assert nodule.spacing_mm == pytest.approx([0.35] * 3)
    assert nodule.hu.shape == nodule.mask.mask.shape
    assert nodule.hu[nodule.mask.mask].min() > -850 + 900 * 0.3


def test_a_neighbour_is_left_out_and_a_hole_is_filled() -> None:
    alone = ball(4.0) - ball(1.0)
    both = np.maximum(alone, ball(3.0, (9.0, 0, 0)))
    first, second = (central_mask(one, one, affine(), 0.5) for one in (alone, both))
    assert first is not None and second is not None
    assert second.mask.volume_mm3 == first.mask.volume_mm3 == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.04)


def test_nothing_near_the_middle_is_no_mask() -> None:
    assert central_mask(ball(2.0, (7.0, 0, 0)), ball(2.0), affine(), 0.5) is None
    assert central_mask(np.zeros((SIZE,) * 3, np.float32), ball(2.0), affine(), 0.5) is None
    assert central_mask(ball(2.0, (5.0, 0, 0)), ball(2.0), affine(), 0.5) is not None  # its surface is 3 mm away


def test_a_single_voxel_just_above_the_threshold_is_no_mask() -> None:
    spark = np.zeros((SIZE,) * 3, np.float32)
    spark[(SIZE // 2,) * 3] = 0.6  # between it and its neighbours the probability is below the threshold
    assert central_mask(spark, spark, affine(), 0.5) is None
    spark[(SIZE // 2,) * 3] = 1.0
    assert central_mask(spark, spark, affine(), 0.2) is not None


def test_ground_glass_that_is_not_outlined_is_seen_around_the_mask() -> None:
    core, glass = ball(3.0), ball(7.0)
    hu = -850 + 230 * glass
    hu += (30 - hu) * core
    left_out, outlined = (central_mask(share, hu, affine(), 0.5) for share in (core, glass))
    assert left_out is not None and outlined is not None
    assert left_out.rim_hu == pytest.approx(230, abs=5)  # ground glass near, lung from 4 mm on
    assert abs(outlined.rim_hu) < 5
    vessel = np.where(ball(2.0, (5.5, 0, 0)) > 0.5, 30, -850 + 880 * core)
    beside = central_mask(core, vessel.astype(np.float32), affine(), 0.5)
    assert beside is not None and abs(beside.rim_hu) < 5


def test_a_nodule_at_a_face_of_the_cube_is_cut() -> None:
    wide = central_mask(ball(13.0, (4.0, 0, 0)), ball(4.0), affine(), 0.5)
    assert wide is not None and wide.cut
