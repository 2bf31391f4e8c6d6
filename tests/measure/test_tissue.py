# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from measured_ball import STEP_MM, ball
from scipy import ndimage

from lungcad.measure.core import solid_part
from lungcad.measure.tissue import kind_of, tissue_of

SPACING = np.full(3, STEP_MM)
MASK = ball(6.0) > 0.5


def of(hu: np.ndarray, slice_mm: float = 1.0):
    return tissue_of(MASK, hu.astype(np.float32), SPACING, slice_mm)


def test_kinds_by_the_share_that_is_solid() -> None:
    assert [kind_of(share, 2.9, 6.0) for share in (0.0, 0.17, 0.18, 0.37, 0.38, 1.0)] == [
        "non-solid", "non-solid", "part-solid", "part-solid", "solid", "solid"
    ]  # fmt: skip
    assert [kind_of(share, 3.0, 6.0) for share in (0.01, 0.37, 0.38)] == ["part-solid", "part-solid", "solid"]
    assert [kind_of(share, 2.0, 5.9) for share in (0.0, 0.09, 0.10, 0.37)] == [
        "non-solid", "non-solid", "solid", "solid"
    ]  # fmt: skip


def test_a_small_nodule_of_soft_tissue_is_solid_although_most_of_it_is_border() -> None:
    small = ball(2.2) > 0.5
    blurred = -850 + 880 * ndimage.gaussian_filter(ball(1.9), 1.4)  # as if 4 mm wide, by a soft kernel
    found = tissue_of(small, blurred.astype(np.float32), SPACING, 1.0)
    assert (blurred[small] > -400).mean() < 0.38
    assert (found.kind, found.doubts) == ("solid", ())


def glass(core: np.ndarray) -> np.ndarray:
    """HU of ground glass with a denser part, and soft tissue in it where ``core`` is 1."""
    return -620 + 650 * core


@pytest.mark.parametrize("core_mm", [4.0, 5.0, 6.0])
def test_a_core_that_can_be_measured_makes_a_nodule_part_solid(core_mm: float) -> None:
    found = of(glass(ball(core_mm / 2)))  # of 12 mm: shares of 4, 7 and 13 %
    assert (found.kind, found.doubts) == ("part-solid", ())
    assert found.solid_mm == pytest.approx(core_mm, abs=0.6)


def tube(width_mm: float) -> np.ndarray:
    """Share of each voxel within a straight vessel through the nodule's middle, along x."""
    axis = (np.arange(MASK.shape[0]) - (MASK.shape[0] - 1) / 2) * STEP_MM
    away = np.hypot(*np.meshgrid(axis, axis, indexing="ij"))
    return np.broadcast_to(np.clip(0.5 - (away - width_mm / 2) / STEP_MM, 0, 1), MASK.shape)


def test_a_vessel_is_no_core_but_is_told() -> None:
    vessel = of(glass(tube(2.2)))
    assert (vessel.kind, vessel.solid_mm) == ("non-solid", None)
    assert len(vessel.doubts) == 1 and "perhaps a vessel" in vessel.doubts[0]
    assert of(glass(tube(0.7))).doubts == ()  # nothing of it is above -300 HU
    small = tissue_of(MASK, glass(tube(2.2)).astype(np.float32), SPACING, 1.0, mean_mm=5.9)
    assert small.doubts == ()  # below 6 mm the kind decides nothing


def test_strands_are_told_where_a_limit_lies_between() -> None:
    hu = glass(np.maximum(ball(2.5), tube(1.6)))
    part = solid_part(MASK, hu.astype(np.float32), SPACING)
    assert part is not None and part.in_doubt
    assert part.without_strands_mm == pytest.approx(5.0, abs=0.6) and part.mean_mm > 6.5
    found = of(np.where(ball(3.5) > 0.5, np.maximum(hu, -350), hu))  # 20 % are above -400 HU
    assert found.kind == "part-solid" and "without thin strands" in found.doubts[0]


def test_a_solid_nodule_with_much_ground_glass_may_be_part_solid() -> None:
    found = of(glass(ball(4.5)))  # 9 of 12 mm: 42 % solid. Solid of 12 mm is 4A, a solid part of 9 mm 4B
    assert found.kind == "solid" and "part-solid, with a solid part of 9." in found.doubts[0]
    assert of(np.full(MASK.shape, 30)).doubts == ()


def test_no_part_is_solid_in_ground_glass() -> None:
    assert solid_part(MASK, np.full(MASK.shape, -620.0), SPACING) is None


def test_soft_tissue_ground_glass_and_a_core_in_ground_glass() -> None:
    soft, glass = of(np.full(MASK.shape, 30)), of(np.full(MASK.shape, -600))
    assert (soft.kind, soft.solid_mm, soft.calcification) == ("solid", None, "none")
    assert (glass.kind, glass.solid_mm, glass.calcification) == ("non-solid", None, "none")
    part = of(-600 + 620 * ball(4.0))
    assert part.kind == "part-solid"  # (4 / 6) ** 3 = 0.30 is solid
    assert part.solid_mm == pytest.approx(8.0, abs=0.8)


def test_patterns_of_calcium() -> None:
    assert of(np.full(MASK.shape, 500)).calcification == "diffuse"
    assert of(30 + 600 * ball(3.8)).calcification == "central"
    assert of(30 + 600 * ball(3.8, (3.5, 0, 0))).calcification == "eccentric"
    assert of(30 + 600 * ball(1.5)).calcification == "none"  # too little


@pytest.mark.parametrize("slice_mm", [2.5, 2.50000004, 2.5009])
def test_slices_of_2_5_mm_are_thin_however_headers_round_them(slice_mm: float) -> None:
    assert of(np.full(MASK.shape, 500), slice_mm).calcification == "diffuse"


def test_thick_slices_do_not_tell_calcium() -> None:
    thick = of(np.full(MASK.shape, 500), slice_mm=5.0)
    assert (thick.kind, thick.calcification) == ("solid", None)
