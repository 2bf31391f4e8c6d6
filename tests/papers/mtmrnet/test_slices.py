# SPDX-License-Identifier: Apache-2.0
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from lungcad.geometry import enclosing_slices, to_world
from lungcad.papers.mtmrnet.inference import SliceCropper
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

MEANS = (103.939, 116.779, 123.68)


@pytest.mark.parametrize(
    ("center", "radius", "count", "expected"),
    [
        (5.0, 2.0, 20, [3, 4, 5, 6, 7]),  # as far as the radius and no farther
        (5.3, 2.0, 20, [4, 5, 6, 7]),  # 3.3 to 7.3
        (5.3, 0.1, 20, [5]),  # none from 5.2 to 5.4: the nearest
        (5.7, 0.1, 20, [6]),
        (1.0, 3.0, 20, [0, 1, 2, 3, 4]),  # the scan begins at 0 ...
        (18.5, 3.0, 20, [16, 17, 18, 19]),  # ... and ends at 19
        (-1.0, 2.0, 20, [0, 1]),
        (-4.0, 2.0, 20, [0]),  # the sphere lies beyond the scan
        (26.0, 2.0, 20, [19]),
        (0.2, 9.0, 1, [0]),
    ],
)
def test_slices_of_a_sphere(center: float, radius: float, count: int, expected: list[int]) -> None:
    assert enclosing_slices(center, radius, count, max_slices=99) == expected


def test_too_many_slices_are_thinned_out_evenly_from_the_first_to_the_last() -> None:
    assert enclosing_slices(10.0, 10.0, 21, max_slices=5) == [0, 5, 10, 15, 20]
    assert enclosing_slices(10.0, 10.0, 21, max_slices=21) == list(range(21))
    for count, most in product(range(3, 40), range(2, 20)):
        slices = enclosing_slices((count - 1) / 2, count, count, most)
        assert len(slices) == min(count, most)
        assert (slices[0], slices[-1]) == (0, count - 1)
        gaps = np.diff(slices)
        assert gaps.min() >= 1 and np.ptp(gaps) <= 1


def test_a_single_slice_is_the_one_through_the_centre() -> None:
    assert enclosing_slices(12.3, 8.0, 40, max_slices=1) == [12]


def coverage(size: tuple[int, int], center: tuple[float, float], diameter_px: tuple[float, float]) -> Tensor:
    """(1, R, C) share of each pixel within an ellipse, by 8 x 8 points per pixel."""
    rows, columns = (torch.arange(8 * n).add(0.5).div(8).sub(0.5) for n in size)
    r = (rows[:, None] - center[0]) / (diameter_px[0] / 2)
    c = (columns[None] - center[1]) / (diameter_px[1] / 2)
    return F.avg_pool2d((r**2 + c**2 <= 1).float()[None], 8)


@pytest.mark.parametrize(
    ("diameter_mm", "pixel_mm"), [(20.0, (0.7, 0.7)), (20.0, (0.5, 0.9)), (8.0, (0.9, 0.5)), (28.0, (0.6, 0.98))]
)
def test_a_nodule_fills_the_same_share_of_the_picture_at_any_size_and_spacing(
    diameter_mm: float, pixel_mm: tuple[float, float]
) -> None:
    height, width = (diameter_mm / side for side in pixel_mm)
    disc = coverage((150, 140), (71.3, 66.8), (height, width))
    cropper = SliceCropper((-1000, 0), (0, 0, 0), crop_factor=2.25, size=128, crop=112)
    share = cropper(disc * 1000 - 1000, (71.3, 66.8), (height, width))[0, 0] / 255
    # 1 / 2.25 of the square's 128 pixels: a disc of 56.9 of the 112 pixels that are shown, wherever it was smoothed
    radius = 128 / 2.25 / 2
    assert share.mean().item() == pytest.approx(np.pi * radius**2 / 112**2, rel=0.02)
    for line in (share[56], share[:, 56]):
        assert (line > 0.5).sum().item() == pytest.approx(2 * radius, abs=2)
    place = torch.arange(112.0)
    assert (share.sum(1) @ place / share.sum()).item() == pytest.approx(55.5, abs=0.3)  # in the middle of 0 to 111
    assert (share.sum(0) @ place / share.sum()).item() == pytest.approx(55.5, abs=0.3)


