# SPDX-License-Identifier: Apache-2.0
"""The two networks of Dou et al., MICCAI 2017: a 3D FCN for candidates, a hybrid-loss residual net to reduce them.

Figure 1 gives the kernels; the widths of C1 to C3 and the residual net's layers behind C3 are not stated and are
arguments here; each bundle's docs report the choice.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.papers.layers import ResidualUnit

HEAD_KERNEL = (5, 5, 4)
"""C4's kernel: together with C1 to C3 it makes the receptive field 30 x 30 x 10."""


def early_layers(channels: Sequence[int]) -> nn.Sequential:
    """Layers C1 to C3, which both networks share: valid 5x5x3 convolutions, a 2x2x1 max-pool behind the first."""
    first, second, third = channels
    return nn.Sequential(
        nn.Conv3d(1, first, (5, 5, 3)),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((2, 2, 1)),
        nn.Conv3d(first, second, (5, 5, 3)),
        nn.ReLU(inplace=True),
        nn.Conv3d(second, third, (5, 5, 3)),
        nn.ReLU(inplace=True),
    )


class CandidateFCN(nn.Module):
    """3D fully convolutional network: C1 to C5, 30 x 30 x 10 voxels in, one pair of logits out (section 2.1).

    On a larger volume it gives a score volume; output (i, j, k) sees the input voxels 2i..2i+29, 2j..2j+29,
    k..k+9, so its centre is (2i + 14.5, 2j + 14.5, k + 4.5). See :mod:`lungcad.papers.peaks`.

    Args:
        channels: widths of C1, C2, C3.
        head_channels: width of C4; 250 in the paper.
        init_std: standard deviation of the Gaussian that weights start from; 0.01 in the paper.

    Shape:
        - x: (B, 1, X, Y, Z) float, at least 30 x 30 x 10
        - out: (B, 2, (X - 28) // 2, (Y - 28) // 2, Z - 9); logits of non-nodule and nodule
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 48), head_channels: int = 250, init_std: float = 0.01):
        super().__init__()
        self.early = early_layers(channels)
        self.c4 = nn.Conv3d(channels[-1], head_channels, HEAD_KERNEL)
        self.c5 = nn.Conv3d(head_channels, 2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, 0.0, init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2, X', Y', Z')."""
        return self.c5(torch.relu(self.c4(self.early(x))))

    @torch.jit.unused
    def head_at(self, features: Tensor, index: Tensor, chunk: int = 8192) -> Tensor:
        """Logits of C4 and C5 at the given outputs only, equal to the dense result there.

        C4 costs four fifths of the network, and most of a lung is air: gathering the windows of the outputs that
        matter and multiplying them with the kernel as one matrix saves most of the time.

        Args:
            features: (1, C, X', Y', Z') from ``early``.
            index: (N, 3) long, the outputs to compute.
            chunk: number of outputs gathered at a time; bounds the memory to chunk x 100 C values.

        Returns:
            (N, 2) logits.
        """
        last = features[0].permute(1, 2, 3, 0).contiguous()  # (X', Y', Z', C)
        windows = last.unfold(0, 5, 1).unfold(1, 5, 1).unfold(2, 4, 1)  # (X, Y, Z, C, 5, 5, 4), a view
        windows = windows.permute(0, 1, 2, 4, 5, 6, 3)  # C last: a gathered window is made of contiguous runs
        kernel = self.c4.weight.permute(0, 2, 3, 4, 1).flatten(1)  # (out, 100 C)
        pointwise = self.c5.weight.flatten(1)  # (2, out)
        logits = [
            F.linear(torch.relu(F.linear(windows[i, j, k].flatten(1), kernel, self.c4.bias)), pointwise, self.c5.bias)
            for i, j, k in (part.unbind(1) for part in index.split(chunk))
        ]
        return torch.cat(logits).float()


class HybridLossResNet(nn.Module):
    """Hybrid-loss residual network on 60 x 60 x 24 patches: class logits and refined place and size (section 2.2).

    Args:
        channels: widths of C1 to C3, equal to the FCN's, whose weights initialise them.
        branch_channels: width of the residual units of the two branches.
        early_weights: state dict of a :class:`CandidateFCN` to take C1 to C3 from.
        residual: False for the same layers without shortcuts, Table 2's DeepNet.
        localise: False for a regression branch that learns from the shared features but does not change them, so that
            the classification is that of Table 2's ResNet, trained without the localisation loss.

    Shape:
        - x: (B, 1, 60, 60, 24) float
        - out: (B, 6); logits of non-nodule and nodule, then T_x, T_y, T_z, T_d of equation 2
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 48), branch_channels: int = 64,
                 early_weights: dict[str, Tensor] | None = None, residual: bool = True,
                 localise: bool = True):  # fmt: skip
        super().__init__()
        width = channels[-1]
        self.localise = localise
        self.early = early_layers(channels)  # 60x60x24 -> 20x20x18
        self.shared = nn.Sequential(
            nn.MaxPool3d(2),  # 10x10x9
            ResidualUnit(width, residual),
            ResidualUnit(width, residual),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, branch_channels, 3, stride=2, padding=1),  # 5x5x5
        )
        self.classify = nn.Sequential(
            ResidualUnit(branch_channels, residual), nn.BatchNorm3d(branch_channels), nn.ReLU(),
            nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(branch_channels, 2),
        )  # fmt: skip
        self.regress = nn.Sequential(
            ResidualUnit(branch_channels, residual), nn.BatchNorm3d(branch_channels), nn.ReLU(),
            nn.Conv3d(branch_channels, 16, 1), nn.Flatten(), nn.Linear(16 * 125, 64), nn.ReLU(), nn.Linear(64, 4),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if early_weights is not None:
            prefix = "early."
            self.early.load_state_dict(
                {name.removeprefix(prefix): value for name, value in early_weights.items() if name.startswith(prefix)}
            )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, 6): two logits and the four regression outputs."""
        features = self.shared(self.early(x))
        local = features if self.localise else features.detach()
        return torch.cat([self.classify(features), self.regress(local)], dim=1)
