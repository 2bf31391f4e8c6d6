# SPDX-License-Identifier: Apache-2.0
from math import log

import pytest
import torch
from torch import Tensor

from lungcad.papers.dou2017.loss import HybridLoss, OnlineSampleFilteringLoss


def logits_with_loss(*odds: float) -> Tensor:
    """Logits of nodules (label 1) whose cross entropy is log(1 + odds)."""
    return torch.tensor([[log(a), 0.0] for a in odds], requires_grad=True)


def kept(logits: Tensor) -> list[int]:
    """Samples that took part in the step."""
    return logits.grad.abs().sum(dim=1).nonzero().flatten().tolist()


def test_worst_half_and_half_of_the_rest_take_part_others_have_no_gradient() -> None:
    # losses log 2, log 16, log 8/7 (four times), log 4, log 8: the worst half are samples 0, 1, 6, 7
    logits = logits_with_loss(1, 15, 1 / 7, 1 / 7, 1 / 7, 1 / 7, 3, 7)
    loss = OnlineSampleFilteringLoss()(logits, torch.ones(8, dtype=torch.long))
    loss.backward()
    # (log 2 + log 4 + log 8 + log 16 + 2 log 8/7) / 6 = (10 log 2 + 2 log 8/7) / 6
    assert loss.item() == pytest.approx((10 * log(2) + 2 * log(8 / 7)) / 6, rel=1e-5)
    assert {0, 1, 6, 7} <= set(kept(logits))
    assert len(kept(logits)) == 6


def test_without_filtering_all_samples_take_part() -> None:  # Table 2's FCN
    logits = logits_with_loss(1, 15, 1 / 7, 3)
    loss = OnlineSampleFilteringLoss(hard_share=1.0)(logits, torch.ones(4))
    loss.backward()
    # (log 2 + log 16 + log 8/7 + log 4) / 4 = (10 log 2 - log 7) / 4
    assert loss.item() == pytest.approx((10 * log(2) - log(7)) / 4, rel=1e-5)
    assert kept(logits) == [0, 1, 2, 3]


def test_easy_samples_are_drawn_anew_in_every_step() -> None:
    drawn = set()
    for _ in range(40):
        logits = logits_with_loss(15, 14, 13, 12, 0.1, 0.2, 0.3, 0.4)
        OnlineSampleFilteringLoss()(logits, torch.ones(8)).backward()
        drawn.add(tuple(kept(logits)[4:]))
    assert {sample for pair in drawn for sample in pair} == {4, 5, 6, 7}  # each has its turn, also the easiest
    assert len(drawn) == 6  # 4 choose 2


def test_without_easy_samples_it_is_the_mean_of_the_worst_half() -> None:
    loss = OnlineSampleFilteringLoss(easy_share=0.0)(logits_with_loss(1, 3, 0.5, 0.1), torch.ones(4))
    assert loss.item() == pytest.approx((log(2) + log(4)) / 2, rel=1e-5)


def test_the_score_volume_of_one_output_per_patch_is_taken_as_it_is() -> None:
    logits = logits_with_loss(1, 3, 7, 15)
    everything = OnlineSampleFilteringLoss(hard_share=1.0)
    loss = everything(logits.reshape(4, 2, 1, 1, 1), torch.ones(4, 1, dtype=torch.long))
    assert loss.item() == pytest.approx(10 / 4 * log(2), rel=1e-5)
    assert everything(logits, torch.zeros(4)).item() == pytest.approx(  # as non-nodules: log(1 + 1 / a)
        sum(log(1 + 1 / a) for a in (1, 3, 7, 15)) / 4, rel=1e-5
    )


def test_hybrid_loss_by_hand() -> None:
    output = torch.tensor([
        [0.0, 0.0, 0.5, -2.0, 0.0, 1.0],  # nodule: class loss log 2
        [0.0, log(3.0), 9.0, 9.0, 9.0, 9.0],  # no nodule: class loss log 4, its place counts nothing
    ])  # fmt: skip
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    # equation 3: 0.5 0.5^2 + (2 - 0.5) + 0 + (1 - 0.5) = 2.125; equation 1: (log 2 + log 4) / 2
    expected = 1.5 * log(2) + 0.5 / 1 * 2.125
    assert HybridLoss()(output, target).item() == pytest.approx(expected, rel=1e-5)
    assert HybridLoss(weight=2.0)(output, target).item() == pytest.approx(1.5 * log(2) + 2 * 2.125, rel=1e-5)


def test_hybrid_loss_divides_the_places_by_the_number_of_nodules() -> None:
    output = torch.zeros(4, 6)
    target = torch.zeros(4, 5)
    target[:2, 0] = 1
    target[0, 1], target[1, 4] = 1.5, -3.0  # dist 1.0 and 2.5
    assert HybridLoss()(output, target).item() == pytest.approx(log(2) + 0.5 * (1.0 + 2.5) / 2, rel=1e-5)


def test_hybrid_loss_without_a_nodule_in_the_batch_is_the_class_loss_alone() -> None:
    output = torch.tensor([[0.0, 0.0, 5.0, 5.0, 5.0, 5.0]] * 2, requires_grad=True)
    loss = HybridLoss()(output, torch.zeros(2, 5))
    loss.backward()
    assert loss.item() == pytest.approx(log(2), rel=1e-5)
    assert not output.grad[:, 2:].any()
    # d/dlogit of the mean of two cross entropies at p = 1/2: (p - 1[class 0]) / 2
    torch.testing.assert_close(output.grad[:, :2], torch.tensor([[-0.25, 0.25]] * 2))
