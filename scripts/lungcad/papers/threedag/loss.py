# SPDX-License-Identifier: Apache-2.0
"""Losses of both branches of Zhang et al. 2020 (sections III.B and III.E)."""

from math import e, log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.errors import InputError

OBJECTIVES = ("focal", "ohem")
"""Losses of the proposals' classification; see :class:`RPNLoss`."""

TRAININGS = ("proposals", "joint", "alternating")
"""Trainings: of the proposals alone, of both branches at once, of each branch in turn; see :class:`BranchLoss`."""


def adaptive_focal_loss(logit: Tensor, label: Tensor, factor: float, alpha: float = 0.8, gamma: float = 5.0) -> Tensor:
    """Adaptive focal loss (equation 3).

    T log(N_TN) / N_TN times the focal losses of all negatives, plus the mean cross entropy of the positives. The focal
    loss of a negative is -(1 - alpha) p^gamma log(1 - p): as in the paper's reference 28, alpha weighs positives and
    1 - alpha negatives. N_TN is the number of negatives of probability below 1/2, but at least e: log(n) / n falls from
    there on, and is 0 at 1.

    Args:
        logit: (N,) log odds of nodule.
        label: (N,) labels: 1 = nodule, 0 = none, negative = ignored.
        factor: T, the weight of the negatives.
        alpha, gamma: parameters of the focal loss.

    Returns:
        Scalar.
    """
    positive, negative = logit[label == 1], logit[label == 0]
    focal = (1 - alpha) * negative.sigmoid() ** gamma * F.softplus(negative)
    true_negatives = max(int((negative < 0).sum()), e)
    weight = factor * log(true_negatives) / true_negatives
    return weight * focal.sum() + F.softplus(-positive).sum() / max(len(positive), 1)


def hard_example_loss(logit: Tensor, label: Tensor, ratio: int = 3, min_negatives: int = 16) -> Tensor:
    """Cross entropy with online hard example mining, the paper's alternative (table II).

    Mean over the positives plus mean over the hardest negatives.

    Args:
        logit: (N,) log odds of nodule.
        label: (N,) labels: 1 = nodule, 0 = none, negative = ignored.
        ratio: negatives kept for each positive.
        min_negatives: negatives kept at least.

    Returns:
        Scalar.
    """
    positive, negative = logit[label == 1], logit[label == 0]
    hard = negative.topk(min(max(ratio * len(positive), min_negatives), len(negative))).values
    return F.softplus(-positive).sum() / max(len(positive), 1) + F.softplus(hard).sum() / max(len(hard), 1)


class RPNLoss(nn.Module):
    """Classification of all anchors plus smooth L1 distance of the positive ones' offsets.

    T grows from ``start`` to ``end`` with the share of the training that is done (section III.B: "a linear factor
    increasing with iterations"; its values are not stated), so that it does not depend on the number of cubes in a step
    or of processes. Among the 75 000 anchors of a cube of side 128 a confident false positive weighs 3e-5 T, a nodule's
    anchor 1 / N_pos; with a few positive anchors both weights are about equal at a T of some thousands. The number of
    steps is part of the state dict.

    Args:
        objective: ``focal`` for :func:`adaptive_focal_loss`, ``ohem`` for :func:`hard_example_loss`.
        alpha, gamma: parameters of the focal loss.
        start, end: first and last value of T.
        total_steps: steps of the whole training.
        ratio, min_negatives: number of negatives in hard example mining, see :func:`hard_example_loss`.
        regression: weight of the offsets; not stated in the paper.

    Shape:
        - output: (B, N, 5); log odds, offsets
        - target: (B, N, 5); label, offsets (:func:`lungcad.papers.threedag.anchors.rpn_target`)
        - out: scalar

    Raises:
        InputError: E-CONFIG, an unknown objective.
    """

    steps: Tensor

    def __init__(self, objective: str = "focal", alpha: float = 0.8, gamma: float = 5.0, start: float = 1.0,
                 end: float = 3600.0, total_steps: int = 1800, ratio: int = 3, min_negatives: int = 16,
                 regression: float = 1.0):  # fmt: skip
        super().__init__()
        if objective not in OBJECTIVES:
            text = f"unknown objective: {objective} (expected {', '.join(OBJECTIVES)})."
            raise InputError("E-CONFIG", text)
        self.objective, self.alpha, self.gamma, self.start, self.end = objective, alpha, gamma, start, end
        self.total_steps, self.regression = max(total_steps, 1), regression
        self.ratio, self.min_negatives = ratio, min_negatives
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def factor(self) -> float:
        """Factor T of the next step; the last one without gradients, so that validations can be compared."""
        share = min(int(self.steps) / self.total_steps, 1.0) if torch.is_grad_enabled() else 1.0
        return self.start + (self.end - self.start) * share

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; counts a step if gradients are enabled."""
        logit, label = output[..., 0].flatten(), target[..., 0].flatten()
        if self.objective == "focal":
            classification = adaptive_focal_loss(logit, label, self.factor, self.alpha, self.gamma)
        else:
            classification = hard_example_loss(logit, label, self.ratio, self.min_negatives)
        self.steps += int(torch.is_grad_enabled())
        found = target[..., 0] == 1
        distance = F.smooth_l1_loss(output[found][:, 1:], target[found][:, 1:], reduction="sum")
        return classification + self.regression * distance / found.sum().clamp(min=1)


def classifier_loss(logit: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy of the classifier branch; the paper does not state it.

    Args:
        logit: (B, P) log odds of nodule.
        truth: (B, P) labels: 1 = nodule, 0 = none, negative = ignored.

    Returns:
        Scalar.
    """
    labelled = truth >= 0
    loss = F.binary_cross_entropy_with_logits(logit[labelled], truth[labelled], reduction="sum")
    return loss / labelled.sum().clamp(min=1)


class BranchLoss(nn.Module):
    """Loss of both branches: of the proposals alone, of both at once, or of each in turn (section III.E).

    Args:
        proposals: loss of the region proposals.
        training: ``proposals``, ``joint`` or ``alternating``; the last changes the branch from step to step, which the
            paper leaves open.
        weight: weight of the classifier branch; not stated in the paper.

    Shape:
        - output: outputs of :class:`~lungcad.papers.threedag.training.BranchTraining`
        - target: (B, N, 5) targets of the anchors
        - out: scalar

    Raises:
        InputError: E-CONFIG, an unknown training.
    """

    steps: Tensor

    def __init__(self, proposals: RPNLoss, training: str = "joint", weight: float = 1.0):
        super().__init__()
        if training not in TRAININGS:
            raise InputError("E-CONFIG", f"unknown training: {training} (expected {', '.join(TRAININGS)}).")
        self.proposals, self.branches, self.weight = proposals, training, weight
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, output: dict[str, Tensor], target: Tensor) -> Tensor:
        """Scalar loss; counts a step if gradients are enabled."""
        turn = int(self.steps) % 2
        self.steps += int(torch.is_grad_enabled())
        if self.branches == "proposals" or (self.branches == "alternating" and turn == 0):
            return self.proposals(output["proposals"], target)
        classification = self.weight * classifier_loss(output["classification"], output["truth"])
        if self.branches == "alternating":
            return classification
        return self.proposals(output["proposals"], target) + classification
