# SPDX-License-Identifier: Apache-2.0
from math import log, sqrt

import pytest
import torch
from torch import Tensor, nn

from lungcad.papers.mtmrnet.loss import MTMRLoss
from lungcad.papers.mtmrnet.network import Bottleneck, MTMRNet, parameter_groups, resnet_features


@pytest.fixture(scope="module")
def network() -> MTMRNet:
    """With weights that let an image neither vanish nor explode on its way through fifty layers."""
    torch.manual_seed(0)
    made = MTMRNet()
    for layer in made.features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, Bottleneck):
            nn.init.constant_(layer.residual[-1][1].weight, 0.25)
    return made.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64)


def test_sizes_of_table_1() -> None:
    with torch.device("meta"):  # sizes alone, nothing is computed
        network, x = MTMRNet(), torch.zeros(1, 3, 224, 224)
    sizes = []
    for layer in network.features:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    conv, _, pool, a, *b, average, flat = sizes
    assert (conv, pool, a) == ((64, 112, 112), (64, 56, 56), (256, 56, 56))
    assert b == [(512, 28, 28), (1024, 14, 14), (2048, 7, 7)]  # "2018" in the paper is a misprint
    assert (average, flat) == ((2048, 1, 1), (2048,))
    assert [len(stage) for stage in network.features[3:7]] == [3, 4, 6, 3]
    for stage in network.features[3:7]:
        for unit in stage:
            kernels = [layer.kernel_size for layer in unit.residual.modules() if isinstance(layer, nn.Conv2d)]
            assert kernels == [(1, 1), (3, 3), (1, 1)]


def test_number_of_parameters_is_that_of_resnet_50_and_the_heads() -> None:
    with torch.device("meta"):
        network = MTMRNet()
    features = sum(p.numel() for p in network.features.parameters())
    # ResNet-50 as published has 25557032, of which 2048 * 1000 + 1000 are its classes'
    assert features == 25557032 - 2049000
    # 2048 * 256 + 256, 256 * 8 + 8, (2048 + 256) * 1 + 1
    assert sum(p.numel() for p in network.parameters()) - features == 524544 + 2056 + 2305


@pytest.mark.parametrize(("stage", "channels", "step"), [(3, 64, 1), (4, 256, 2), (5, 512, 2), (6, 1024, 2)])
def test_the_first_1x1_convolution_takes_the_stride(network: MTMRNet, stage: int, channels: int, step: int) -> None:
    x = torch.rand(1, channels, 8, 8, requires_grad=True)
    network.features[stage](x).square().sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[::step, ::step] = True  # with the stride in the 3x3 convolution, as in later versions, all would be seen
    assert torch.equal(seen, expected)


@torch.no_grad()
def test_one_tensor_of_a_logit_and_eight_attributes(network: MTMRNet, images: Tensor) -> None:
    output = network(images)
    assert output.shape == (2, 9)
    features = network.features(images)
    attribute_features = network.attribute_features(features)
    assert features.shape[1] + attribute_features.shape[1] == 2304
    torch.testing.assert_close(output[:, 1:], network.regress(attribute_features))
    both = torch.cat([features, attribute_features], dim=1)
    torch.testing.assert_close(output[:, :1], network.classify(both))
    assert (output[0] - output[1]).abs().min() > 1e-5  # each of them looks at the image


@torch.no_grad()
def test_malignancy_depends_on_what_the_attributes_are_told_from(network: MTMRNet, images: Tensor) -> None:
    before = network(images)
    hook = network.attribute_features.register_forward_hook(lambda module, given, output: torch.zeros_like(output))
    without = network(images)
    hook.remove()
    assert (before[:, 0] - without[:, 0]).abs().min() > 1e-3
    torch.testing.assert_close(without[:, 1:], network.regress.bias.expand(2, 8))


def test_classification_teaches_the_regressions_first_layer_but_not_its_second(
    network: MTMRNet, images: Tensor
) -> None:
    network.zero_grad()
    network(images)[:, 0].sum().backward()
    assert network.attribute_features[0].weight.grad.any()
    assert network.features[0][0].weight.grad.any()
    assert network.regress.weight.grad is None or not network.regress.weight.grad.any()
    network.zero_grad()
    network(images)[:, 1:].sum().backward()
    assert network.regress.weight.grad.any()
    assert network.features[0][0].weight.grad.any()
    assert network.classify.weight.grad is None or not network.classify.weight.grad.any()


