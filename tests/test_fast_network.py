# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest
import torch
from monai.networks.nets import BasicUNet
from small_cases import CPU
from small_cases import ready as trained
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad import fast_network
from lungcad.fast_network import FusedConvolution, make_fast
from lungcad.papers.dou2017.network import HybridLossResNet
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.mtmrnet.network import MTMRNet
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.papers.yao2018.network import MultiScaleClassifier, SimplifiedUNet

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "reducer": (lambda: HybridLossResNet((2, 3, 4), 8), (2, 1, 60, 60, 24)),
    "MTMR-Net": (lambda: MTMRNet(width=4, attribute_features=8), (2, 3, 64, 64)),
    "U-Net": (lambda: SimplifiedUNet((2, 3, 4)), (1, 1, 32, 32, 32)),
    "MONAI's U-Net": (lambda: BasicUNet(3, 1, 2, (4, 4, 8, 8, 8, 4)), (1, 1, 32, 32, 32)),
    "3D-AG": (lambda: AggregatedFasterRCNN(stem=2, growth=2, channels=4), (1, 1, 32, 32, 48)),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_ready_network_gives_the_same_outputs(name: str) -> None:
    make, size = NETWORKS[name]
    with torch.inference_mode(False):
        network, x = trained(make()), torch.rand(size)
    expected = network(x)
    torch.testing.assert_close(make_fast(network, CPU, "float32")(x), expected, atol=1e-4, rtol=1e-4)
    low = make_fast(network, CPU, "bfloat16")(x).float()
    assert (low - expected).abs().mean() < 0.05 * expected.std() + 0.02
    assert not torch.equal(low, expected)


@torch.inference_mode()
def test_parts_of_a_network_and_one_that_cannot_be_traced_are_made_ready_too() -> None:
    joint, x = JNSCNet((2, 2, 3, 3, 4)).eval(), torch.rand(1, 1, 32, 32, 32)
    maps = make_fast(joint, CPU, "float32", "features")(x)
    torch.testing.assert_close(make_fast(joint, CPU, "float32", "segment")(maps), joint(x), atol=1e-4, rtol=1e-4)
    network, x = MultiScaleClassifier((2, 2, 2, 2)).eval(), torch.rand(2, 1, 60, 60, 60)
    sizes = torch.tensor([8.0, 14.0])
    torch.testing.assert_close(make_fast(network, CPU, "float32")(x, sizes), network(x, sizes), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(make_fast(network, CPU, "float32")(x), network(x), atol=1e-4, rtol=1e-4)


def test_an_average_joins_the_convolution_before_it_and_a_normalisation_becomes_one() -> None:
    network = trained(nn.Sequential(nn.BatchNorm3d(3), nn.ReLU(), nn.Conv3d(3, 4, 1, bias=False), nn.AvgPool3d(2)))
    x = torch.randn(2, 3, 7, 6, 5)
    with torch.inference_mode():
        made = make_fast(network, CPU, "float32")
        torch.testing.assert_close(made(x), network(x), atol=1e-5, rtol=1e-5)
    assert [type(layer) for layer in made.modules() if not list(layer.children())] == [FusedConvolution] * 2
    kept = nn.Sequential(nn.Conv3d(3, 4, 1, padding=1), nn.AvgPool3d(2, 1), nn.Conv3d(4, 4, 1), nn.AvgPool3d(2, 2, 1))
    with torch.inference_mode():
        torch.testing.assert_close(make_fast(kept.eval(), CPU, "float32")(x), kept(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_have_their_channels_last(channels: int) -> None:
    network = trained(nn.Sequential(nn.Conv3d(channels, 4, 3), nn.BatchNorm3d(4)))
    with torch.inference_mode():
        output = make_fast(network, CPU, "float32")(torch.rand(1, channels, 6, 7, 8))
    assert output.is_contiguous(memory_format=torch.channels_last_3d)
    assert not output.is_contiguous()


def test_it_is_made_once_and_again_when_weights_change() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2)).eval()
    x = torch.rand(1, 1, 5, 5, 5)
    with torch.inference_mode():
        first = make_fast(network, CPU, "float32")
        assert make_fast(network, CPU, "float32") is first
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    network(x).sum().backward()
    optimizer.step()
    with torch.inference_mode():
        again = make_fast(network, CPU, "float32")
        assert again is not first
        torch.testing.assert_close(again(x), network(x))


@pytest.mark.parametrize("layer", [nn.Conv3d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 5, 2), nn.Conv3d(4, 4, 1, groups=2)])
def test_the_device_without_onednn_gets_the_same_from_plain_operations(
    layer: nn.Conv2d | nn.Conv3d, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = FusedConvolution(layer, True, torch.float32)
    x = torch.rand(2, layer.in_channels, *[9] * (layer.weight.ndim - 2))
    expected: Tensor = F.relu(layer(x))
    with torch.inference_mode():
        one = fused(x)
        monkeypatch.setattr(fast_network, "_ONE_KERNEL", None)
        plain = fused(x)  # the way of a GPU
    torch.testing.assert_close(one, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-5)
