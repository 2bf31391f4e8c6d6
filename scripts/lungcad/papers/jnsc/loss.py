# SPDX-License-Identifier: Apache-2.0
"""Losses of Liu and Chan 2020: segmentation (equation 9), classification (equations 2 and 4), both (equation 10).

The classification's labels of malignancy are part of the loss: :class:`PseudoLabels` updates them between epochs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from lungcad.errors import InputError

KINDS = ("hard", "soft", "pseudo")
"""Kinds of labels: 0 or 1; equation 3's soft label; the soft label, re-estimated for marginal nodules."""

TRAININGS = ("segmentation", "joint", "classification")
"""Trainings: of the segmentation alone, of both, or of the classification alone on the true regions (table 5)."""


def pseudo_gradient(probability: Tensor, label: Tensor, soft: Tensor, alpha: float) -> Tensor:
    """Derivative of the regularised cross entropy by the pseudo-label (equation 6).

    Args:
        probability: (N,) probabilities of malignant by the network.
        label: (N,) pseudo-labels.
        soft: (N,) soft labels of equation 3.
        alpha: weight of the regularisation.

    Returns:
        Derivatives (N,).
    """
    return ((1 - probability) / probability).log() + 2 * alpha * (label - soft)


class PseudoLabels(nn.Module):
    """Malignancy labels of S nodules; those of marginal nodules are updated once an epoch (equations 4 and 6 to 8).

    The network's probability for a nodule is the mean over its regions in the epoch. Everything is in the state dict,
    so that a resumed training goes on exactly.

    Args:
        soft: (S,) labels of equation 3; NaN for a nodule that no reader rated, which has no class.
        marginal: (S,) bool, True for a nodule of uncertain label.
        kind: one of :data:`KINDS`. Hard labels of 1/2, neither benign nor malignant, become NaN.
        alpha: weight of the regularisation; 10 in the paper.
        rate: step size r2 of equation 7, not stated in the paper. Beyond 1 / (2 alpha) labels overshoot, beyond
            1 / alpha they diverge.

    Raises:
        InputError: E-CONFIG, an unknown kind, or a rate with which the labels diverge.
    """

    soft: Tensor
    label: Tensor
    marginal: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, soft: Tensor, marginal: Tensor, kind: str = "pseudo", alpha: float = 10.0, rate: float = 0.01):
        super().__init__()
        if kind not in KINDS:
            raise InputError("E-CONFIG", f"unknown labels: {kind} (expected {', '.join(KINDS)}).")
        if not 0 <= rate * alpha <= 1:
            raise InputError("E-CONFIG", f"rate {rate} of the pseudo-labels (expected at most 1 / alpha: {1 / alpha}).")
        self.kind, self.alpha, self.rate = kind, alpha, rate
        self.register_buffer("soft", soft.float())
        self.register_buffer("marginal", marginal.bool())
        hard = torch.where(
            self.soft == 0.5, torch.nan, (self.soft > 0.5).float().where(self.soft.isfinite(), self.soft)
        )
        self.register_buffer("label", (hard if kind == "hard" else self.soft).clone())
        self.register_buffer("total", torch.zeros_like(self.soft))
        self.register_buffer("count", torch.zeros_like(self.soft))

    def penalty(self, sample: Tensor) -> Tensor:
        """Last term of equation 4 for nodules (R,): alpha (p - T)^2 for marginal ones, 0 for others."""
        free = self.marginal[sample] & (self.kind == "pseudo")
        return torch.where(free, self.alpha * (self.label[sample] - self.soft[sample]) ** 2, 0.0)

    @torch.no_grad()
    def record(self, sample: Tensor, probability: Tensor) -> None:
        """Record the network's probabilities for nodules.

        Args:
            sample: (R,) long, rows of the nodules.
            probability: (R,) probabilities of malignant.
        """
        self.total.index_add_(0, sample, probability.float())
        self.count.index_add_(0, sample, torch.ones_like(probability, dtype=torch.float32))

    @torch.no_grad()
    def next_epoch(self) -> None:
        """Update the marginal labels seen by a step of plain gradient descent, kept within 0 and 1 (equations 7, 8)."""
        if distributed.is_initialized():
            distributed.all_reduce(self.total)
            distributed.all_reduce(self.count)
        if self.kind == "pseudo":
            seen = self.marginal & (self.count > 0) & self.soft.isfinite()
            probability = (self.total[seen] / self.count[seen]).clamp(1e-6, 1 - 1e-6)
            slope = pseudo_gradient(probability, self.label[seen], self.soft[seen], self.alpha)
            self.label[seen] = (self.label[seen] - self.rate * slope).clamp(0, 1)
        self.total.zero_()
        self.count.zero_()


