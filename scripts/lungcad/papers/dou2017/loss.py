# SPDX-License-Identifier: Apache-2.0
"""Losses of Dou et al., MICCAI 2017."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class OnlineSampleFilteringLoss(nn.Module):
    """Cross entropy over the informative samples of a batch (Dou 2017, section 2.1).

    Samples are sorted by loss; the worst half stays, a random half of the others stays, and the remaining samples take
    no part in the step.

    Args:
        hard_share: share of the batch, highest loss first, that is always kept.
        easy_share: share of the remaining samples that is kept at random.

    Shape:
        - logits: (B, 2) or (B, 2, 1, 1, 1)
        - label: (B,) or (B, 1) long, 1 = nodule
        - out: scalar, mean over the samples kept
    """

    def __init__(self, hard_share: float = 0.5, easy_share: float = 0.5):
        super().__init__()
        self.hard_share = hard_share
        self.easy_share = easy_share

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Mean cross entropy of the kept samples."""
        loss = F.cross_entropy(logits.flatten(1), label.flatten().long(), reduction="none")
        order = loss.detach().argsort(descending=True)
        hard, others = order.tensor_split([round(self.hard_share * len(order))])
        easy = others[torch.randperm(len(others), device=others.device)[: round(self.easy_share * len(others))]]
        return loss[torch.cat([hard, easy])].mean()


class HybridLoss(nn.Module):
    """Classification plus localisation loss of the residual net (Dou 2017, equations 1, 3 and 4).

    L = L_cls + lambda / N_reg * sum over nodules and over x, y, z, d of dist(T - T_hat), where dist is the robust L1
    loss, 0.5 a^2 for |a| < 1 and |a| - 0.5 beyond. Equation 4's last term, beta times the squared weights, is the
    optimiser's: a weight decay of 2 beta adds the same gradient.

    Args:
        weight: lambda, the weight of the localisation loss.

    Shape:
        - output: (B, 6); two logits, T_hat
        - target: (B, 5); 1 = nodule, then T (ignored for other samples)
        - out: scalar
    """

    def __init__(self, weight: float = 0.5):
        super().__init__()
        self.weight = weight

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Sum of the classification loss and the weighted localisation loss."""
        label = target[:, 0].long()
        classification = F.cross_entropy(output[:, :2], label)
        nodule = label == 1
        distance = F.smooth_l1_loss(output[nodule, 2:], target[nodule, 1:], reduction="sum")
        return classification + self.weight * distance / nodule.sum().clamp(min=1)
