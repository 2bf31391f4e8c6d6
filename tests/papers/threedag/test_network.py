# SPDX-License-Identifier: Apache-2.0
"""The network of Zhang et al. 2020: proposals of three scales, and the classifier branch."""

import pytest
import torch
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import STRIDES, anchor_cubes
from lungcad.papers.threedag.classifier import AggregatedClassifier, LocalMagnification
from lungcad.papers.threedag.layers import DenseBlock
from lungcad.papers.threedag.network import AggregatedFasterRCNN

ANCHORS = ((4, 6), (8, 12), (16, 24))
NARROW = {"stem": 2, "growth": 2, "channels": 4}
RECEPTIVE_RADIUS = 80
"""Greatest distance, in voxels, from a cell of the pyramid to a voxel that its proposal depends on."""


def ready(network: nn.Module) -> nn.Module:
    """In evaluation mode, with kernels and statistics that make differences visible."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def narrow(**knobs: object) -> AggregatedFasterRCNN:
    return ready(AggregatedFasterRCNN(**NARROW, **knobs))


def test_channels_and_sizes_are_those_of_table_i() -> None:
    network = AggregatedFasterRCNN(magnify=True)
    x = torch.rand(1, 1, 32, 32, 32)  # a quarter of the paper's cube along each axis
    assert [tuple(p.shape[1:]) for p in network.pyramid(x)] == [(32, n // 4, n // 4, n // 4) for n in (32, 16, 8)]
    assert network(x).shape == (1, 5, 2 * (32**3 + 16**3 + 8**3) // 4**3)
    assert network.classifier.magnify(torch.rand(1, 32, 4, 4, 4)).shape == (1, 32, 16, 16, 16)
    assert [layer.in_features for layer in network.classifier.judge if isinstance(layer, nn.Linear)] == [768, 256]
    blocks = [module for module in network.backbone.modules() if isinstance(module, DenseBlock)]
    assert [block.channels for block in blocks] == [16 + 32, *[32 + 32] * 4]  # two layers of 16


def test_proposals_come_in_the_order_of_the_anchors() -> None:
    size = (16, 32, 48)
    network = narrow()
    network.heads = nn.ModuleList(nn.Identity() for _ in STRIDES)
    maps = []
    for stride, diameters in zip(STRIDES, ANCHORS, strict=True):
        place = torch.meshgrid(*(torch.arange(n // stride) * stride + (stride - 1) / 2 for n in size), indexing="ij")
        for_each = [torch.stack([place[0], *place, torch.full_like(place[0], d)]) for d in diameters]
        maps.append(torch.cat(for_each)[None])
    torch.testing.assert_close(network.propose(maps)[0, :, 1:], anchor_cubes(size, ANCHORS)[0])


def test_heads_share_no_weights_and_a_level_without_anchors_has_none() -> None:
    network = narrow()
    assert len({id(p) for head in network.heads for p in head.parameters()}) == sum(
        len(list(head.parameters())) for head in network.heads
    )
    single = narrow(anchors_mm=((4, 6, 8, 12, 16, 24), (), ()))
    assert len(single.heads) == 1
    assert single(torch.rand(1, 1, 16, 16, 32)).shape == (1, 5, 6 * 4 * 4 * 8)
    with pytest.raises(InputError, match="unusable anchors"):
        narrow(anchors_mm=((4, 6),))


def test_shift_by_the_coarsest_stride_shifts_every_level() -> None:
    network = narrow()
    x = torch.zeros(1, 1, 16, 16, 224)
    x[..., 96:112] = torch.rand(1, 1, 16, 16, 16)
    cubes, _ = anchor_cubes(x.shape[2:], ANCHORS)
    z = cubes[:, 2]
    before, after = network(x)[0, :, (z > 96) & (z < 112)], network(x.roll(16, dims=4))[0, :, (z > 112) & (z < 128)]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    assert before.std(dim=1).min() > 1e-3


def test_nothing_beyond_the_reach_matters_and_it_is_not_stated_too_large() -> None:
    network = narrow()
    x = torch.rand(1, 1, 16, 16, 2 * RECEPTIVE_RADIUS + 64, requires_grad=True)
    first = x.shape[-1] // 2
    z = anchor_cubes(x.shape[2:], ANCHORS)[0][:, 2]
    network(x)[0, :, (z > first) & (z < first + 16)].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1, 2, 3)).nonzero().flatten()
    assert seen.min() >= first - RECEPTIVE_RADIUS
    assert seen.max() < first + 16 + RECEPTIVE_RADIUS
    assert seen.max() - seen.min() > 1.5 * RECEPTIVE_RADIUS  # of use as a bound


@pytest.mark.parametrize("magnify", [False, True])
def test_scripted_network_gives_the_same_in_both_branches(magnify: bool) -> None:
    network = narrow(magnify=magnify)
    scripted = torch.jit.script(network)
    x = torch.rand(1, 1, 16, 16, 32)
    torch.testing.assert_close(scripted(x), network(x))
    cubes, level = anchor_cubes(x.shape[2:], ANCHORS)
    some = (cubes[None, ::20], level[None, ::20])
    expected = network.classify(network.pyramid(x), *some)
    torch.testing.assert_close(scripted.classify(scripted.pyramid(x), *some), expected)


FIGURE_3 = torch.tensor([[[57.56, 52.46, 60.56, 17.23]]])
"""The proposal of figure 3a, which stride 16 made; x, y, z, diameter."""


@pytest.mark.parametrize(
    ("aligned", "level", "sides"),
    [
        (True, 2, (17.23 / 16, 17.23 / 16, 17.23 / 16)),  # the paper's 1.08, top-down
        (True, 0, (17.23 / 4, 17.23 / 4, 17.23 / 4)),  # bottom-up
        (False, 2, (17.23 / 4, 17.23 / 8, 17.23 / 16)),
        (False, 0, (17.23 / 4, 17.23 / 8, 17.23 / 16)),
    ],
)
def test_diameter_alignment_gives_all_levels_the_side_of_the_level_that_proposed(
    aligned: bool, level: int, sides: tuple[float, ...]
) -> None:
    rois = AggregatedClassifier(4, diameter_alignment=aligned).rois(FIGURE_3, torch.tensor([[level]]))
    torch.testing.assert_close(rois[:, 0, 0, 3], torch.tensor(sides))
    # cell i of stride s is centred on voxel s i + (s - 1) / 2
    for stride, center in zip(STRIDES, rois[:, 0, 0, :3], strict=True):
        torch.testing.assert_close(center * stride + (stride - 1) / 2, FIGURE_3[0, 0, :3])


def some_proposals(count: int = 5, batch: int = 2) -> tuple[Tensor, Tensor]:
    cubes = torch.cat([torch.rand(batch, count, 3) * 30, torch.rand(batch, count, 1) * 20 + 3], dim=-1)
    return cubes, torch.randint(0, 3, (batch, count))


def some_pyramid(channels: int = 4, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, channels, 32 // s, 32 // s, 32 // s) for s in STRIDES]


@pytest.mark.parametrize("magnify", [False, True])
def test_every_level_and_only_the_own_image_counts(magnify: bool) -> None:
    classifier = ready(AggregatedClassifier(4, 16, magnify=magnify, inner=8))
    pyramid, (cubes, level) = some_pyramid(), some_proposals()
    logit = classifier(pyramid, cubes, level)
    assert logit.shape == (2, 5)
    torch.testing.assert_close(classifier([p[1:] for p in pyramid], cubes[1:], level[1:])[0], logit[1])
    torch.testing.assert_close(classifier(pyramid, cubes.flip(1), level.flip(1)), logit.flip(1))
    for changed in range(3):
        other = [p + (n == changed) * torch.randn_like(p) for n, p in enumerate(pyramid)]
        assert (classifier(other, cubes, level) != logit).all()


def test_alignment_matters_to_the_score_but_for_what_a_level_sees_of_itself() -> None:
    pyramid, (cubes, level) = some_pyramid(), some_proposals()
    classifier = ready(AggregatedClassifier(4, 16))
    with_alignment = classifier(pyramid, cubes, level)
    classifier.diameter_alignment = False
    assert (classifier(pyramid, cubes, level) != with_alignment).all()
    one_size = [torch.ones_like(p) for p in pyramid]  # nothing to see at any size
    without = classifier(one_size, cubes, level)
    classifier.diameter_alignment = True
    torch.testing.assert_close(classifier(one_size, cubes, level), without)


def test_magnified_cells_stay_in_place() -> None:
    magnify = LocalMagnification(1, 1).eval()
    for module in magnify.modules():  # every layer hands on what it gets
        if isinstance(module, nn.ConvTranspose3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv3d):
            nn.init.zeros_(module.weight)
            middle = module.kernel_size[0] // 2
            module.weight.data[..., middle, middle, middle] = 1
    x = torch.rand(2, 1, 3, 3, 3)
    every = x.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    torch.testing.assert_close(magnify(x), every, atol=1e-3, rtol=1e-3)


def test_the_regions_of_magnified_crops_are_where_they_are_on_the_map() -> None:
    classifier = AggregatedClassifier(3, magnify=True)
    place = [torch.stack(torch.meshgrid(*[torch.arange(32.0 // s)] * 3, indexing="ij"))[None] for s in STRIDES]
    cubes, level = some_proposals(4, 1)
    cubes[..., :3] = cubes[..., :3] / 3 + 10  # away from the border
    rois = classifier.rois(cubes, level)
    crops, inside = classifier.crops([place[0]] * 3, rois[:1].expand(3, -1, -1, -1))
    first = crops[:4, :, 0, 0, 0]  # the map's values are its cells
    middle = first + (inside[:4, :3] + 0.5) / 4 - 0.5
    torch.testing.assert_close(middle, rois[0, 0, :, :3], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(inside[:4, 3], 4 * rois[0, 0, :, 3])


@pytest.mark.parametrize("magnify", [False, True])
def test_both_branches_train_the_backbone(magnify: bool) -> None:
    network = AggregatedFasterRCNN(**NARROW, magnify=magnify)
    pyramid = network.pyramid(torch.rand(2, 1, 32, 32, 32))
    network.classify(pyramid, *some_proposals()).sum().backward()
    parts = [network.backbone, network.classifier, *([network.classifier.magnify] if magnify else [])]
    assert all(sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0 for part in parts)
    assert all(p.grad is None for p in network.heads.parameters())
    network.zero_grad()
    network(torch.rand(2, 1, 32, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in network.backbone.parameters())


def test_no_proposals_have_no_scores() -> None:
    network = narrow()
    nothing = network.classify(some_pyramid(), torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    assert nothing.shape == (2, 0)
