# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from lungcad.papers.jnsc.network import size_feature
from lungcad.papers.jnsc.regions import Region, find_regions, stack_regions, trimmed_region


def volume(*parts: tuple[tuple[slice, ...], float]) -> np.ndarray:
    made = np.full((12, 11, 10), 0.1, np.float32)
    for here, probability in parts:
        made[here] = probability
    return made


BLOCK = np.s_[2:4, 3:6, 1:3]
ROW = np.s_[8:9, 8:9, 4:9]


def test_regions_have_the_boxes_sizes_and_scores_that_were_drawn() -> None:
    block, row = find_regions(volume((BLOCK, 0.6), (ROW, 0.9)))
    assert block.first.tolist() == [2, 3, 1]
    assert block.box.tolist() == [2, 3, 1, 4, 6, 3]
    assert (block.voxels, row.voxels) == (12, 5)  # 2 * 3 * 2; the larger one first
    assert block.center.tolist() == [2.5, 4.0, 1.5]
    assert row.center.tolist() == [8.0, 8.0, 6.0]
    assert (block.score, row.score) == pytest.approx((0.6, 0.9))
    assert block.slices == BLOCK


def test_the_centre_of_mass_is_not_the_centre_of_the_box() -> None:
    bent = find_regions(volume((np.s_[2:6, 3:4, 1:2], 0.8), (np.s_[2:3, 4:5, 1:2], 0.8)))[0]
    np.testing.assert_allclose(bent.center, (2 + 6 / 5, 3 + 1 / 5, 1))  # steps 0 1 2 3 0 along x, 0 0 0 0 1 along y
    assert bent.mask.sum() < bent.mask.size


def test_a_region_is_its_cores_or_where_none_is_large_enough_itself() -> None:
    probability = np.zeros((12, 12, 12))
    probability[2:10, 2:8, 2:8] = 0.5
    probability[2:5, 3:6, 3:6], probability[7:10, 3:6, 3:6] = 0.95, 0.99  # two of 27 voxels, as a sphere 3.7 wide
    probability[6, 7, 7] = 0.95
    (region,) = find_regions(probability, 0.4)
    assert region.voxels == 8 * 6 * 6
    second, first = find_regions(probability, 0.4, core_threshold=0.9, least_core_diameter=3.0)
    assert [core.box.tolist() for core in (first, second)] == [[2, 3, 3, 5, 6, 6], [7, 3, 3, 10, 6, 6]]
    assert (first.voxels, first.score, second.score) == pytest.approx((27, 0.95, 0.99))
    cores = find_regions(probability, 0.4, core_threshold=0.9, least_core_diameter=1.0)
    assert [core.voxels for core in cores] == [27, 27, 1]
    (whole,) = find_regions(probability, 0.4, core_threshold=0.9, least_core_diameter=4.0)
    assert whole.box.tolist() == region.box.tolist()


def test_a_mask_is_what_comes_near_its_own_peak_once_the_weight_is_undone() -> None:
    """Without a weight of 0.99 the probabilities 0.995, 0.994, 0.98, 0.9 are 0.668, 0.626, 0.331, 0.083."""
    probability = volume((np.s_[1:11, 1:10, 1:9], 0.5), (np.s_[2:6, 2:6, 2:6], 0.9), (np.s_[3:5, 3:5, 3:5], 0.98))
    probability[3, 3, 3], probability[9, 9, 8] = 0.995, 0.994
    (region,) = find_regions(probability, 0.4)
    mask = trimmed_region(region, probability, 0.99, 0.4)  # the threshold is 0.267
    assert (mask.first.tolist(), mask.mask.shape, mask.voxels, mask.score) == ([3, 3, 3], (2, 2, 2), 8, region.score)
    assert trimmed_region(region, probability, 0.99, 0.6).voxels == 1  # 0.401: the second highest lies apart
    assert trimmed_region(region, probability, 0.99, 0.1).voxels == 64
    whole = trimmed_region(region, probability, 0.5, 0.0)
    assert (whole.box.tolist(), whole.voxels) == (region.box.tolist(), region.voxels)


def test_regions_with_and_without_cores_stand_side_by_side() -> None:
    bright, faint = np.s_[1:4, 1:4, 1:4], np.s_[7:11, 7:11, 7:9]
    regions = find_regions(volume((bright, 0.95), (faint, 0.6)), 0.4, core_threshold=0.9)
    assert [region.slices for region in regions] == [bright, faint]


def test_the_threshold_is_the_papers_and_corners_join() -> None:
    assert len(find_regions(volume((BLOCK, 0.39), (ROW, 0.41)))) == 1
    assert len(find_regions(volume((BLOCK, 0.39), (ROW, 0.41)), 0.3)) == 2
    corners = volume((np.s_[2:3, 2:3, 2:3], 0.8), (np.s_[3:4, 3:4, 3:4], 0.8))
    assert [region.voxels for region in find_regions(corners)] == [2]
    assert find_regions(volume()) == []


def test_only_the_largest_are_kept() -> None:
    kept = find_regions(volume((BLOCK, 0.5), (ROW, 0.9)), max_regions=1)
    assert [region.voxels for region in kept] == [12]  # 12 * 0.5 > 5 * 0.9


def test_a_moved_region_is_the_same_elsewhere() -> None:
    region = find_regions(volume((BLOCK, 0.6)))[0]
    moved = region.moved([10, 20, 30])
    assert moved.box.tolist() == [12, 23, 31, 14, 26, 33]
    np.testing.assert_allclose(moved.center - region.center, (10, 20, 30))
    assert moved.voxels == region.voxels


def test_the_size_feature_is_a_tenth_of_the_side_of_a_cube_as_large() -> None:
    boxes, voxels = stack_regions([Region(np.zeros(3, int), np.ones((5, 5, 5), bool), 1.0)], torch.device("cpu"))
    assert boxes.tolist() == [[0, 0, 0, 5, 5, 5]]
    torch.testing.assert_close(size_feature(voxels), torch.tensor([0.5]))
    assert stack_regions([], torch.device("cpu"))[0].shape == (0, 6)
