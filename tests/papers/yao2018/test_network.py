# SPDX-License-Identifier: Apache-2.0
"""Networks and losses of Yao and Zhang 2018."""

from math import exp, log

import pytest
import torch
from small_cases import ready
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.papers.yao2018.loss import BlockLoss
from lungcad.papers.yao2018.network import MultiScaleClassifier, SimplifiedUNet

NARROW_UNET = (2, 3, 4, 5)


def test_block_of_the_paper_gives_a_volume_of_half_its_resolution() -> None:
    assert SimplifiedUNet()(torch.rand(1, 1, 56, 56, 56)).shape == (1, 1, 28, 28, 28)
    assert SimplifiedUNet(NARROW_UNET)(torch.rand(2, 1, 16, 24, 40)).shape == (2, 1, 8, 12, 20)


@pytest.mark.parametrize("channels", [(2, 3, 4), NARROW_UNET, (1, 2, 2, 2, 2)])
def test_nothing_beyond_the_reach_matters_and_it_is_not_stated_too_large(channels: tuple[int, ...]) -> None:
    network = ready(SimplifiedUNet(channels))
    depth = 2 * network.receptive_radius + 4 * network.unit
    x = torch.rand(1, 1, network.unit, network.unit, depth, requires_grad=True)
    middle = depth // 2
    network(x)[..., middle // 2].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1, 2, 3)).nonzero().flatten()
    assert seen.min() >= middle - network.receptive_radius
    assert seen.max() <= middle + 1 + network.receptive_radius
    assert seen.max() - seen.min() > network.receptive_radius  # of use as a bound


def test_shift_by_a_unit_shifts_the_output() -> None:
    network = ready(SimplifiedUNet(NARROW_UNET))
    x = torch.zeros(1, 1, 8, 8, 160)
    x[..., 72:88] = torch.rand(1, 1, 8, 8, 16)
    torch.testing.assert_close(network(x.roll(8, dims=4))[..., 30:50], network(x)[..., 26:46])


def test_unet_starts_from_the_papers_gaussian_and_is_scripted() -> None:
    network = SimplifiedUNet()
    weights = torch.cat([p.flatten() for name, p in network.named_parameters() if p.ndim == 5])
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    x = torch.rand(1, 1, 16, 16, 24)
    torch.testing.assert_close(torch.jit.script(network.eval())(x), network(x))


def logit(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).logit().reshape(1, 1, -1, 1, 1)


def blocks(*rows: Tensor) -> Tensor:
    return torch.cat(rows)


def label(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, -1, 1, 1)


def test_dice_loss_by_hand() -> None:
    # 2 (0.9 + 0.5) / (2 + 0.9 + 0.5 + 0.2 + 0.4) = 2.8 / 4
    value = BlockLoss("dice")(logit(0.9, 0.5, 0.2, 0.4), label(1, 1, 0, 0))
    assert value.item() == pytest.approx(-0.7)
    ignored = BlockLoss("dice")(logit(0.9, 0.5, 0.2, 0.4, 0.99), label(1, 1, 0, 0, -1))
    assert ignored.item() == pytest.approx(-0.7)


def test_hybrid_loss_is_dice_where_there_is_a_nodule_and_two_sigmoids_less_two_elsewhere() -> None:
    positive, negative = logit(0.9, 0.5, 0.2, 0.4), logit(0.2, 0.5, 0.5, 0.5)
    ce = -(log(0.8) + 3 * log(0.5)) / 4
    expected = 2 / (1 + exp(-ce)) - 2
    one = BlockLoss("hybrid")(negative, label(0, 0, 0, 0))
    assert one.item() == pytest.approx(expected)
    both = BlockLoss("hybrid")(blocks(positive, negative), blocks(label(1, 1, 0, 0), label(0, 0, 0, 0)))
    assert both.item() == pytest.approx((expected - 0.7) / 2)
    perfect = BlockLoss("hybrid")(logit(1e-6, 1e-6), label(0, 0))
    assert perfect.item() == pytest.approx(-1.0, abs=1e-4)  # as low as a perfect Dice loss


def test_dice_learns_nothing_from_blocks_without_nodules_and_the_hybrid_loss_does() -> None:
    for objective, learns in (("dice", False), ("hybrid", True)):
        score = logit(0.3, 0.6).requires_grad_()
        BlockLoss(objective)(score, label(0, 0)).backward()
        assert bool(score.grad.abs().sum() > 0) == learns


def test_cross_entropy_by_hand_leaves_out_what_is_ignored() -> None:
    value = BlockLoss("cross_entropy")(logit(0.9, 0.2, 0.7), label(1, 0, -1))
    assert value.item() == pytest.approx(-(log(0.9) + log(0.8)) / 2)


def test_unknown_objective_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown objective: focal .expected dice, cross_entropy, hybrid"):
        BlockLoss("focal")


CHANNELS = (2, 3, 4)


def ramp(axis: int, side: int = 60) -> Tensor:
    """A patch whose value is the distance from its middle along an axis, in voxels."""
    along = torch.arange(side) - (side - 1) / 2
    return along.reshape([-1 if a == axis else 1 for a in range(3)]).expand(side, side, side)[None, None].float()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("diameter", [4.0, 10.0, 25.0])
def test_attention_is_a_cube_of_twice_the_diameter(axis: int, diameter: float) -> None:
    cube = MultiScaleClassifier(CHANNELS).attention(ramp(axis), torch.tensor([diameter]))[0, 0]
    assert cube.shape == (20, 20, 20)
    step = 2 * diameter / 20
    expected = (torch.arange(20) - 9.5) * step
    torch.testing.assert_close(cube.movedim(axis, 0)[:, 7, 11], expected, atol=1e-3, rtol=1e-4)


def test_attention_ends_at_the_patch_and_is_each_candidates_own() -> None:
    network = MultiScaleClassifier(CHANNELS)
    cubes = network.attention(ramp(0).repeat(2, 1, 1, 1, 1), torch.tensor([50.0, 6.0]))[:, 0, :, 3, 3]
    assert cubes[0].max().item() == pytest.approx(30 * 19 / 20, abs=1e-3)
    assert cubes[1].max().item() == pytest.approx(6 * 19 / 20, abs=1e-3)


def test_global_branch_sees_the_middle_of_the_patch_alone() -> None:
    network = ready(MultiScaleClassifier(CHANNELS, local=False))
    x = torch.rand(1, 1, 60, 60, 60)
    assert network.middle(x).shape == (1, 1, 60, 60, 30)
    changed = x.clone()
    changed[..., :15] = 0
    changed[..., 45:] = 0
    torch.testing.assert_close(network(changed), network(x))
    changed[..., 44] = 0
    assert not torch.equal(network(changed), network(x))


@pytest.mark.parametrize("alpha", [0.1, 0.7])
def test_probability_is_the_weighted_mean_of_both_branches(alpha: float) -> None:
    network = ready(MultiScaleClassifier(CHANNELS, alpha=alpha))
    x, diameter = torch.rand(3, 1, 60, 60, 60), torch.tensor([5.0, 9.0, 20.0])
    whole = network.global_branch(network.middle(x)).softmax(dim=1)
    part = network.local_branch(network.attention(x, diameter)).softmax(dim=1)
    torch.testing.assert_close(network(x, diameter).exp(), alpha * whole + (1 - alpha) * part)


def test_learned_weight_comes_from_both_branches_and_learns() -> None:
    network = ready(MultiScaleClassifier(CHANNELS))
    x, diameter = torch.rand(2, 1, 60, 60, 60), torch.tensor([5.0, 12.0])
    output = network(x, diameter)
    torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(2))
    nn.functional.nll_loss(output, torch.tensor([0, 1])).backward()
    for part in (network.global_branch, network.local_branch, network.weigh):
        assert sum(p.grad.abs().sum() for p in part.parameters()) > 0
    assert network.weigh[0].in_features == 4


def test_variants_differ_as_the_papers_do() -> None:
    def modules(network: nn.Module) -> set[str]:
        return {type(module).__name__ for module in network.modules()}

    plain, residual, both = (
        MultiScaleClassifier(CHANNELS, local=local, residual=residual)
        for local, residual in ((False, False), (False, True), (True, True))
    )
    assert "ResidualUnit" not in modules(plain)
    assert "ResidualUnit" in modules(residual)
    assert plain.local_branch is None
    assert both.local_branch is not None
    kernels = [sum(m.weight.numel() for m in n.modules() if isinstance(m, nn.Conv3d)) for n in (plain, residual)]
    assert kernels[0] == kernels[1]  # the same convolutions, with or without the way around them


def test_classifier_without_diameters_takes_ten_voxels_and_is_scripted() -> None:
    network = ready(MultiScaleClassifier(CHANNELS))
    x = torch.rand(2, 1, 60, 60, 60)
    torch.testing.assert_close(network(x), network(x, torch.tensor([10.0, 10.0])))
    diameter = torch.tensor([4.0, 18.0])
    torch.testing.assert_close(torch.jit.script(network)(x, diameter), network(x, diameter))