@torch.no_grad()
def test_torchscript_equals_eager(network: MTMRNet, images: Tensor) -> None:
    torch.testing.assert_close(torch.jit.script(network)(images), network(images))


def test_heads_start_as_glorot_and_bengio_say() -> None:
    network = MTMRNet(attribute_features=64)
    for layer, fan in ((network.attribute_features[0], 2048 + 64), (network.regress, 64 + 8),
                       (network.classify, 2048 + 64 + 1)):  # fmt: skip
        bound = sqrt(6 / fan)
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


@torch.no_grad()
def test_features_start_from_given_weights(network: MTMRNet, images: Tensor) -> None:
    state = network.features.state_dict()
    other = MTMRNet(feature_weights=state).eval()
    torch.testing.assert_close(other.features(images), network.features(images))
    del state["0.0.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.0\.weight"):
        MTMRNet(feature_weights=state)


def test_every_parameter_learns_once_features_at_one_rate_and_heads_at_another(network: MTMRNet) -> None:
    slow, fast = parameter_groups(network, features=3e-5, heads=3e-3)
    assert (slow["lr"], fast["lr"]) == (3e-5, 3e-3)
    assert [id(p) for p in slow["params"]] == [id(p) for p in network.features.parameters()]
    heads = [*network.attribute_features.parameters(), *network.regress.parameters(), *network.classify.parameters()]
    assert sorted(map(id, fast["params"])) == sorted(map(id, heads))
    assert len(slow["params"]) + len(fast["params"]) == len(list(network.parameters()))


def test_a_small_network_for_tests_elsewhere() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert resnet_features(4, units=(1, 2)).eval()(images).shape == (2, 32)  # 4 times 4 times 2
    assert resnet_features(4).eval()(images).shape == (2, 128)  # 4 times 4 times 2^3
    assert MTMRNet(4, attribute_features=5).eval()(images).shape == (2, 9)


def outputs(logits: list[float] | Tensor, attributes: list[list[float]] | None = None) -> Tensor:
    """(B, 9) as the network gives them, attributes with a score of 0 unless told."""
    given = targets(logits, attributes)
    return torch.cat([given[:, :1], given[:, 1:].logit(eps=1e-7)], dim=1)


def targets(malignancy: list[float] | Tensor, attributes: list[list[float]] | None = None) -> Tensor:
    """(B, 9), attributes 0 unless told."""
    malignancy = torch.as_tensor(malignancy)
    rest = torch.zeros(len(malignancy), 8) if attributes is None else torch.tensor(attributes)
    return torch.cat([malignancy[:, None], rest], dim=1)


def of_probabilities(*probabilities: float) -> Tensor:
    return outputs(torch.tensor(probabilities).logit())


def ranking(output: Tensor, target: Tensor, margin: float = 0.1) -> float:
    """The third term alone."""
    with_it, without = MTMRLoss(ranking=1.0, margin=margin), MTMRLoss(ranking=0.0)
    return (with_it(output, target) - without(output, target)).item()


def test_classification_by_hand() -> None:
    loss = MTMRLoss(regression=0.0, ranking=0.0)
    # malignant at p = 1/2: log 2; benign at p = 3/4: -log(1 - 3/4) = log 4
    assert loss(outputs([0.0, log(3)]), targets([0.75, 0.25])).item() == pytest.approx((log(2) + log(4)) / 2)
    # malignant at p = 3/4: log 4/3; a mean of exactly 0.5 has no class
    assert loss(outputs([log(3), log(3)]), targets([0.501, 0.5])).item() == pytest.approx(log(4 / 3))


