# SPDX-License-Identifier: Apache-2.0
"""Loss of MTMR-Net, Liu et al., IEEE TMI 2020."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MTMRLoss(nn.Module):
    """Classification, attribute regression and margin ranking (section II, equations 1 to 5).

    L = L_cls + lambda L_reg + beta L_rank: cross entropy of malignancy; squared distance of the attribute scores,
    summed over the attributes; and for pairs (i, j) the hinge max(0, gamma - sign (p_i - p_j)) / 2, with sign 1 if
    nodule i is at least as malignant as j, else -1. The batch's first half is paired with its second half: the two
    branches of the Siamese network, which share their weights. Equation 5's last term, eta times the squared weights,
    is the optimiser's: a weight decay of 2 eta adds the same gradient.

    Equal truths count as "at least" (equation 4): the first nodule of the pair is pushed up by a margin, which over
    many random pairs draws their predictions together.

    Equation 3 as printed takes the sign from the predictions and the difference from the truth, so it has no
    gradient; section II.B describes the loss as it is here.

    Args:
        regression: lambda; 1 in the paper.
        ranking: beta; 0.5 in the paper.
        margin: gamma; 0.1 in the paper.

    Shape:
        - output: (B, 9); logits of malignancy and of eight attributes
        - target: (B, 9); mean malignancy, malignant above 0.5 and without a class at 0.5, and attributes, all in [0, 1]
        - out: scalar
    """

    def __init__(self, regression: float = 1.0, ranking: float = 0.5, margin: float = 0.1):
        super().__init__()
        self.regression, self.ranking, self.margin = regression, ranking, margin

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted sum of the three losses."""
        logit, malignancy = output[:, 0], target[:, 0]
        labelled = malignancy != 0.5  # a mean malignancy of 3 is neither benign nor malignant
        malignant = (malignancy[labelled] > 0.5).float()
        entropy = F.binary_cross_entropy_with_logits(logit[labelled], malignant, reduction="sum")
        classification = entropy / labelled.sum().clamp(min=1)
        distance = (output[:, 1:].sigmoid() - target[:, 1:]).square().sum(dim=1).mean()
        return classification + self.regression * distance + self.ranking * self._rank(logit.sigmoid(), malignancy)

    def _rank(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Ranking loss (equation 3), the mean over the pairs; the last sample of an odd batch has no partner."""
        pairs = len(predicted) // 2
        (p_i, p_j), (t_i, t_j) = predicted[: 2 * pairs].view(2, -1), true[: 2 * pairs].view(2, -1)
        sign = torch.where(t_i >= t_j, 1.0, -1.0)
        return (self.margin - sign * (p_i - p_j)).clamp(min=0).sum() / (2 * max(pairs, 1))
