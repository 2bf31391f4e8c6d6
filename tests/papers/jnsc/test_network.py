# SPDX-License-Identifier: Apache-2.0
"""The network of Liu and Chan 2020: segmentation, and the classification of regions."""


import pytest
import torch
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.papers.jnsc.network import InstanceNorm, JNSCNet, RegionClassifier

NARROW = {"channels": (2, 3, 4, 5, 6), "depth": (1, 1, 1, 1, 1), "features": 3}


def narrow(**knobs: object) -> JNSCNet:
    network = JNSCNet(**NARROW | knobs)
    nn.init.normal_(network.out.weight)  # an output that differs from voxel to voxel
    return network.eval()


def some_regions() -> tuple[Tensor, Tensor, Tensor]:
    """Three regions of two images, the second of a single voxel."""
    boxes = torch.tensor([[4, 5, 6, 9, 12, 10], [31, 0, 16, 32, 1, 17], [0, 0, 0, 32, 32, 32]])
    return torch.tensor([0, 1, 1]), boxes, torch.tensor([90, 1, 700])


def test_maps_have_the_sizes_of_figure_3() -> None:
    maps = narrow().features(torch.rand(1, 1, 64, 64, 64))
    expected = zip((2, 3, 4, 5, 6), (64, 32, 16, 8, 4), strict=True)
    assert [tuple(one.shape[1:]) for one in maps] == [(c, n, n, n) for c, n in expected]


def test_the_segmentation_is_as_large_as_the_image_and_starts_from_the_prior() -> None:
    assert narrow()(torch.rand(2, 1, 32, 48, 32)).shape == (2, 1, 32, 48, 32)
    start = JNSCNet(**NARROW, prior=0.03)(torch.randn(1, 1, 32, 32, 32)).sigmoid()
    assert start.mean().item() == pytest.approx(0.03, rel=0.1)


def test_every_skip_reaches_the_segmentation() -> None:
    network = narrow()
    maps = network.features(torch.rand(1, 1, 32, 32, 32))
    expected = network.segment(maps)
    for changed in range(5):
        other = [one + (n == changed) * torch.rand_like(one) for n, one in enumerate(maps)]
        assert not torch.allclose(network.segment(other), expected)


def test_spatial_dropout_leaves_out_whole_channels_in_training_alone() -> None:
    network = JNSCNet(**NARROW | {"channels": (64, 3, 4, 5, 6)}, dropout=0.5)
    network.encode[0][0].shortcut = nn.Conv3d(1, 64, 1, bias=False)
    nn.init.zeros_(network.encode[0][0].shortcut.weight)
    empty = (network.features(torch.rand(1, 1, 32, 32, 32))[0].flatten(2) == 0).all(dim=2).sum().item()
    assert 16 < empty < 48  # of 64
    network.eval()
    assert not (network.features(torch.rand(1, 1, 32, 32, 32))[0].flatten(2) == 0).all(dim=2).any()


def test_the_feature_vector_has_the_pooled_cells_of_each_scale_and_the_size() -> None:
    for levels, cells in enumerate((8, 16, 17, 18, 19), start=1):  # 2^3, 2^3, 1, 1, 1
        assert RegionClassifier((2, 3, 4, 5, 6), levels, 7).linear.in_features == 7 * cells + 1


def by_hand() -> tuple[RegionClassifier, list[Tensor]]:
    """One channel a scale whose cells count up, handed on as it is, and logits that are sums of what was pooled."""
    classifier = RegionClassifier((1,) * 5, 5, 1)
    for reduce in classifier.reduce:
        nn.init.ones_(reduce[0].weight)
        nn.init.zeros_(reduce[0].bias)
    nn.init.zeros_(classifier.linear.weight)
    nn.init.zeros_(classifier.linear.bias)
    return classifier, [torch.arange(float((32 >> n) ** 3)).view(1, 1, *[32 >> n] * 3) for n in range(5)]