def test_regression_by_hand() -> None:
    target = targets([1.0, 1.0], [[0.0] * 8, [0.0] * 7 + [1.0]])
    output = outputs([0.0, 0.0], [[0.5, 0.25] + [0.0] * 6, [0.0] * 8])
    # 0.5^2 + 0.25^2 = 0.3125 and 1^2: summed over the attributes, mean over the samples; classification log 2
    assert MTMRLoss(1.0, 0.0)(output, target).item() == pytest.approx(log(2) + (0.3125 + 1) / 2)


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ((0.8, 0.2), (0.9, 0.1), 0.0),  # right and farther apart than the margin
        ((0.2, 0.8), (0.1, 0.9), 0.0),
        ((0.55, 0.5), (0.9, 0.1), 0.025),  # right, but within the margin: (0.1 - 0.05) / 2
        ((0.5, 0.5), (0.9, 0.1), 0.05),  # the same: 0.1 / 2
        ((0.5, 0.5), (0.1, 0.9), 0.05),
        ((0.3, 0.5), (0.9, 0.1), 0.15),  # wrong by 0.2: (0.1 + 0.2) / 2
        ((0.5, 0.3), (0.1, 0.9), 0.15),
        ((0.5, 0.3), (0.5, 0.5), 0.0),  # a tie is "at least as malignant"
        ((0.3, 0.5), (0.5, 0.5), 0.15),
        ((0.5, 0.3), (0.51, 0.52), 0.15),  # continuous scores, not classes: both are malignant
    ],
)
def test_ranking_of_a_pair_by_hand(predicted: tuple[float, ...], true: tuple[float, ...], expected: float) -> None:
    assert ranking(of_probabilities(*predicted), targets(list(true))) == pytest.approx(expected, abs=1e-6)


def test_the_first_half_is_paired_with_the_second_and_an_odd_one_out_left_alone() -> None:
    predicted, true = [0.8, 0.3, 0.2, 0.5], [0.9, 0.9, 0.1, 0.1]
    # pairs (0.8, 0.2): 0; (0.3, 0.5): 0.1 + 0.2; over twice their number. Neighbours would give 0 and 0.4: 0.1
    assert ranking(of_probabilities(*predicted), targets(true)) == pytest.approx(0.3 / 4, abs=1e-6)
    odd = ranking(of_probabilities(*predicted, 0.9), targets([*true, 0.0]))
    assert odd == pytest.approx(0.3 / 4, abs=1e-6)
    assert ranking(of_probabilities(0.9), targets([0.0])) == 0


def test_margin_of_the_ranking() -> None:
    pair = of_probabilities(0.8, 0.2), targets([0.9, 0.1])
    assert ranking(*pair, margin=0.7) == pytest.approx((0.7 - 0.6) / 2, abs=1e-6)


def test_the_three_terms_are_weighed_and_summed() -> None:
    output = outputs(torch.tensor([0.25, 0.5]).logit(), [[0.5] + [0.0] * 7, [0.0] * 8])
    target = targets([1.0, 0.0])
    # -log 0.25 and -log 0.5: 1.5 log 2; 0.5^2 / 2; wrong by 0.25: (0.1 + 0.25) / 2
    classification, regression, rank = 1.5 * log(2), 0.125, 0.175
    paper = classification + 1 * regression + 0.5 * rank
    assert MTMRLoss()(output, target).item() == pytest.approx(paper)
    other = classification + 2 * regression + 3 * (0.2 + 0.25) / 2
    assert MTMRLoss(2.0, 3.0, 0.2)(output, target).item() == pytest.approx(other)


def test_ranking_pulls_a_wrong_pair_into_order_and_leaves_a_right_one() -> None:
    target = targets([0.9, 0.9, 0.1, 0.1])
    gradients = []
    for weight in (1.0, 0.0):
        output = of_probabilities(0.3, 0.8, 0.5, 0.2).requires_grad_()
        MTMRLoss(ranking=weight)(output, target).backward()
        gradients.append(output.grad[:, 0])
    # d/dlogit of (0.1 - (p_i - p_j)) / 4: -p_i (1 - p_i) / 4 = -0.21 / 4, and 0.25 / 4; descent goes the other way
    torch.testing.assert_close(gradients[0] - gradients[1], torch.tensor([-0.0525, 0.0, 0.0625, 0.0]))


def test_weights_of_0_switch_terms_off() -> None:
    output = torch.randn(4, 9, requires_grad=True)
    target = torch.rand(4, 9)
    MTMRLoss(regression=0.0)(output, target).backward()
    assert not output.grad[:, 1:].any()
    alone, order = MTMRLoss(ranking=0.0), [0, 2, 1, 3]  # without pairs the order is nothing
    torch.testing.assert_close(alone(output[order], target[order]), alone(output, target))
    assert abs(MTMRLoss()(output[order], target[order]) - MTMRLoss()(output, target)) > 1e-3
