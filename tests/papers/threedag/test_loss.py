# SPDX-License-Identifier: Apache-2.0
from math import log

import pytest
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.threedag.loss import RPNLoss, adaptive_focal_loss, hard_example_loss

POSITIVE, NEGATIVE = (0.8, 0.3), (0.6, 0.1, 0.2, 0.3, 0.4)
LABEL = torch.tensor([1, 1, 0, 0, 0, 0, 0])


def logit(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).logit()


def test_equation_3_by_hand() -> None:
    value = adaptive_focal_loss(logit(*POSITIVE, *NEGATIVE), LABEL, factor=10.0)
    focal = sum(-0.2 * p**5 * log(1 - p) for p in NEGATIVE)
    cross_entropy = -(log(0.8) + log(0.3)) / 2
    assert value.item() == pytest.approx(10 * log(4) / 4 * focal + cross_entropy)  # four of five are true negatives


def test_without_focus_it_is_the_sum_of_cross_entropies() -> None:
    value = adaptive_focal_loss(logit(*POSITIVE, *NEGATIVE), LABEL, factor=4 / log(4), alpha=0.0, gamma=0.0)
    expected = -sum(log(1 - p) for p in NEGATIVE) - (log(0.8) + log(0.3)) / 2
    assert value.item() == pytest.approx(expected)


def test_ignored_anchors_have_no_part() -> None:
    known = adaptive_focal_loss(logit(*POSITIVE, *NEGATIVE), LABEL, 10.0)
    label = torch.cat([LABEL, torch.tensor([-1, -1])])
    torch.testing.assert_close(adaptive_focal_loss(logit(*POSITIVE, *NEGATIVE, 0.9, 0.1), label, 10.0), known)
    hard = hard_example_loss(logit(*POSITIVE, *NEGATIVE), LABEL)
    torch.testing.assert_close(hard_example_loss(logit(*POSITIVE, *NEGATIVE, 0.9, 0.1), label), hard)


@pytest.mark.parametrize("loss", [lambda x, y: adaptive_focal_loss(x, y, 10.0), hard_example_loss])
@pytest.mark.parametrize("label", [[1, 1, 1], [0, 0, 0], [-1, -1, -1]])
def test_one_kind_alone_or_none_has_a_finite_loss(loss, label: list[int]) -> None:
    score = logit(0.7, 0.8, 0.9).requires_grad_()
    value = loss(score, torch.tensor(label))
    value.backward()
    assert value.isfinite()
    # also where every negative is taken for a nodule
    assert bool(score.grad.abs().sum() > 0) == (label != [-1, -1, -1])


def test_extreme_logits_stay_finite() -> None:
    score = torch.tensor([-300.0, 300.0, 300.0, -300.0], requires_grad=True)
    value = adaptive_focal_loss(score, torch.tensor([1, 1, 0, 0]), 1.0)
    value.backward()
    assert value.isfinite()
    assert score.grad.isfinite().all()


def test_hard_examples_by_hand() -> None:
    # two positives, and for each of them one negative: 0.6 and 0.4
    value = hard_example_loss(logit(*POSITIVE, *NEGATIVE), LABEL, ratio=1, min_negatives=1)
    assert value.item() == pytest.approx(-(log(0.8) + log(0.3)) / 2 - (log(0.4) + log(0.6)) / 2)
    alone = hard_example_loss(logit(*NEGATIVE), LABEL[2:], ratio=1, min_negatives=3)  # 0.6, 0.4, 0.3
    assert alone.item() == pytest.approx(-(log(0.4) + log(0.6) + log(0.7)) / 3)


def test_only_hard_negatives_learn_from_mining_and_all_from_the_focal_loss() -> None:
    hard, every = (logit(*POSITIVE, *NEGATIVE).requires_grad_() for _ in range(2))
    hard_example_loss(hard, LABEL, ratio=1, min_negatives=1).backward()
    adaptive_focal_loss(every, LABEL, 1.0).backward()
    assert (hard.grad != 0).tolist() == [True, True, True, False, False, False, True]
    assert (every.grad != 0).all()


def sample() -> tuple[Tensor, Tensor]:
    """Two images of four anchors; one positive in each."""
    target = torch.zeros(2, 4, 5)
    target[0, 1] = torch.tensor([1, 0.5, 0, -2, 0])
    target[1, 3] = torch.tensor([1, 0, 0, 0, 0.25])
    target[1, 0, 0] = -1
    output = torch.zeros(2, 4, 5)
    output[..., 0] = logit(0.2)
    output[target[..., 0] == 1, 0] = logit(0.7)
    output[0, 0, 1:] = 100.0  # offsets of negatives do not count
    return output, target


def test_offsets_add_their_smooth_l1_distance_by_hand() -> None:
    output, target = sample()
    distance = (0.5 * 0.5**2 + (2 - 0.5) + 0.5 * 0.25**2) / 2  # summed over the offsets, mean over the positives
    focal = 5 * -0.2 * 0.2**5 * log(0.8)
    classification = 3 * log(5) / 5 * focal - log(0.7)
    assert RPNLoss(start=3.0)(output, target).item() == pytest.approx(classification + distance)
    assert RPNLoss(start=3.0, regression=2.0)(output, target).item() == pytest.approx(classification + 2 * distance)
    mined = RPNLoss("ohem")(output, target).item()
    assert mined == pytest.approx(-log(0.7) - log(0.8) + distance)


def test_t_grows_with_the_share_of_the_training_and_survives_a_restart() -> None:
    output, target = sample()
    loss = RPNLoss(start=2.0, end=4.0, total_steps=4)
    for _ in range(3):
        loss(output, target)
    with torch.no_grad():
        loss(output, target)
    assert loss.factor == 2.0 + 3 * 0.5
    again = RPNLoss(start=2.0, end=4.0, total_steps=4)
    again.load_state_dict(loss.state_dict())
    assert again.factor == loss.factor
    for _ in range(4):
        again(output, target)
    assert again.factor == 4.0  # and no farther


def test_t_shifts_weight_from_nodules_to_background() -> None:
    output, target = sample()
    values = [RPNLoss(start=start)(output, target).item() for start in (0.0, 10.0, 20.0)]
    assert values[1] > values[0]
    assert values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-3)


def test_unknown_objective_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown objective: dice .expected focal, ohem"):
        RPNLoss("dice")
