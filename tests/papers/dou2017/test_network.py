# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor, nn

from lungcad.papers.dou2017.network import CandidateFCN, HybridLossResNet
from lungcad.papers.layers import ResidualUnit
from lungcad.papers.peaks import IndexMap

NARROW = (2, 3, 4)


def fcn(init_std: float = 0.2) -> CandidateFCN:
    return CandidateFCN(NARROW, head_channels=5, init_std=init_std).eval()


def resnet(early_weights: dict[str, Tensor] | None = None, **options: bool) -> HybridLossResNet:
    return HybridLossResNet(NARROW, branch_channels=4, early_weights=early_weights, **options).eval()


def test_one_patch_gives_one_pair_of_logits() -> None:
    assert fcn()(torch.zeros(3, 1, 30, 30, 10)).shape == (3, 2, 1, 1, 1)


@pytest.mark.parametrize("size", [(30, 31, 10), (41, 40, 13), (33, 52, 11)])
def test_size_of_the_score_volume(size: tuple[int, int, int]) -> None:
    assert fcn()(torch.zeros(1, 1, *size)).shape[2:] == IndexMap().outputs(size)


@torch.no_grad()
def test_a_patch_alone_scores_as_within_the_volume() -> None:
    network, volume = fcn(), torch.rand(1, 1, 40, 37, 14)
    patch = volume[..., 6:36, 4:34, 3:13]  # output (3, 2, 3)
    torch.testing.assert_close(network(patch)[0, :, 0, 0, 0], network(volume)[0, :, 3, 2, 3])


@pytest.mark.parametrize("output", [(0, 0, 0), (1, 2, 3), (4, 1, 2)])
def test_receptive_field_and_stride_by_gradient(output: tuple[int, int, int]) -> None:
    network = fcn()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # all positive, so that no ReLU blocks
    volume = torch.rand(1, 1, 40, 38, 14, requires_grad=True)
    network(volume)[0, 1][output].backward()
    seen = volume.grad[0, 0].nonzero()
    i, j, k = output
    assert seen.amin(dim=0).tolist() == [2 * i, 2 * j, k]
    assert seen.amax(dim=0).tolist() == [2 * i + 29, 2 * j + 29, k + 9]


@torch.no_grad()
def test_head_at_some_outputs_equals_the_dense_head() -> None:
    network = fcn()
    features = network.early(torch.rand(1, 1, 46, 41, 17))
    dense = network.c5(torch.relu(network.c4(features)))[0]
    index = torch.randint(0, 6, (50, 3))
    expected = dense[:, index[:, 0], index[:, 1], index[:, 2]].t()
    assert expected.std(dim=0).min() > 1e-3  # not all alike
    torch.testing.assert_close(network.head_at(features, index, chunk=7), expected)


def test_weights_start_from_the_papers_gaussian() -> None:
    convolutions = [m for m in CandidateFCN().modules() if isinstance(m, nn.Conv3d)]
    assert len(convolutions) == 5
    for convolution in convolutions:
        assert not convolution.bias.any()
        few = convolution.weight.numel() ** -0.5  # standard error of a standard deviation, and more
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=4 * few)
    assert fcn(init_std=0.5).c4.weight.std().item() == pytest.approx(0.5, rel=0.1)


def test_deeper_layers_of_the_residual_net_start_as_he_et_al_say() -> None:
    convolution = HybridLossResNet().shared[5]
    fan_in = convolution.weight[0].numel()
    assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)


@torch.no_grad()
def test_early_layers_are_copied_from_the_candidate_network() -> None:
    first, image = fcn(), torch.rand(1, 1, 30, 30, 10)
    second = resnet(early_weights=first.state_dict())
    torch.testing.assert_close(second.early(image), first.early(image))
    assert not torch.equal(resnet().early(image), first.early(image))


def test_early_layers_of_another_width_are_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        resnet(early_weights=CandidateFCN((4, 4, 4), 5).state_dict())


def test_residual_unit_adds_to_its_input() -> None:
    unit, x = ResidualUnit(3).eval(), torch.randn(2, 3, 4, 4, 4)
    last = unit.residual[-1]
    with torch.no_grad():
        before = unit(x) - x
        last.weight.mul_(2)
        torch.testing.assert_close(unit(x) - x, 2 * before)  # F is linear in its last weights, x is not in it
        last.weight.zero_()
        assert torch.equal(unit(x), x)


@torch.no_grad()
def test_table_2_has_the_same_layers_without_shortcuts() -> None:
    x = torch.randn(2, 3, 4, 4, 4)
    unit = ResidualUnit(3, shortcut=False).eval()
    assert torch.equal(unit(x), unit.residual(x))
    deepnet = resnet(residual=False)
    units = [module for module in deepnet.modules() if isinstance(module, ResidualUnit)]
    assert len(units) == 4
    assert not any(unit.shortcut for unit in units)
    assert deepnet.state_dict().keys() == resnet().state_dict().keys()


def test_without_localisation_places_are_learnt_from_features_that_they_do_not_change() -> None:
    image, hybrid, network = torch.rand(1, 1, 60, 60, 24), resnet(), resnet(localise=False)
    network.load_state_dict(hybrid.state_dict())
    output = network(image)
    assert torch.equal(output, hybrid(image))
    output[:, 2:].sum().backward(retain_graph=True)
    assert any(parameter.grad.any() for parameter in network.regress.parameters())
    assert not any(parameter.grad.any() for part in (network.early, network.shared) for parameter in part.parameters())
    output[:, :2].sum().backward()
    assert network.early[0].weight.grad.any()


def test_residual_net_gives_two_logits_and_four_numbers_and_learns_everywhere() -> None:
    network = resnet().train()
    output = network(torch.rand(2, 1, 60, 60, 24))
    assert output.shape == (2, 6)
    output.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_branches_share_early_layers_only() -> None:
    network = resnet()
    network(torch.rand(1, 1, 60, 60, 24))[:, 2:].sum().backward()
    assert network.early[0].weight.grad.any()
    assert all(p.grad is None or not p.grad.any() for p in network.classify.parameters())


@torch.no_grad()
@pytest.mark.parametrize(("network", "size"), [(fcn(), (34, 30, 12)), (resnet(), (60, 60, 24)),
                                               (resnet(residual=False, localise=False), (60, 60, 24))])  # fmt: skip
def test_torchscript_equals_eager(network: nn.Module, size: tuple[int, int, int]) -> None:
    image = torch.rand(2, 1, *size)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
