# SPDX-License-Identifier: Apache-2.0
from math import log

import pytest
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.jnsc.loss import JNSCLoss, PseudoLabels, pseudo_gradient, segmentation_loss, soft_cross_entropy

SOFT = torch.tensor([0.25, 0.75, 0.5, torch.nan, 1.0])
MARGINAL = torch.tensor([True, True, True, True, False])


def labels(kind: str = "pseudo", alpha: float = 10.0, rate: float = 0.01) -> PseudoLabels:
    return PseudoLabels(SOFT, MARGINAL, kind, alpha, rate)


def regularised(probability: Tensor, label: Tensor, soft: Tensor, alpha: float) -> Tensor:
    """Equation 4, of two classes, as it is printed."""
    return -(label * probability.log() + (1 - label) * (1 - probability).log() - alpha * (label - soft) ** 2).sum()


def test_gradient_is_that_of_equation_4() -> None:
    p, label, soft = torch.tensor([0.7, 0.2]), torch.tensor([0.6, 0.5], requires_grad=True), torch.tensor([0.75, 0.25])
    regularised(p, label, soft, 10.0).backward()
    torch.testing.assert_close(pseudo_gradient(p, label.detach(), soft, 10.0), label.grad)


def test_cross_entropy_of_nodules_alone_is_equation_2_with_the_gradient_of_equation_5() -> None:
    p, label = torch.tensor([0.7, 0.2], requires_grad=True), torch.tensor([0.6, 0.5])
    logits = torch.stack([(1 - p).log(), p.log(), torch.full_like(p, -60.0)], dim=1)
    loss = soft_cross_entropy(logits, torch.stack([1 - label, label, 0 * label], dim=1), torch.ones(3)).sum()
    torch.testing.assert_close(loss, regularised(p, label, label, 10.0))
    loss.backward()
    torch.testing.assert_close(p.grad, (1 - label) / (1 - p.detach()) - label / p.detach())


def test_a_label_moves_by_the_rate_and_towards_a_confirming_network() -> None:
    ours = labels()
    ours.record(torch.tensor([1, 1, 4]), torch.tensor([0.8, 0.6, 0.1]))
    ours.next_epoch()
    # from the soft label alone the network counts: 0.75 - 0.01 log(0.3 / 0.7), the mean of 0.8 and 0.6 being 0.7
    assert ours.label[1].item() == pytest.approx(0.75 - 0.01 * log(0.3 / 0.7))
    assert ours.label[1] > 0.75
    assert ours.label[[0, 2, 4]].tolist() == [0.25, 0.5, 1.0]  # not seen, not seen, not marginal
    before = ours.label[1].item()
    ours.next_epoch()  # nothing was seen since
    assert ours.label[1].item() == before


def test_labels_settle_where_network_and_readers_balance_and_stay_within_bounds() -> None:
    for alpha, expected in ((10.0, 0.25 + log(0.9 / 0.1) / 20), (0.1, 1.0)):  # slope 0; or beyond the bound
        ours = labels(alpha=alpha, rate=0.05)
        for _ in range(100):
            ours.record(torch.tensor([0]), torch.tensor([0.9]))
            ours.next_epoch()
        assert ours.label[0].item() == pytest.approx(expected, abs=1e-4)


def test_hard_and_soft_labels_stay_and_hard_ones_leave_the_uncertain_out() -> None:
    for kind, expected in (("hard", [0.0, 1.0, torch.nan, torch.nan, 1.0]), ("soft", SOFT.tolist())):
        ours = labels(kind)
        ours.record(torch.arange(3), torch.full((3,), 0.9))
        ours.next_epoch()
        assert ours.label.tolist() == pytest.approx(expected, nan_ok=True)
        assert ours.penalty(torch.arange(5)).eq(0).all()


def test_the_penalty_is_that_of_equation_4() -> None:
    ours = labels()
    ours.label[0] = 0.35
    torch.testing.assert_close(ours.penalty(torch.tensor([0, 1, 4])), torch.tensor([10 * 0.1**2, 0.0, 0.0]))


def test_pseudo_labels_resume_exactly() -> None:
    first, again = labels(), labels()
    first.record(torch.tensor([0]), torch.tensor([0.9]))
    first.next_epoch()
    first.record(torch.tensor([1]), torch.tensor([0.3]))
    again.load_state_dict(first.state_dict())
    for ours in (first, again):
        ours.next_epoch()
    assert torch.equal(first.label.nan_to_num(), again.label.nan_to_num())
    assert first.label[1] < 0.75


@pytest.mark.parametrize(("kind", "rate"), [("firm", 0.01), ("pseudo", 0.2)])
def test_refuses_unknown_kinds_and_rates_that_overshoot(kind: str, rate: float) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        labels(kind, rate=rate)


def test_segmentation_loss_by_hand() -> None:
    logit = torch.tensor([log(3.0), log(3.0), -log(3.0), 9.0]).view(1, 1, 4, 1, 1)  # 3/4, 3/4, 1/4
    target = torch.tensor([2, 0, 0, -1]).view(1, 1, 4, 1, 1)
    expected = -(0.99 * log(0.75) + 0.01 * log(0.25) + 0.01 * log(0.75)) / 1.01
    assert segmentation_loss(logit, target).item() == pytest.approx(expected)
    assert segmentation_loss(logit, torch.full_like(target, -1)).item() == 0


def test_classification_loss_by_hand() -> None:
    loss = JNSCLoss(labels("soft"), class_weights=(0.5, 0.3, 0.2))
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]).log()
    value = loss.classification_loss(logits, torch.tensor([1, -1, 3]))  # the last was never rated
    nodule = -(0.5 * 0.25 * log(0.2) + 0.3 * 0.75 * log(0.5))
    assert value.item() == pytest.approx((nodule - 0.2 * log(0.8)) / 2)
    assert loss.labels.count.tolist() == [0, 1, 0, 0, 0]
    assert loss.labels.total[1].item() == pytest.approx(0.5 / 0.7)  # of malignant, given a nodule


@pytest.mark.parametrize("training", ["segmentation", "joint", "classification"])
def test_stages_train_what_they_say(training: str) -> None:
    segmentation = torch.randn(1, 1, 4, 4, 4, requires_grad=True)
    classes = torch.randn(2, 3, requires_grad=True)
    loss = JNSCLoss(labels(), training)
    output = {"segmentation": segmentation, "classes": classes, "sample": torch.tensor([0, -1])}
    loss(output, torch.randint(0, 2, segmentation.shape)).backward()
    assert (segmentation.grad is None) == (training == "classification")
    assert (classes.grad is None) == (training == "segmentation")
    with torch.no_grad():
        before = loss.labels.count.clone()
        loss(output, torch.zeros_like(segmentation))
        assert torch.equal(loss.labels.count, before)  # evaluation leaves no trace


def test_the_loss_hands_its_epochs_and_its_state_to_the_labels() -> None:
    loss = JNSCLoss(labels())
    loss.classification_loss(torch.tensor([[0.0, 3.0, 0.0]], requires_grad=True), torch.tensor([0]))
    assert any(name.startswith("labels.") for name in loss.state_dict())
    loss.next_epoch()
    assert loss.labels.label[0] > 0.25
    assert loss.classification_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item() == 0
    with pytest.raises(InputError, match="unknown training"):
        JNSCLoss(labels(), "both")
