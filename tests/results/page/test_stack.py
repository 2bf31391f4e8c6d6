# SPDX-License-Identifier: Apache-2.0
"""The small slices of the report show every voxel where it is and as dense as it is."""

import io
from itertools import permutations

import numpy as np
import pytest
from PIL import Image
from report_case import CENTER_LPS_MM, DIAMETER_MM, SHAPE, ball_mask, ball_volume

from lungcad import Volume
from lungcad.geometry import to_world
from lungcad.results.page import stack as stack_module
from lungcad.results.page.outline import axis_line, mask_outline
from lungcad.results.page.stack import GREY_KNOTS, HU_KNOTS, SliceStack, grey_of_hu, slice_stack
from lungcad.scan.lungs import LungMask


def _pixels(stack: SliceStack, number: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stack.jpegs[number]))).astype(float)


def _lungs(low: tuple[float, float, float], high: tuple[float, float, float]) -> LungMask:
    """Mask of 2 mm voxels that fills a box in LPS mm."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = low
    count = np.round((np.array(high) - low) / 2).astype(int) + 1
    return LungMask(np.ones(count, bool), affine, 1000.0)


def test_greys_give_back_hu_within_half_a_step() -> None:
    hu = np.arange(-1024.0, 1040.0, 7.3)
    back = np.interp(grey_of_hu(hu), GREY_KNOTS, HU_KNOTS)
    lungs, soft = hu < -160, (hu >= -160) & (hu < 240)
    assert np.abs(back - hu)[lungs].max() <= 3.7 and np.abs(back - hu)[soft].max() <= 2.6
    assert grey_of_hu(np.array([-3000.0, 32767.0])).tolist() == [0, 255]
    assert (np.diff(grey_of_hu(np.sort(hu)).astype(int)) >= 0).all()  # so that the largest grey is the largest HU


def test_the_ball_is_where_the_stack_says() -> None:
    stack = slice_stack(ball_volume(), None)
    assert len(stack.jpegs) == SHAPE[2] and (stack.columns, stack.rows) == SHAPE[:2]
    x, y, level = stack.position(CENTER_LPS_MM)
    assert level == pytest.approx((33 + 60) / 2.5)
    picture = _pixels(stack, round(level))
    rows, columns = np.nonzero(picture > grey_of_hu(np.array([200.0]))[0])
    assert ((columns.mean() + 0.5) * 1.2, (rows.mean() + 0.5) * 1.1) == pytest.approx((x, y), abs=0.6)
    assert stack.slices[37] == 37 and stack.images[37] == 11 and stack.z_mm[37] == pytest.approx(32.5)


def test_density_survives_the_compression() -> None:
    picture = np.interp(_pixels(slice_stack(ball_volume(), None), 37), GREY_KNOTS, HU_KNOTS)
    x, y, _ = (round(v) for v in ((130 - 70) / 1.2, (98 - 12) / 1.1, 0))  # the ball's column counts from the right
    column = SHAPE[0] - 1 - x
    assert picture[y - 4 : y + 4, column - 4 : column + 4].mean() == pytest.approx(400, abs=15)
    assert picture[y - 4 : y + 4, column + 15 : column + 22].mean() == pytest.approx(-850, abs=10)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_stack_does_not_depend_on_how_the_scan_is_stored(order: tuple[int, ...]) -> None:
    volume = ball_volume(instance_numbers=())
    turned = Volume(volume.hu.transpose(order), volume.affine[:, [*order, 3]], "1.2")
    stack = slice_stack(turned, None)
    assert stack.position(CENTER_LPS_MM) == pytest.approx(slice_stack(volume, None).position(CENTER_LPS_MM))
    assert np.array_equal(_pixels(stack, 37), _pixels(slice_stack(volume, None), 37))
    assert stack.images == [None] * SHAPE[2]


def test_stack_is_cut_to_the_lungs_and_the_findings() -> None:
    lungs = _lungs((20.0, -40.0, 0.0), (80.0, 40.0, 50.0))
    near = slice_stack(ball_volume(), lungs)
    assert near.width_mm == pytest.approx(60 + 2 * 15, abs=3) and near.height_mm == pytest.approx(110, abs=3)
    assert near.z_mm[0] <= -14.0 < near.z_mm[2] and near.z_mm[-3] < 57.5  # no slice beyond 57.5 mm
    far = slice_stack(ball_volume(), lungs, [(-80.0, 0.0, 0.0)])
    assert far.width_mm == pytest.approx(160 + 2 * 15, abs=3)
    corner = far.corner_lps_mm(0)
    assert far.position(to_world(far.affine, far.first)) == pytest.approx((0.6, 0.55, 0.0))
    assert corner[0] == pytest.approx(to_world(far.affine, far.first)[0] - 0.6)


def test_thin_slices_and_fine_pixels_are_thinned_out() -> None:
    affine = np.diag([0.3, 0.3, 0.5, 1.0])
    fine = slice_stack(Volume(np.full((60, 40, 21), -850, np.float32), affine, "1.2"), None)
    assert len(fine.jpegs) == 11 and fine.step_mm == pytest.approx(1.0) and fine.slices[:3] == [0, 2, 4]
    assert (fine.columns, fine.rows) == (30, 20) and fine.width_mm == pytest.approx(18)


def test_a_stack_never_exceeds_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).normal(-600, 300, (64, 64, 40)).astype(np.float32)
    volume = Volume(noise, np.diag([0.7, 0.7, 1.0, 1.0]), "1.2")
    monkeypatch.setattr(stack_module, "MOST_BYTES", 30_000)
    stack = slice_stack(volume, None)
    assert sum(map(len, stack.jpegs)) <= 30_000 and len(stack.jpegs) == len(stack.slices) < 40
    assert stack.slices[1] == stack.every == stack.step_mm  # steps of 1 mm
    monkeypatch.setattr(stack_module, "MOST_PIXELS", 64 * 64 * 10)
    assert slice_stack(volume, None).columns == 32


def _points(path: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split()] for pair in path.strip("MZ").split("L")])


def test_outline_of_a_ball_is_a_circle_of_its_size() -> None:
    mask = ball_mask()
    corner = np.array(CENTER_LPS_MM) - [25.0, 25.0, 0.0]
    points = _points(mask_outline(mask, corner, (1, 0, 0), (0, 1, 0)))
    radii = np.hypot(*(points - 25).T)
    assert radii.mean() == pytest.approx(DIAMETER_MM / 2, abs=0.5) and radii.std() < 0.5
    off = _points(mask_outline(mask, corner + np.array([0, 0, 6.0]), (1, 0, 0), (0, 1, 0)))
    assert np.hypot(*(off - 25).T).mean() == pytest.approx(8.0, abs=0.6)  # sqrt(10^2 - 6^2)
    assert mask_outline(mask, corner + np.array([0, 0, 12.0]), (1, 0, 0), (0, 1, 0)) == ""


def test_outline_has_the_place_in_any_plane() -> None:
    mask = ball_mask()
    corner = np.array(CENTER_LPS_MM) - [0.0, 30.0, 0.0] + [0.0, 0.0, 40.0]
    points = _points(mask_outline(mask, corner, (0, 1, 0), (0, 0, -1)))
    assert (points.max(axis=0) + points.min(axis=0)) / 2 == pytest.approx([30.0, 40.0], abs=0.3)


def test_axis_is_drawn_from_end_to_end() -> None:
    assert axis_line(((3.0, 4.0, 5.0), (6.0, 8.0, 5.0)), (1, 1, 5), (1, 0, 0), (0, 1, 0)) == "M2.00 3.00L5.00 7.00"
    assert axis_line(None, (0, 0, 0), (1, 0, 0), (0, 1, 0)) == ""
