# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lungcad.papers.tiles import any_near, background_output, boxes_around, tiled_output


def lumps(*sides: int) -> np.ndarray:
    """Two balls in opposite corners, about a tenth of the volume."""
    index = np.indices(sides)
    far = [np.sqrt(sum((axis - share * n) ** 2 for axis, n in zip(index, sides, strict=True))) for share in (0.2, 0.75)]
    return (far[0] < min(sides) / 5) | (far[1] < min(sides) / 4)


@pytest.mark.parametrize("most", [10**9, 300, 1])
def test_boxes_hold_every_marked_cell_once_and_nothing_is_too_large(most: int) -> None:
    cells = lumps(24, 20, 28)
    count = np.zeros(cells.shape, int)
    for box in boxes_around(cells, 1, most):
        assert count[box].size <= most
        count[box] += 1
    assert count.max() == 1
    assert (count[cells] == 1).all()


def test_two_lumps_get_boxes_of_their_own() -> None:
    cells = np.zeros((40, 10, 10), bool)
    cells[2:6, 2:6, 2:6] = cells[30:36, 4:8, 4:8] = True
    boxes = boxes_around(cells, 1, 10**9)
    assert sorted(boxes, key=str) == [(slice(2, 6),) * 3, (slice(30, 36), slice(4, 8), slice(4, 8))]


def test_nothing_marked_needs_no_box() -> None:
    assert boxes_around(np.zeros((4, 5, 6), bool), 1, 100) == []


def padded_network() -> nn.Sequential:
    """Two padded convolutions at full resolution and a pool: radius 2, stride 2."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 4, 3, padding=1), nn.MaxPool3d(2))


@pytest.mark.parametrize("most", [10**9, 200])
@torch.inference_mode()
def test_tiles_on_a_background_equal_the_whole_volume_at_faces_too(most: int) -> None:
    network = padded_network()
    image = torch.full((1, 1, 40, 36, 32), 0.4)
    image[:, :, 4:9, 20:30, 11:19] = torch.rand(5, 10, 8)
    image[:, :, 30:35, 0:6, 26:32] = torch.rand(5, 6, 6)  # in an edge of the volume
    needed = nn.functional.max_pool3d((image != 0.4).float(), 6, 2, 2)[0, 0] > 0
    assert 0.02 < needed.float().mean() < 0.3
    calls = []

    def counted(x: Tensor) -> Tensor:
        calls.append(x.numel())
        return network(x)

    background = network(torch.full((1, 1, 16, 16, 16), 0.4))
    tiled = tiled_output(counted, image, needed, background, 2, 2, most)
    torch.testing.assert_close(tiled, network(image), atol=1e-6, rtol=1e-5)
    assert sum(calls) < image.numel() / (2 if most > 1000 else 1)


@pytest.mark.parametrize(("size", "step", "edge"), [(2, 2, 0), (3, 1, 1), (8, 2, 3), (1, 1, 0)])
def test_near_is_what_max_pooling_says(size: int, step: int, edge: int) -> None:
    marks = torch.rand(16, 18, 22, generator=torch.Generator().manual_seed(size)) > 0.98
    padded = nn.functional.pad(marks[None, None].float(), [edge] * 6)
    expected = nn.functional.max_pool3d(padded, size, step)[0, 0] > 0
    assert torch.equal(any_near(marks, size, step, edge), expected)
    assert expected.any()
    assert not expected.all()


def test_background_keeps_its_faces_and_repeats_its_middle() -> None:
    block = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(1, 1, 6, 6, 6)
    assert background_output(block, (9, 6, 7))[0, 0, :, 2, 3].tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 5]
