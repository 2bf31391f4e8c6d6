# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import nn

from lungcad.benchmark.machine import counted
from lungcad.benchmark.runs import checkout
from lungcad.benchmark.stock import SameGrid, TimedWindows
from lungcad.benchmark.work import plot_work, random_candidates, synthetic_scan
from lungcad.fast_network import FusedConvolution
from lungcad.geometry import to_index
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.peaks import IndexMap
from lungcad.scan.scan import Scan


@pytest.mark.parametrize("measure", [1, 3, 8])
def test_so_many_windows_are_measured_and_all_are_counted(measure: int) -> None:
    image = torch.zeros(1, 1, 8, 8, 8)
    network = lambda x: x.new_ones(len(x), 2, 2, 2, 4)  # noqa: E731
    windows = TimedWindows(network, total=8, measure=measure, like=torch.zeros(1, 2, 2, 2, 4))  # type: ignore[arg-type]
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


def test_work_of_a_fused_convolution_is_counted_as_of_a_plain_one() -> None:
    layer, x = nn.Conv3d(2, 3, 3, bias=False), torch.rand(1, 2, 6, 6, 6)
    fused = FusedConvolution(layer, True, torch.float32)
    expected = 2 * 3 * 4**3 * 2 * 27 / 1e9
    with torch.inference_mode():
        assert counted(lambda: fused(x))[1] == pytest.approx(expected)
        assert counted(lambda: layer(x))[1] == pytest.approx(expected)


def test_synthetic_lungs_have_the_litres_asked_for_and_are_found() -> None:
    scan = Scan(synthetic_scan(2.0, 80, 2.5))
    assert scan.lungs.volume_ml == pytest.approx(2000, rel=0.1)
    candidates = random_candidates(scan, 7)
    inside = [to_index(scan.lungs.affine, one.center_lps_mm) for one in candidates]
    assert len(candidates) == 7
    assert all(scan.lungs.mask[tuple(place.round().astype(int))] for place in inside)


def test_cost_against_work_becomes_a_plot(tmp_path: Path) -> None:
    rows = [{"x": 1, "lungs": 0.5, "detect": 2.0}, {"x": 2, "lungs": 0.5, "detect": 4.0}]
    more = [{"x": 0, "measure": 0.0}, {"x": 9, "measure": 1.0}]
    plot_work({"litres": rows, "candidates": more}, tmp_path / "a.svg", "title")
    drawn = (tmp_path / "a.svg").read_text()
    assert all(f"<!-- {text} -->" in drawn for text in ("litres", "lungs", "detect", "measure"))


def test_an_unknown_commit_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no commit no-such-commit"):
        checkout("no-such-commit", tmp_path)
