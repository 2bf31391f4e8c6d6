# SPDX-License-Identifier: Apache-2.0
from math import e, exp

import pytest
import torch
from torch import Tensor

from lungcad.papers.threedag.anchors import MAX_LOG_SCALE, cube_iou, decode_offsets, encode_offsets


def random_cubes(count: int) -> Tensor:
    return torch.cat([torch.rand(count, 3) * 60 - 30, torch.rand(count, 1) * 27 + 3], dim=1)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 0, 4], 1.0),
        ([2, 0, 0, 4], 1 / 3),  # 2 x 4 x 4 = 32 of 64 + 64 - 32
        ([2, 2, 2, 4], 1 / 15),  # 2 x 2 x 2 = 8 of 64 + 64 - 8
        ([0, 0.5, 0, 2], 1 / 8),  # one within the other: 8 of 64
        ([3, 0, 0, 4], 16 / 112),  # 1 x 4 x 4
        ([0, 0, 4, 4], 0.0),  # they touch
        ([0, 9, 0, 4], 0.0),
        ([5, 5, 0, 4], 0.0),  # apart along two axes: two negative sides are no volume
    ],
)
def test_overlap_by_hand(other: list[float], expected: float) -> None:
    cube = torch.tensor([[0.0, 0.0, 0.0, 4.0]])
    assert cube_iou(cube, torch.tensor([other]).float()).item() == pytest.approx(expected)


def test_overlap_of_all_with_all_is_symmetric_and_moves_along() -> None:
    a, b = random_cubes(7), random_cubes(5)
    iou = cube_iou(a, b)
    assert iou.shape == (7, 5)
    torch.testing.assert_close(iou, cube_iou(b, a).t())
    shift = torch.tensor([3.0, -8.0, 5.0, 0.0])
    torch.testing.assert_close(iou, cube_iou(a + shift, b + shift))
    assert cube_iou(a, b[:0]).shape == (7, 0)


def test_coding_by_hand() -> None:
    cube, anchor = torch.tensor([13.0, 8.0, 20.0, 8 * e]), torch.tensor([9.0, 12.0, 20.0, 8.0])
    torch.testing.assert_close(encode_offsets(cube, anchor), torch.tensor([0.5, -0.5, 0.0, 1.0]))


def test_decoding_undoes_coding() -> None:
    cubes, anchors = random_cubes(200), random_cubes(200)
    torch.testing.assert_close(decode_offsets(encode_offsets(cubes, anchors), anchors), cubes, atol=1e-5, rtol=1e-5)
    offsets = torch.randn(3, 200, 4)
    torch.testing.assert_close(encode_offsets(decode_offsets(offsets, anchors), anchors), offsets, atol=1e-5, rtol=1e-5)


def test_no_offset_makes_an_infinite_cube() -> None:
    cube = decode_offsets(torch.tensor([0.0, 0.0, 0.0, 500.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(cube, torch.tensor([1.0, 2.0, 3.0, 4 * exp(MAX_LOG_SCALE)]))