def test_crops_are_the_cells_that_a_box_touches_and_pooling_keeps_their_maxima() -> None:
    classifier, maps = by_hand()
    with torch.no_grad():
        classifier.linear.weight[0, 0] = 1  # of the first scale the first of 2 x 2 x 2 parts
        classifier.linear.weight[1, 17] = 1  # stride 8: one cell
        classifier.linear.weight[2, 19] = 1  # the size
    box = torch.tensor([[4, 6, 8, 8, 10, 17]])  # 4 x 4 x 9
    logits = classifier(maps, torch.tensor([0]), box, torch.tensor([27]))[0]
    # the first part has 2, 2 and 5 voxels, up to (5, 7, 12); at stride 8 the last cell touched is (0, 1, 2) of 4
    assert logits.tolist() == pytest.approx([5 * 1024 + 7 * 32 + 12, 1 * 4 + 2, 0.3])


def test_a_region_depends_on_its_own_image_and_box_alone() -> None:
    network = narrow()
    x = torch.rand(2, 1, 32, 32, 32)
    maps, (image, boxes, voxels) = network.features(x), some_regions()
    logits = network.classify(maps, image, boxes, voxels)
    assert logits.shape == (3, 3)
    alone = network.classify([one[1:] for one in maps], image[1:] - 1, boxes[1:], voxels[1:])
    torch.testing.assert_close(alone, logits[1:])
    assert network.classify(maps, image[:0], boxes[:0], voxels[:0]).shape == (0, 3)
    larger = network.classify(maps, image, boxes, voxels * 8)
    assert (larger != logits).all()


@pytest.mark.parametrize("levels", [1, 3])
def test_levels_beyond_those_asked_for_do_not_matter(levels: int) -> None:
    network = narrow(levels=levels)
    maps, regions = network.features(torch.rand(2, 1, 32, 32, 32)), some_regions()
    expected = network.classify(maps, *regions)
    for changed in range(5):
        other = [one + (n == changed) * (1 + torch.rand_like(one)) for n, one in enumerate(maps)]
        assert torch.equal(network.classify(other, *regions), expected) == (changed >= levels)


def test_the_classification_trains_the_encoder_and_not_the_decoder() -> None:
    network = JNSCNet(**NARROW)
    network.classify(network.features(torch.rand(2, 1, 32, 32, 32)), *some_regions()).square().sum().backward()
    assert all(any(p.grad.abs().sum() > 0 for p in block.parameters()) for block in network.encode)
    assert all(p.grad is None for p in network.decode.parameters())


def test_the_path_can_be_left_out() -> None:
    network = narrow(classify=False)
    assert not any("classifier" in name for name in network.state_dict())
    assert network.classify(network.features(torch.rand(2, 1, 32, 32, 32)), *some_regions()).isnan().all()


@pytest.mark.parametrize("classify", [False, True])
def test_scripted_network_gives_the_same(classify: bool) -> None:
    network = narrow(classify=classify, levels=4)
    scripted, x = torch.jit.script(network), torch.rand(2, 1, 32, 32, 32)
    torch.testing.assert_close(scripted(x), network(x))
    expected = network.classify(network.features(x), *some_regions())
    torch.testing.assert_close(scripted.classify(scripted.features(x), *some_regions()), expected, equal_nan=True)


@pytest.mark.parametrize("knobs", [{"levels": 0}, {"levels": 6}, {"channels": (2, 3, 4, 5)}, {"depth": (1,)}])
def test_refuses_other_than_five_scales(knobs: dict[str, object]) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        JNSCNet(**NARROW | knobs)


def test_instance_normalisation_is_torchs_with_its_gradients() -> None:
    torch.manual_seed(1)
    ours, torchs = InstanceNorm(5, affine=True), torch.nn.InstanceNorm3d(5, affine=True)
    torch.nn.init.normal_(ours.weight)
    torchs.load_state_dict(ours.state_dict())
    x = (3 * torch.randn(3, 5, 4, 6, 8) + 2).to(memory_format=torch.channels_last_3d)
    outputs = []
    for layer in (ours, torchs):
        image = x.clone().requires_grad_()
        y = layer(image)
        (y**3).sum().backward()
        outputs.append([y, image.grad, layer.weight.grad, layer.bias.grad])
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