def test_pixels_as_large_as_the_outputs_are_copied() -> None:
    slices = torch.randint(-900, 300, (3, 40, 50)).float()
    cropper = SliceCropper((-1000, 400), MEANS, crop_factor=2.0, size=8, crop=8)
    # 2 diameters of 4 pixels are 8 pixels: between -3.5 and 3.5 of the centre
    crops = cropper(slices, (20.5, 30.5), (4.0, 4.0))
    expected = (slices[:, 17:25, 27:35] + 1000) / 1400 * 255
    assert crops.shape == (3, 3, 8, 8)
    assert crops.dtype == torch.float32
    for channel, mean in enumerate(MEANS):
        torch.testing.assert_close(crops[:, channel], expected - mean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_window_and_channel_means(dtype: torch.dtype) -> None:
    levels = torch.tensor([-2000, -1000, -300, 400, 3000], dtype=dtype)
    crops = SliceCropper((-1000, 400), MEANS, 2.25, 16, 14)(levels[:, None, None].expand(5, 30, 20), (15, 9), (8, 8))
    expected = torch.tensor([0, 0, 127.5, 255, 255])[:, None] - torch.tensor(MEANS)  # (-300 + 1000) / 1400 = 1 / 2
    torch.testing.assert_close(crops, expected[..., None, None].expand(5, 3, 14, 14), atol=1e-3, rtol=0)


def test_the_centre_of_the_resized_square_is_shown() -> None:
    slices, where = torch.randint(-900, 300, (2, 60, 50)), ((27.2, 22.9), (13.0, 9.0))
    whole = SliceCropper((-1000, 400), MEANS, 2.25, 32, 32)(slices, *where)
    centre = SliceCropper((-1000, 400), MEANS, 2.25, 32, 24)(slices, *where)
    torch.testing.assert_close(centre, whole[..., 4:28, 4:28])


def test_beyond_the_slice_its_edge_is_repeated() -> None:
    slices = torch.full((1, 30, 30), -300)
    slices[:, :, 0] = 400  # the first column
    crop = SliceCropper((-1000, 400), (0, 0, 0), 2.0, 16, 16)(slices, (0, 0), (8, 8))[0, 0]
    # columns stand at -7.5 to 7.5: white up to 0, and half way between the slice's first two columns
    torch.testing.assert_close(crop[:, :8], torch.full((16, 8), 255.0))
    torch.testing.assert_close(crop[:, 8], torch.full((16,), (255 + 127.5) / 2))
    torch.testing.assert_close(crop[:, 9:], torch.full((16, 7), 127.5))


def test_training_crops_are_windows_of_the_resized_square_mirrored_and_turned_or_not() -> None:
    slices, where = torch.randint(-900, 300, (2, 60, 50)), ((27.2, 22.9), (13.0, 9.0))
    whole = SliceCropper((-1000, 400), MEANS, 2.25, 16, 16)(slices, *where)
    cropper, rng = SliceCropper((-1000, 400), MEANS, 2.25, 16, 12), np.random.default_rng(0)
    turns = [turned.flip(axes) for turned in (whole, whole.mT) for axes in ((), (2,), (3,), (2, 3))]
    keys = list(product(range(8), range(5), range(5)))  # 16 - 12 = 4 spare pixels
    windows = torch.stack([turns[n][..., r : r + 12, c : c + 12] for n, r, c in keys])
    met = []
    for _ in range(150):
        differences = (windows - cropper(slices, *where, rng)).abs().flatten(1).amax(dim=1)
        (found,) = (differences < 0.05).nonzero()  # of greys from 0 to 255
        met.append(keys[found])
    assert {key[0] for key in met} == set(range(8))
    assert {key[1] for key in met} == {key[2] for key in met} == set(range(5))


def test_training_crops_are_a_function_of_the_generator() -> None:
    slices, where = torch.randint(-900, 300, (2, 60, 50)), ((27.2, 22.9), (13.0, 9.0))
    cropper = SliceCropper((-1000, 400), MEANS, 2.25, 16, 12)
    one, same, other = (cropper(slices, *where, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1.0)


SHAPE = (9, 11, 16)


def oblique() -> np.ndarray:
    """Columns 0.7 mm, rows 0.8 mm, slices 2.5 mm apart, a little askew."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [8, -4, 8], degrees=True).as_matrix() * (0.7, 0.8, 2.5)
    affine[:3, 3] = 11.0, -7.0, 130.0
    return affine


def stored(hu: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]) -> Scan:
    """The same voxels at the same places, with permuted and reversed axes."""
    plain = oblique()
    affine = plain.copy()
    affine[:3, :3] = plain[:3, list(order)] * signs
    for axis, sign in zip(order, signs, strict=True):
        if sign < 0:
            affine[:3, 3] += plain[:3, axis] * (hu.shape[axis] - 1)
    backwards = [n for n, sign in enumerate(signs) if sign < 0]
    return Scan(Volume(np.flip(hu.transpose(order), backwards).copy(), affine, "stored"))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=3)))
def test_axial_slices_are_the_same_however_the_scan_was_stored(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    hu = np.random.default_rng(0).normal(-400, 300, SHAPE).astype(np.float32)
    center = to_world(oblique(), [3.2, 5.1, 6.4])
    slices, place, pixel_mm = stored(hu, order, signs).axial_slices(center, 11.0, max_slices=99)
    # 5.5 mm are 2.2 slices: from 4.2 to 8.6, foot to head; rows to the back, columns to the left
    np.testing.assert_array_equal(slices.numpy(), hu[:, :, 5:9].transpose(2, 1, 0))
    np.testing.assert_allclose(place, (5.1, 3.2))
    np.testing.assert_allclose(pixel_mm, (0.8, 0.7))
    thinned, _, _ = stored(hu, order, signs).axial_slices(center, 11.0, max_slices=2)
    np.testing.assert_array_equal(thinned.numpy(), hu[:, :, [5, 8]].transpose(2, 1, 0))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_the_centre_is_where_the_voxel_is(signs: tuple[int, ...]) -> None:
    hu = np.full(SHAPE, -1000, dtype=np.float32)
    hu[4, 7, 5] = 300
    center = to_world(oblique(), [4, 7, 5])
    slices, (row, column), _ = stored(hu, (0, 1, 2), signs).axial_slices(center, 1.0, max_slices=9)
    assert slices.shape == (1, SHAPE[1], SHAPE[0])
    assert slices[0, round(row), round(column)] == 300
    assert (row, column) == pytest.approx((7, 4))


def test_a_sphere_beyond_the_scan_gets_its_nearest_slice() -> None:
    hu = np.random.default_rng(0).normal(-400, 300, SHAPE).astype(np.float32)
    slices, (row, column), _ = stored(hu, (0, 1, 2), (1, 1, -1)).axial_slices(to_world(oblique(), [2, 3, 40]), 5.0, 9)
    np.testing.assert_array_equal(slices.numpy(), hu[:, :, 15:].transpose(2, 1, 0))
    assert (row, column) == pytest.approx((3, 2))
