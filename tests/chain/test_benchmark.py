# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from lungcad.chain.benchmark import DenseInferer, SameGrid, TimedWindows, compare_findings
from lungcad.finding import Finding
from lungcad.papers.dou2017.inference import LungFCNInferer
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.peaks import IndexMap

FOUND = [
    Finding((10.0, 0.0, 0.0), nodule_probability=0.9),
    Finding((50.0, 0.0, 0.0), nodule_probability=0.6),
    Finding((90.0, 0.0, 0.0), nodule_probability=0.1),
]


def test_equal_findings_differ_in_nothing() -> None:
    result = compare_findings(FOUND, FOUND, 0.3)
    assert (result["findings_fast"], result["findings_reference"], result["without_partner"]) == (2, 2, 0)
    assert result["largest_center_distance_mm"] == result["largest_probability_difference"] == 0


def test_largest_change_is_told() -> None:
    moved = [replace(FOUND[0], center_lps_mm=(10.0, 3.0, 4.0)), replace(FOUND[1], nodule_probability=0.4), FOUND[2]]
    result = compare_findings(moved, FOUND, 0.3)
    assert result["largest_center_distance_mm"] == pytest.approx(5)
    assert result["largest_probability_difference"] == pytest.approx(0.2)


def test_lost_and_new_findings_have_no_partner() -> None:
    assert compare_findings(FOUND[1:], FOUND, 0.3)["without_partner"] == 1
    assert compare_findings(FOUND, FOUND[:1], 0.3)["without_partner"] == 1
    assert compare_findings([], FOUND, 0.3)["findings_fast"] == 0


@pytest.mark.parametrize("measure", [1, 3, 8])
def test_so_many_windows_are_measured_and_all_are_counted(measure: int) -> None:
    image = torch.zeros(1, 1, 8, 8, 8)
    windows = TimedWindows(lambda x: x.new_ones(len(x), 2, 2, 2, 4), total=8, measure=measure)  # type: ignore[arg-type]
    out = SlidingWindowInferer((4, 4, 4), sw_batch_size=1, overlap=0)(image, windows)
    assert (windows.windows, windows.computed) == (8, measure)
    assert out.sum() == measure * 2 * 2 * 2 * 4
    assert windows.seconds > 0


def test_padded_network_halves_the_plane_and_keeps_the_middle() -> None:
    network = CandidateFCN(channels=(2, 2, 2), head_channels=4, init_std=0.1).eval()
    x = torch.rand(1, 1, 36, 32, 12)
    same = SameGrid(network, IndexMap())(x)
    assert same.shape == (1, 2, 18, 16, 12)
    # (28, 28, 9) voxels are lost to the field; (14, 14, 4) of them in front are (7, 7, 4) outputs
    torch.testing.assert_close(same[:, :, 7:11, 7:9, 4:7], network(x), rtol=1e-4, atol=1e-5)


def test_reference_gives_what_the_sparse_path_gives() -> None:
    network = CandidateFCN(channels=(2, 2, 2), head_channels=4, init_std=0.2).eval()
    x = torch.rand(1, 1, 60, 52, 24)
    lungs = torch.zeros(60, 52, 24, dtype=torch.bool)
    lungs[18:48, 16:40, 6:20] = True
    dense = DenseInferer(0.5, tile=(8, 8, 8))(x, network, lungs)
    sparse = LungFCNInferer(0.5, tile=(16, 16, 16), precision="float32")(x, network, lungs)
    assert dense.isfinite().sum() > 100
    torch.testing.assert_close(dense, sparse, rtol=1e-4, atol=1e-5)
