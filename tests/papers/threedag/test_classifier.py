# SPDX-License-Identifier: Apache-2.0
from itertools import product
from math import floor

import pytest
import torch
from torch import Tensor

from lungcad.papers.threedag.classifier import crop_cells, roi_align


def trilinear(volume: Tensor, place: list[float]) -> Tensor:
    """Value (C,) of a volume (C, X, Y, Z) at a place, from its eight neighbours one by one."""
    place = [min(max(p, 0.0), n - 1.0) for p, n in zip(place, volume.shape[1:], strict=True)]
    value = torch.zeros(volume.shape[0], dtype=volume.dtype)
    for corner in product((0, 1), repeat=3):
        cell = [min(floor(p) + c, n - 1) for p, c, n in zip(place, corner, volume.shape[1:], strict=True)]
        weight = 1.0
        for p, c in zip(place, corner, strict=True):
            weight *= p - floor(p) if c else 1 - (p - floor(p))
        value = value + weight * volume[:, cell[0], cell[1], cell[2]]
    return value


def looped(features: Tensor, rois: Tensor, size: int, samples: int) -> Tensor:
    """RoI Align with one loop for everything."""
    out = torch.zeros(*rois.shape[:2], features.shape[1], size, size, size, dtype=features.dtype)
    for b, n in product(*map(range, rois.shape[:2])):
        *center, side = rois[b, n].tolist()
        for bins in product(range(size), repeat=3):
            for sample in product(range(samples), repeat=3):
                share = [(i + (s + 0.5) / samples) / size - 0.5 for i, s in zip(bins, sample, strict=True)]
                place = [c + side * along for c, along in zip(center, share, strict=True)]
                out[(b, n, slice(None), *bins)] += trilinear(features[b], place) / samples**3
    return out


def some_rois(batch: int, count: int, extent: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Regions inside, across the border and beyond it."""
    center = (torch.rand(batch, count, 3) * 1.6 - 0.3) * torch.tensor(extent)
    return torch.cat([center, torch.rand(batch, count, 1) * 5 + 0.1], dim=-1).to(dtype)


@pytest.mark.parametrize(("size", "samples"), [(1, 1), (2, 2), (3, 1)])
def test_equals_the_plain_loop(size: int, samples: int) -> None:
    features, rois = torch.randn(2, 3, 6, 5, 7), some_rois(2, 4, (6, 5, 7))
    aligned = roi_align(features, rois, size, samples)
    assert aligned.shape == (2, 4, 3, size, size, size)
    torch.testing.assert_close(aligned, looped(features, rois, size, samples), atol=1e-5, rtol=1e-5)


def test_a_linear_map_gives_the_places_of_the_bins() -> None:
    ramp = torch.stack(torch.meshgrid(*(torch.arange(n).float() for n in (9, 10, 11)), indexing="ij"))[None]
    bins = roi_align(ramp, torch.tensor([[[4.0, 5.0, 3.5, 2.0]]]))[0, 0]
    # a side of 2 around 4 in two bins: their middles are at 3.5 and 4.5
    torch.testing.assert_close(bins[0, :, 0, 0], torch.tensor([3.5, 4.5]))
    torch.testing.assert_close(bins[1, 0, :, 0], torch.tensor([4.5, 5.5]))
    torch.testing.assert_close(bins[2, 0, 0, :], torch.tensor([3.0, 4.0]))


def test_one_cell_sampled_at_its_centre_is_that_cell() -> None:
    features = torch.randn(1, 2, 4, 5, 6)
    torch.testing.assert_close(
        roi_align(features, torch.tensor([[[2.0, 3.0, 4.0, 1.0]]]), 1, 1)[0, 0, :, 0, 0, 0], features[0, :, 2, 3, 4]
    )


def test_gradients_are_right() -> None:
    features = torch.randn(1, 2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[[1.37, 1.21, 2.43, 1.5], [0.2, 2.1, 4.6, 2.3]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(roi_align, (features, rois))


@pytest.mark.parametrize("size", [3, 4])
def test_crops_are_whole_cells_around_the_place(size: int) -> None:
    features = torch.randn(2, 3, 8, 9, 10)
    center = torch.rand(2, 5, 3) * 3 + 3
    crops, first = crop_cells(features, center, size)
    assert crops.shape == (2, 5, 3, size, size, size)
    for b, n in product(range(2), range(5)):
        x, y, z = first[b, n].long().tolist()
        assert torch.equal(crops[b, n], features[b, :, x : x + size, y : y + size, z : z + size])
        assert ((first[b, n] + (size - 1) / 2 - center[b, n]).abs() <= 0.5).all()


def test_regions_two_cells_smaller_than_the_crop_are_as_on_the_whole_map_even_at_its_border() -> None:
    features = torch.randn(2, 3, 6, 5, 7)
    rois = some_rois(2, 20, (6, 5, 7))
    rois[..., 3].clamp_(max=2)
    rois[..., :3] = torch.minimum(rois[..., :3].clamp(min=-0.5), torch.tensor([5.5, 4.5, 6.5]))
    crops, first = crop_cells(features, rois[..., :3], 4)
    inside = rois - torch.nn.functional.pad(first, (0, 1))
    cropped = roi_align(crops.flatten(0, 1), inside.flatten(0, 1)[:, None]).reshape(2, 20, 3, 2, 2, 2)
    torch.testing.assert_close(cropped, roi_align(features, rois), atol=1e-5, rtol=1e-5)


def test_crops_pass_gradients_back_to_their_cells() -> None:
    features = torch.zeros(1, 1, 6, 6, 6, requires_grad=True)
    crop_cells(features, torch.tensor([[[2.5, 2.5, 2.5], [2.5, 2.5, 3.5]]]), 2)[0].sum().backward()
    expected = torch.zeros(6, 6, 6)
    expected[2:4, 2:4, 2:5] = torch.tensor([1.0, 2.0, 1.0])  # the crops share a layer
    assert torch.equal(features.grad[0, 0], expected)
