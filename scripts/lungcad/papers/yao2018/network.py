# SPDX-License-Identifier: Apache-2.0
"""The two networks of Yao and Zhang 2018: a simplified 3D U-Net for candidates, a two-branch residual classifier.

The paper's figures 1 and 2 hold the widths and are not available; each bundle's docs report the choices made here.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.papers.layers import ResidualUnit


def convolution(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Padded convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv3d(inside, outside, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm3d(outside),
        nn.ReLU(inplace=True),
    )


class SimplifiedUNet(nn.Module):
    """Simplified 3D U-Net; its probability volume has half the resolution of its input (section 1.1.1).

    Output (i, j, k) belongs to the input voxels 2i, 2i + 1 and so on, so its centre is (2i + 0.5, 2j + 0.5, 2k + 0.5).

    Args:
        channels: widths at full resolution, with one convolution, and at the halved resolutions, with two convolutions
            on the way down and, except at the lowest, two on the way up.
        init_std: standard deviation of the Gaussian that weights start from; 0.01 in the paper.
        prior: probability of nodule that the output starts from; from 1/2 the Dice loss hardly learns, since few cells
            are nodule.

    Shape:
        - x: (B, 1, X, Y, Z) float, sides that are multiples of ``unit``, 56 in training
        - out: (B, 1, X / 2, Y / 2, Z / 2); log odds of nodule
    """

    def __init__(self, channels: Sequence[int] = (16, 16, 48, 96), init_std: float = 0.01, prior: float = 0.01):
        super().__init__()
        widths = list(channels[1:])
        self.unit = 2 ** len(widths)
        """Input voxels per voxel of the lowest level; sides of an input are multiples of it."""
        convolutions = [4] * (len(widths) - 1) + [2]
        radius = self.unit + sum(n * 2**level for level, n in enumerate(convolutions, start=1))
        self.receptive_radius = -(-radius // self.unit) * self.unit
        """Greatest distance, in voxels, of an input voxel that an output depends on; a multiple of ``unit``."""
        self.stem = convolution(1, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(convolution(before, width), convolution(width, width))
            for before, width in pairwise(channels)
        )
        upwards = widths[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose3d(below, width, 2, 2) for below, width in pairwise(upwards))
        self.merge = nn.ModuleList(
            nn.Sequential(convolution(2 * width, width), convolution(width, width)) for width in upwards[1:]
        )
        self.out = nn.Conv3d(widths[0], 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(module.weight, 0.0, init_std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.out.bias, log(prior / (1 - prior)))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Log odds (B, 1, X / 2, Y / 2, Z / 2)."""
        x = self.stem(x)
        levels: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool3d(x, 2))
            levels.append(x)
        levels.pop()
        for up, merge in zip(self.up, self.merge, strict=False):
            x = merge(torch.cat([levels.pop(), up(x)], dim=1))
        return self.out(x)


class Branch(nn.Module):
    """Residual network from one patch to the logits of non-nodule and nodule (section 1.2, figure 2).

    Args:
        channels: widths of the first convolution and of the levels behind it, each half as large as the one before.
        stride: stride of the first convolution; its kernel is 2 stride + 1.
        residual: True for residual modules, False for the same convolutions without shortcuts.

    Shape:
        - x: (B, 1, X, Y, Z)
        - out: (B, 2)
    """

    def __init__(self, channels: Sequence[int], stride: int, residual: bool = True):
        super().__init__()
        layers: list[nn.Module] = [convolution(1, channels[0], 2 * stride + 1, stride)]
        for level, (before, width) in enumerate(pairwise(channels)):
            layers += [nn.MaxPool3d(2)] if level else []
            layers += [convolution(before, width, 1)]
            layers += [ResidualUnit(width)] if residual else [convolution(width, width), convolution(width, width)]
        self.features = nn.Sequential(*layers, nn.BatchNorm3d(channels[-1]), nn.ReLU(inplace=True))
        self.classify = nn.Sequential(
            nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels[-1], 2)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2)."""
        return self.classify(self.features(x))


class MultiScaleClassifier(nn.Module):
    """Attention-based multi-scale residual classifier: a global and a local branch, mixed by a learned weight (1.2).

    The local branch looks at a cube of twice the candidate's diameter, resampled to a fixed size; the cube ends at the
    patch's border.

    Args:
        channels: widths of both branches, see :class:`Branch`.
        global_size: voxels in the middle of the patch that the global branch looks at, x, y, z.
        local_size: voxels along a side of the resampled cube.
        hidden: units of the layer between both branches' probabilities and alpha.
        local: True for both branches, False for the global one alone (the paper's single-scale networks).
        residual: True for residual modules, see :class:`Branch`.
        alpha: fixed weight of the global branch; None to learn it.

    Shape:
        - x: (B, 1, 60, 60, 60) float, cubic voxels, the candidate in the middle
        - diameter: (B,) float, diameters of the candidates in voxels; None for 10 everywhere
        - out: (B, 2); logarithms of the probabilities of non-nodule and nodule
    """

    def __init__(self, channels: Sequence[int] = (16, 24, 48, 96), global_size: Sequence[int] = (60, 60, 30),
                 local_size: int = 20, hidden: int = 8, local: bool = True, residual: bool = True,
                 alpha: float | None = None):  # fmt: skip
        super().__init__()
        self.global_size, self.local_size, self.alpha = list(global_size), local_size, 0.5 if alpha is None else alpha
        self.global_branch = Branch(channels, stride=2, residual=residual)
        self.local_branch = Branch(channels, stride=1, residual=residual) if local else None
        learned = local and alpha is None
        self.weigh = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1)) if learned else None

    def forward(self, x: Tensor, diameter: Tensor | None = None) -> Tensor:
        """Log probabilities (B, 2)."""
        global_log = F.log_softmax(self.global_branch(self.middle(x)).float(), dim=1)
        if self.local_branch is None:
            return global_log
        local_log = F.log_softmax(self.local_branch(self.attention(x, diameter)).float(), dim=1)
        if self.weigh is None:
            alpha = torch.full_like(global_log[:, :1], self.alpha)
        else:
            alpha = self.weigh(torch.cat([global_log.exp(), local_log.exp()], dim=1)).float().sigmoid()
        return torch.logaddexp(alpha.log() + global_log, (1 - alpha).log() + local_log)

    def middle(self, x: Tensor) -> Tensor:
        """Middle of the patch, (B, 1, 60, 60, 30), the input of the global branch."""
        for axis, size in enumerate(self.global_size):
            x = x.narrow(axis + 2, (x.shape[axis + 2] - size) // 2, size)
        return x

    def attention(self, x: Tensor, diameter: Tensor | None) -> Tensor:
        """Cubes of twice the diameter, resampled to (B, 1, 20, 20, 20), the input of the local branch."""
        if diameter is None:
            diameter = torch.full((x.shape[0],), 10.0, device=x.device)
        side = torch.tensor(x.shape[:1:-1], device=x.device)  # affine_grid counts the last axis first
        share = (2 * diameter.float()[:, None] / side).clamp(max=1)
        matrix = torch.cat([torch.diag_embed(share), torch.zeros_like(share)[..., None]], dim=2)
        n = self.local_size
        grid = F.affine_grid(matrix, [x.shape[0], 1, n, n, n], align_corners=False)
        return F.grid_sample(x.float(), grid, align_corners=False)