def segmentation_loss(logit: Tensor, target: Tensor, nodule_weight: float = 0.99) -> Tensor:
    """Voxel-wise cross entropy (equation 9), balanced by weights.

    Section IV.F gives 0.01 to nodule and 0.99 to other voxels, and as its reason that other voxels are a hundred times
    as many and would dominate. That reason asks for the opposite weights, which are used here. The paper sums over
    voxels; here it is the weighted mean, as PyTorch's weighted cross entropy.

    Args:
        logit: (B, 1, X, Y, Z) log odds of nodule.
        target: (B, 1, X, Y, Z) labels: positive = nodule, 0 = none, negative = ignored.
        nodule_weight: weight of nodule voxels; the others weigh 1 minus this.

    Returns:
        Scalar.
    """
    nodule = (target > 0).float()
    weight = torch.where(target > 0, nodule_weight, 1 - nodule_weight) * (target >= 0)
    loss = F.binary_cross_entropy_with_logits(logit, nodule, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)


def soft_cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor) -> Tensor:
    """Cross entropy (R,) of each region: equation 2 for three classes.

    Args:
        logits: (R, 3) logits of benign, malignant, non-nodule.
        target: (R, 3) probabilities of the classes: (1 - T, T, 0) for a nodule, (0, 0, 1) for a false positive.
        class_weights: (3,) weights of the classes.
    """
    return -(class_weights * target * F.log_softmax(logits, dim=1)).sum(dim=1)


class JNSCLoss(nn.Module):
    """Loss of a training (equation 10); records the network's probabilities for every nodule, for the pseudo-labels.

    Args:
        labels: malignancy labels of the nodules; part of the state.
        training: one of :data:`TRAININGS`.
        nodule_weight: weight of nodule voxels, see :func:`segmentation_loss`.
        class_weights: weights of benign, malignant, non-nodule; 0.55, 0.35 and 0.1 in section IV.F.

    Shape:
        - output: outputs of :class:`~lungcad.papers.jnsc.training.JNSCTraining`
        - target: (B, 1, X, Y, Z), see :func:`segmentation_loss`
        - out: scalar

    Raises:
        InputError: E-CONFIG, an unknown training.
    """

    class_weights: Tensor

    def __init__(self, labels: PseudoLabels, training: str = "joint", nodule_weight: float = 0.99,
                 class_weights: Sequence[float] = (0.55, 0.35, 0.1)):  # fmt: skip
        super().__init__()
        if training not in TRAININGS:
            raise InputError("E-CONFIG", f"unknown training: {training} (expected {', '.join(TRAININGS)}).")
        self.labels, self.stage, self.nodule_weight = labels, training, nodule_weight
        self.register_buffer("class_weights", torch.tensor(list(class_weights), dtype=torch.float32), persistent=False)

    def next_epoch(self) -> None:
        """Update the pseudo-labels by the probabilities of the last epoch."""
        self.labels.next_epoch()

    def forward(self, output: dict[str, Tensor], target: Tensor) -> Tensor:
        """Sum of the losses of the branches that are trained."""
        parts = []
        if self.stage != "classification":
            parts.append(segmentation_loss(output["segmentation"], target, self.nodule_weight))
        if self.stage != "segmentation":
            parts.append(self.classification_loss(output["classes"], output["sample"]))
        return torch.stack(parts).sum()

    def classification_loss(self, logits: Tensor, sample: Tensor) -> Tensor:
        """Mean of L_ce and of its variant with pseudo-labels over the regions of a batch.

        Args:
            logits: (R, 3) logits of benign, malignant, non-nodule.
            sample: (R,) long, row of the nodule, or negative for a false positive.

        Returns:
            Scalar, 0 without any region.
        """
        nodule, number = sample >= 0, sample.clamp(min=0)
        malignant = self.labels.label.to(logits.device)[number]
        labelled = ~nodule | malignant.isfinite()
        logits, nodule, number, malignant = logits[labelled], nodule[labelled], number[labelled], malignant[labelled]
        if torch.is_grad_enabled():
            probability = (logits[:, 1] - logits[:, 0]).detach().sigmoid()
            self.labels.record(number[nodule], probability[nodule])
        of_nodule = torch.stack([1 - malignant, malignant, torch.zeros_like(malignant)], dim=1)
        target = torch.where(nodule[:, None], of_nodule, of_nodule.new_tensor([0.0, 0.0, 1.0]))
        loss = soft_cross_entropy(logits, target, self.class_weights).sum()
        loss = loss + self.labels.penalty(number[nodule]).sum()
        return loss / max(len(logits), 1)
