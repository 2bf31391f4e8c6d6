# SPDX-License-Identifier: Apache-2.0
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.peaks import IndexMap, merge_spheres, searched_outputs, suppress_score_volume

MAP = IndexMap()
OUTPUT_MM = (2.0, 2.0, 2.0)


def brightness_detector() -> CandidateFCN:
    """A candidate network whose every kernel looks only at its middle: log odds 20 on a bright voxel, -20 elsewhere."""
    network = CandidateFCN((1, 1, 1), head_channels=1)
    for convolution in (m for m in network.modules() if isinstance(m, nn.Conv3d)):
        nn.init.zeros_(convolution.weight)
        x, y, z = (n // 2 for n in convolution.kernel_size)
        convolution.weight.data[:, :, x, y, z] = 1.0
    network.c4.weight.data[:, :, 2, 2, 1] = 1.0  # its kernel is four deep: two middles
    network.c5.weight.data[:, 0, 0, 0, 0] = torch.tensor([-20.0, 20.0])
    network.c5.bias.data = torch.tensor([10.0, -10.0])
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize("planted", [*product((20, 21), (24, 25), (7, 8)), (14, 14, 5), (31, 33, 10), (25, 15, 9)])
def test_a_planted_voxel_comes_back_from_where_it_was_planted(planted: tuple[int, int, int]) -> None:
    volume = torch.zeros(1, 1, 47, 49, 16)
    volume[0, 0][planted] = 1.0
    logits = brightness_detector()(volume)[0]
    output, score = suppress_score_volume(logits[1] - logits[0], OUTPUT_MM, 6.0, 0.5, 10)
    assert len(output) == 1
    assert score[0] > 0.99
    found = MAP.to_voxel(output[0])
    # Along x and y a pair of voxels, 2 o + 14 and 2 o + 15, shares an output, which stands for the pair's middle.
    np.testing.assert_allclose(found[:2], [(n - 14) // 2 * 2 + 14.5 for n in planted[:2]], atol=1e-6)
    assert found[2] == pytest.approx(planted[2], abs=1e-6)


@pytest.mark.parametrize("size", [(30, 30, 10), (47, 52, 21), (60, 61, 33)])
def test_outputs_lie_symmetrically_in_the_volume_they_see(size: tuple[int, int, int]) -> None:
    outputs = MAP.outputs(size)
    seen = MAP.inputs(outputs)
    assert all(0 <= n - s < stride for n, s, stride in zip(size, seen, MAP.stride, strict=True))
    middle = MAP.to_voxel((np.array(outputs) - 1) / 2)
    np.testing.assert_allclose(middle, (np.array(seen) - 1) / 2)


@pytest.mark.parametrize("output", [(0, 0, 0), (3, 5, 2), (8, 9, 6)])
def test_gate_opens_for_what_lies_in_the_middle_of_the_receptive_field(output: tuple[int, int, int]) -> None:
    hu = torch.full((47, 49, 16), -900.0)
    low = np.floor(MAP.to_voxel(output)).astype(int)
    x, y, z = low
    hu[x : x + 2, y : y + 2, z : z + 2] = 0.0
    lungs = torch.ones(hu.shape, dtype=torch.bool)
    wanted = searched_outputs(hu, lungs, MAP, -100.0)
    assert wanted.shape == MAP.outputs(tuple(hu.shape))
    assert wanted.nonzero().tolist() == [list(output)]
    lungs[x, y, z : z + 2] = False
    assert searched_outputs(hu, lungs, MAP, -100.0).any()  # three quarters lung
    lungs[x : x + 2, y : y + 2, z : z + 2] = False
    assert not searched_outputs(hu, lungs, MAP, -100.0).any()


def blobs(*peaks: tuple[tuple[int, int, int], float]) -> Tensor:
    """Scores that fall off around each peak, -inf far away."""
    score = torch.full((24, 22, 20), -torch.inf)
    grid = torch.stack(torch.meshgrid(*map(torch.arange, score.shape), indexing="ij"), dim=-1)
    for place, height in peaks:
        distance = (grid - torch.tensor(place)).float().norm(dim=-1)
        score = torch.where(distance < 2.5, torch.maximum(score, height - distance), score)
    return score


def test_of_peaks_within_the_radius_the_highest_stays() -> None:
    score = blobs(((4, 4, 4), 3.0), ((4, 4, 8), 4.0), ((15, 15, 15), 2.0))  # 8 mm and over 30 mm apart
    index, probability = suppress_score_volume(score, OUTPUT_MM, 9.0, 0.5, 10)
    np.testing.assert_allclose(index, [[4, 4, 8], [15, 15, 15]], atol=0.3)
    np.testing.assert_allclose(probability, torch.tensor([4.0, 2.0]).sigmoid())
    assert len(suppress_score_volume(score, OUTPUT_MM, 7.0, 0.5, 10)[0]) == 3
    assert len(suppress_score_volume(score, OUTPUT_MM, 9.0, 0.95, 10)[0]) == 1


def test_distance_is_in_millimetres() -> None:
    score = blobs(((4, 4, 4), 3.0), ((4, 4, 9), 4.0), ((9, 4, 4), 2.0))  # five outputs apart along z and along x
    index, _ = suppress_score_volume(score, (1.0, 1.0, 3.0), 8.0, 0.5, 10, shift_mm=4.0)
    np.testing.assert_allclose(index, [[4, 4, 9], [4, 4, 4]], atol=0.3)


def random_scores(shape: tuple[int, int, int] = (12, 11, 9)) -> Tensor:
    score = torch.randn(shape) * 2
    score[torch.rand(shape) < 0.3] = -torch.inf  # not computed
    return score


def test_candidates_of_any_scores_are_apart_sorted_and_above_the_threshold() -> None:
    score = random_scores()
    index, probability = suppress_score_volume(score, OUTPUT_MM, 5.0, 0.3, 1000)
    assert len(index) > 3
    assert (np.diff(probability) <= 0).all()
    assert (probability > 0.3).all()
    assert probability[0] == pytest.approx(score.max().sigmoid().item())
    apart = np.linalg.norm((index[:, None] - index) * OUTPUT_MM, axis=-1) + 1e9 * np.eye(len(index))
    assert apart.min() > 2.5  # peaks are 5 mm apart; half of that is left when their places are refined
    assert (index >= 0).all()
    assert (index <= np.array(score.shape) - 1).all()


def test_a_plateau_gives_one_candidate_in_its_middle() -> None:
    score = torch.full((16, 16, 16), -torch.inf)
    score[5:10, 6:9, 7:10] = 6.0
    score[5, 8, 7] = 6.1  # its highest point is a corner
    index, _ = suppress_score_volume(score, (1.0, 1.0, 1.0), 8.0, 0.5, 10)
    np.testing.assert_allclose(index, [[7, 7, 8]], atol=0.7)


def test_at_most_so_many_and_the_best_of_them() -> None:
    score = random_scores()
    everything, probability = suppress_score_volume(score, OUTPUT_MM, 5.0, 0.3, 1000)
    few, best = suppress_score_volume(score, OUTPUT_MM, 5.0, 0.3, 3)
    np.testing.assert_array_equal(few, everything[:3])
    np.testing.assert_array_equal(best, probability[:3])


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_nothing_above_the_threshold_gives_nothing(threshold: float) -> None:
    index, probability = suppress_score_volume(torch.full((4, 5, 6), -torch.inf), OUTPUT_MM, 5.0, threshold, 10)
    assert index.shape == (0, 3)
    assert probability.shape == (0,)


def test_threshold_0_keeps_all_that_was_computed() -> None:
    score = torch.full((9, 9, 9), -torch.inf)
    score[1, 1, 1], score[7, 7, 7] = -30.0, -31.0
    assert len(suppress_score_volume(score, OUTPUT_MM, 5.0, 0.0, 10)[0]) == 2


def test_place_is_refined_to_the_centre_of_gravity() -> None:
    score = torch.full((7, 7, 7), -torch.inf)
    score[3, 3, 3], score[4, 3, 3] = 4.0, 0.0
    index, _ = suppress_score_volume(score, OUTPUT_MM, 5.0, 0.5, 10, softness=4.0)
    weights = 1 / (1 + np.exp(-4.0)), np.exp(-1) / 2  # the probabilities, the second 4 below the peak
    np.testing.assert_allclose(index, [[3 + weights[1] / sum(weights), 3, 3]], atol=1e-6)


def test_peaks_at_the_edge_are_found() -> None:
    score = torch.full((5, 6, 7), -torch.inf)
    score[0, 0, 0], score[4, 5, 6] = 4.0, 3.0
    index, _ = suppress_score_volume(score, OUTPUT_MM, 5.0, 0.5, 10)
    np.testing.assert_allclose(index, [[0, 0, 0], [4, 5, 6]])


def test_merging_keeps_the_best_of_spheres_that_hold_each_others_centre() -> None:
    center = np.array([[0.0, 0, 0], [4, 0, 0], [6, 0, 0], [30, 0, 0]])
    diameter = np.array([10.0, 6.0, 4.0, 20.0])
    score = np.array([0.5, 0.9, 0.3, 0.4])
    # 1 is best; 0 and 2 lie within 5 and 3 mm of it: 0's own radius holds 1's centre, 1's radius holds 2's
    assert merge_spheres(center, diameter, score) == [1, 3]
    assert merge_spheres(center, diameter / 10, score) == [1, 0, 3, 2]
    assert merge_spheres(np.zeros((0, 3)), np.zeros(0), np.zeros(0)) == []
