# SPDX-License-Identifier: Apache-2.0
"""Labels of malignancy that training may correct, where readers were few and unsure (Liu and Chan 2020, IV.D)."""

import torch
from torch import Tensor, distributed, nn

from lungcad.errors import InputError

KINDS = ("hard", "soft", "pseudo")
"""What a nodule's label is: 0 or 1; equation 3's soft label; the soft label, of marginal nodules re-estimated."""


def pseudo_gradient(probability: Tensor, label: Tensor, soft: Tensor, alpha: float) -> Tensor:
    """Derivative of the regularised cross entropy by the pseudo-label (equation 6).

    Args:
        probability: (N,) of malignant, as the network sees it.
        label: (N,) pseudo-labels.
        soft: (N,) soft labels of equation 3.
        alpha: weight of the regularisation.

    Returns:
        (N,)
    """
    return ((1 - probability) / probability).log() + 2 * alpha * (label - soft)


class PseudoLabels(nn.Module):
    """One label per nodule; those of marginal nodules follow the network, once an epoch (equations 4 and 6 to 8).

    What the network says of a nodule is the mean over its regions of the epoch. Everything is in the state dict, so
    that a training goes on exactly.

    Args:
        soft: (S,) labels of equation 3; NaN where nobody rated the nodule, such nodules have no class.
        marginal: (S,) bool.
        kind: of :data:`KINDS`. Hard labels of 1/2, neither benign nor malignant, become NaN.
        alpha: weight of the regularisation; 10 in the paper.
        rate: r2 of equation 7, not stated in the paper. Steps of more than 1 / alpha overshoot.

    Raises:
        InputError: E-CONFIG, an unknown kind, or a rate that overshoots.
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
        """The last term of equation 4 for nodules (R,): alpha (p - T)^2, of marginal ones; 0 of others."""
        free = self.marginal[sample] & (self.kind == "pseudo")
        return torch.where(free, self.alpha * (self.label[sample] - self.soft[sample]) ** 2, 0.0)

    @torch.no_grad()
    def record(self, sample: Tensor, probability: Tensor) -> None:
        """Remember what the network says of nodules.

        Args:
            sample: (R,) long, which nodules.
            probability: (R,) of malignant.
        """
        self.total.index_add_(0, sample, probability.float())
        self.count.index_add_(0, sample, torch.ones_like(probability, dtype=torch.float32))

    @torch.no_grad()
    def next_epoch(self) -> None:
        """A step of plain gradient descent of every marginal label seen, kept within 0 and 1 (equations 7 and 8)."""
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
