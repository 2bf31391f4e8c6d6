# SPDX-License-Identifier: Apache-2.0
"""Losses of Yao and Zhang 2018, over blocks of voxels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.errors import InputError

OBJECTIVES = ("dice", "cross_entropy", "hybrid")
"""Losses that a training can ask for; see :class:`BlockLoss`."""


def dice_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Dice loss of each block, from -1 (perfect) to 0 (section 1.1.1).

    Args:
        logit: (B, N) log odds of nodule.
        target: (B, N) labels of the voxels: 1 = nodule, 0 = none, negative = ignored.

    Returns:
        Losses (B,).
    """
    labelled = (target >= 0).float()
    truth, probability = target * labelled, logit.sigmoid() * labelled
    total = truth.sum(dim=1) + probability.sum(dim=1)
    return -2 * (truth * probability).sum(dim=1) / total.clamp(min=1e-6)


def cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """Cross entropy L_ce of each block (section 1.1.2); arguments and result as in :func:`dice_loss`."""
    labelled = (target >= 0).float()
    loss = F.binary_cross_entropy_with_logits(logit, target.clamp(min=0), reduction="none")
    return (loss * labelled).sum(dim=1) / labelled.sum(dim=1).clamp(min=1)


class BlockLoss(nn.Module):
    """Mean loss of the blocks of a batch.

    Args:
        objective: ``dice`` for pre-training, on blocks with nodules; ``hybrid`` for joint fine-tuning: Dice where a
            block has a nodule, 2 sigmoid(L_ce) - 2 where it has none; ``cross_entropy`` for Table 1's first row.

    Shape:
        - logit: (B, 1, X, Y, Z)
        - target: the same; 1 = nodule, 0 = none, negative = ignored
        - out: scalar

    Raises:
        InputError: E-CONFIG, an unknown objective.
    """

    def __init__(self, objective: str = "dice"):
        super().__init__()
        if objective not in OBJECTIVES:
            text = f"unknown objective: {objective} (expected {', '.join(OBJECTIVES)})."
            raise InputError("E-CONFIG", text)
        self.objective = objective

    def forward(self, logit: Tensor, target: Tensor) -> Tensor:
        """Mean of the objective over the blocks."""
        logit, target = logit.flatten(1), target.flatten(1).float()
        if self.objective == "cross_entropy":
            return cross_entropy(logit, target).mean()
        positive = dice_loss(logit, target)
        if self.objective == "dice":
            return positive.mean()
        negative = 2 * cross_entropy(logit, target).sigmoid() - 2
        return torch.where((target > 0).any(dim=1), positive, negative).mean()
