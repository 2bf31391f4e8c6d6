# SPDX-License-Identifier: Apache-2.0
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lungcad.geometry import to_index, to_world
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan
from lungcad.volume import LOWEST_HU, Volume

SLOPE, OFFSET = np.array([1.5, -2.0, 0.75]), -300.0


def field(lps_mm: np.ndarray) -> np.ndarray:
    """HU that tells its own position; any interpolation error, shift or flip shows up as a wrong value."""
    return lps_mm @ SLOPE + OFFSET


def oblique(spacing: tuple[float, ...] = (0.7, 0.8, 2.5), degrees: float = 0.0) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [degrees, -degrees / 2, degrees], degrees=True).as_matrix() * spacing
    affine[:3, 3] = 11.0, -7.0, 130.0
    return affine


def scan_of_field(affine: np.ndarray, shape: tuple[int, ...] = (40, 36, 22), margin_mm: float = 4.0) -> Scan:
    """A scan whose HU is the field, and whose lungs are said to fill a box in its middle."""
    hu = field(to_world(affine, np.moveaxis(np.indices(shape), 0, -1))).astype(np.float32)
    scan = Scan(Volume(hu, affine, "field"), margin_mm=margin_mm)
    mask = np.zeros(scan._native.hu.shape, dtype=bool)
    mask[12:-12, 12:-12, 6:-6] = True
    scan.lungs = LungMask(mask, scan._native.affine, 0.0)
    return scan


def positions(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return to_world(affine, np.moveaxis(np.indices(shape), 0, -1))


@pytest.mark.parametrize("degrees", [0.0, 12.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (0.55, 0.55, 1.0), (2.0, 1.3, 5.0), (0.7, 0.8, 2.5)])
def test_grid_voxels_stand_where_the_affine_says(degrees: float, spacing: tuple[float, ...]) -> None:
    grid = scan_of_field(oblique(degrees=degrees)).resampled(spacing)
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), spacing)
    np.testing.assert_allclose(grid.hu.numpy(), field(positions(grid.affine, grid.hu.shape)), atol=2e-3)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=3)))
def test_grid_is_in_canonical_order_however_the_scan_was_stored(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = oblique(degrees=8.0)
    affine[:3, :3] = affine[:3, list(order)] * np.array(signs)
    shape = np.array((40, 36, 22))[list(order)]
    grid = scan_of_field(affine, tuple(shape)).resampled((1.0, 1.0, 2.0))
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    assert (np.diag(axes) > 0.9).all()
    np.testing.assert_allclose(grid.hu.numpy(), field(positions(grid.affine, grid.hu.shape)), atol=2e-3)


def test_grid_at_native_spacing_copies_voxels() -> None:
    scan = scan_of_field(oblique())
    scan.volume.hu[:] = np.random.default_rng(0).normal(0, 300, scan.volume.hu.shape)
    grid = scan.resampled((0.7, 0.8, 2.5))
    first = np.rint(to_index(scan.volume.affine, grid.affine[:3, 3])).astype(int)
    x, y, z = (slice(f, f + n) for f, n in zip(first, grid.hu.shape, strict=True))
    np.testing.assert_allclose(grid.hu.numpy(), scan.volume.hu[x, y, z], atol=1e-3)


def test_grid_reaches_over_the_lungs_by_the_margin_and_no_further() -> None:
    scan = scan_of_field(oblique(), margin_mm=9.0)
    grid = scan.resampled((1.0, 1.0, 2.0))
    low, high = (to_world(scan.lungs.affine, i) for i in ((12, 12, 6), (27, 23, 15)))
    first, last = grid.affine[:3, 3], to_world(grid.affine, np.array(grid.hu.shape) - 1)
    assert (first <= low - 9).all() and (first > low - 9 - np.array([1, 1, 2])).all()
    assert (last >= high + 9).all() and (last < high + 9 + np.array([1, 1, 2])).all()


def test_lungs_of_a_grid_are_the_mask() -> None:
    affine = oblique((0.9, 0.6, 2.4))
    grid = scan_of_field(affine).resampled((0.3, 0.2, 0.8))  # a third of the native spacing
    assert grid.lungs.sum() == 16 * 12 * 10 * 27  # the box of 16 x 12 x 10 voxels
    centre = positions(grid.affine, tuple(grid.hu.shape))[grid.lungs.numpy()].mean(0)
    np.testing.assert_allclose(centre, to_world(affine, [19.5, 17.5, 10.5]))


def test_beyond_the_volume_there_is_air() -> None:
    scan = scan_of_field(oblique(), margin_mm=60.0)
    grid = scan.resampled((1.0, 1.0, 2.0))
    index = to_index(scan.volume.affine, positions(grid.affine, grid.hu.shape))
    last = np.array(scan.volume.hu.shape) - 1
    beyond = ((index < -0.51) | (index > last + 0.51)).any(-1)
    within = ((index >= 0) & (index <= last)).all(-1)
    assert (grid.hu.numpy()[beyond] == LOWEST_HU).all()
    np.testing.assert_allclose(grid.hu.numpy()[within], field(positions(grid.affine, grid.hu.shape))[within], atol=2e-3)
    assert (scan.crop(to_world(scan.volume.affine, [-500, 0, 0]), (5, 6, 7), (1, 1, 1)) == LOWEST_HU).all()


def test_down_sampling_averages_instead_of_aliasing() -> None:
    scan = scan_of_field(oblique(spacing=(1.0, 1.0, 1.0)))
    scan.volume.hu[:] = 1000.0 * (np.indices(scan.volume.hu.shape)[2] % 2)  # slices of 0 and 1000 in turn
    np.testing.assert_allclose(scan.resampled((1.0, 1.0, 2.0)).hu.numpy(), 500.0, atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (1.5, 1.5, 6.0), (0.5, 0.5, 0.5)])
def test_crop_is_the_grid_around_a_voxel(spacing: tuple[float, ...]) -> None:
    scan = scan_of_field(oblique(degrees=10.0), margin_mm=12.0)
    scan.volume.hu[:] = np.random.default_rng(0).normal(0, 300, scan.volume.hu.shape)
    grid = scan.resampled(spacing)
    middle = np.array(grid.hu.shape) // 2
    x, y, z = (slice(m - 2, m + 3) for m in middle)
    odd = scan.crop(to_world(grid.affine, middle), (5, 5, 5), spacing)
    torch.testing.assert_close(odd, grid.hu[x, y, z], rtol=0, atol=1e-2)
    even = scan.crop(to_world(grid.affine, middle - 0.5), (4, 4, 4), spacing)
    torch.testing.assert_close(even, grid.hu[x, y, z][:4, :4, :4], rtol=0, atol=1e-2)


def test_crops_show_the_field_around_their_centres() -> None:
    affine = oblique(degrees=10.0)
    scan = scan_of_field(affine)
    centers = to_world(affine, [[20.2, 17.9, 10.4], [15.0, 20.0, 12.0]])
    crops = scan.crops(centers, (6, 5, 3), (1.0, 1.0, 2.0))
    assert crops.shape == (2, 6, 5, 3) and crops.dtype == torch.float32
    offsets = (np.moveaxis(np.indices((6, 5, 3)), 0, -1) - [2.5, 2.0, 1.0]) * [1.0, 1.0, 2.0]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for center, crop in zip(centers, crops, strict=True):
        np.testing.assert_allclose(crop.numpy(), field(center + offsets @ axes.T), atol=2e-3)
    assert scan.crops([], (6, 5, 3), (1, 1, 2)).shape == (0, 6, 5, 3)


def test_looks_at_volumes_that_torch_cannot() -> None:
    affine = oblique()
    plain = scan_of_field(affine)
    hu = np.flip(np.flip(plain.volume.hu, 2).copy(), 2)  # the same numbers behind a negative stride
    hu.flags.writeable = False
    other = Scan(Volume(hu, affine, "view"))
    center = to_world(affine, [20, 18, 11])
    torch.testing.assert_close(other.crop(center, (7, 7, 7), (1, 1, 1)), plain.crop(center, (7, 7, 7), (1, 1, 1)))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, -1)])
def test_the_same_scan_is_the_same_however_it_is_stored(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    from lungcad.phantom import SIZES, make_phantom
    from lungcad.volume import Volume

    hu, affine, _ = make_phantom(**SIZES["small"])
    hu = np.asarray(hu, np.float32).repeat(2, axis=0).repeat(2, axis=1)[:-1, :-1]  # no whole number of blocks
    affine = affine @ np.diag([0.5, 0.5, 1, 1])
    stored, turned = hu.transpose(order), affine[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            stored = np.flip(stored, axis)
            turned[:3, 3] += turned[:3, axis] * (stored.shape[axis] - 1)
            turned[:3, axis] *= -1
    as_made, other = Scan(Volume(hu, affine, "a")), Scan(Volume(np.ascontiguousarray(stored), turned, "a"))
    assert np.array_equal(as_made.lungs.mask, other.lungs.mask)
    assert np.allclose(as_made.lungs.affine, other.lungs.affine, atol=1e-9)
    one, two = as_made.resampled((1.5, 1.5, 2.0)), other.resampled((1.5, 1.5, 2.0))
    assert one.hu.shape == two.hu.shape and (one.hu - two.hu).abs().max() < 0.01
    assert bool((one.lungs == two.lungs).all())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_long_axes_are_interpolated_across_the_blocks_of_the_product(axis: int) -> None:
    size = [12, 12, 12]
    size[axis] = 300
    line = np.random.default_rng(0).uniform(-900, 200, 300)  # no linear field: neighbours and weights must be right
    hu = np.broadcast_to(np.moveaxis(line[:, None, None], 0, axis), size).astype(np.float32)
    scan = Scan(Volume(hu, np.diag([1.0, 1.0, 1.0, 1.0]), "line"))
    step = [1.0, 1.0, 1.0]
    step[axis] = 1.3
    length = [4, 4, 4]
    length[axis] = 200
    crop = scan.crop(((np.array(size) - 1) / 2).tolist(), length, step)
    places = 149.5 + 1.3 * (np.arange(200) - 99.5)
    middle = np.moveaxis(crop.numpy(), axis, 0)[:, 1, 1]
    np.testing.assert_allclose(middle, np.interp(places, np.arange(300), line), atol=0.05)
