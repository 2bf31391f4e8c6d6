# SPDX-License-Identifier: Apache-2.0
"""MTMR-Net of Liu et al., IEEE TMI 2020: ResNet-50 with a regression and a classification head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-3
"""Epsilon of batch normalisation in the public ImageNet weights that the features start from; PyTorch's is 1e-5."""


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size at stride 1, and batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS),
    )


class Bottleneck(nn.Module):
    """Bottleneck unit relu(shortcut(x) + F(x)); F are convolutions of 1x1, 3x3 and 1x1 (Table I).

    Args:
        inputs: number of input channels.
        width: number of inner channels; the unit has 4 width output channels.
        stride: stride of the first convolution.

    Shape:
        - x: (B, inputs, H, W)
        - out: (B, 4 width, H / stride, W / stride)
    """

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.residual = nn.Sequential(
            _convolution(inputs, width, 1, stride), nn.ReLU(inplace=True),
            _convolution(width, width, 3), nn.ReLU(inplace=True),
            _convolution(width, outputs, 1),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 4 width, H / stride, W / stride)."""
        return torch.relu(self.shortcut(x) + self.residual(x))


def resnet_features(width: int = 64, units: Sequence[int] = (3, 4, 6, 3)) -> nn.Sequential:
    """Feature extraction module of Table I: images (B, 3, H, W) to features (B, 32 width).

    Stages after the first halve the size in the first convolution of their first unit. With 3, 4, 6 and 3 units it is
    ResNet-50 in its first version (He et al., CVPR 2016); later versions take the stride in the 3x3 convolution.

    Args:
        width: width of the first layer.
        units: number of units of each stage.
    """
    layers = [_convolution(3, width, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]
    inputs = width
    for stage, count in enumerate(units):
        inner, stride = width * 2**stage, 1 if stage == 0 else 2
        layers.append(nn.Sequential(
            Bottleneck(inputs, inner, stride), *(Bottleneck(4 * inner, inner, 1) for _ in range(count - 1))
        ))  # fmt: skip
        inputs = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class MTMRNet(nn.Module):
    """One branch of MTMR-Net: malignancy and eight attributes of the nodule in a slice (section II.A, Table I).

    The attribute features between the two layers of the regression head go to the classification head too. Training
    sends pairs of slices through the same weights, see :class:`~lungcad.papers.mtmrnet.loss.MTMRLoss`.

    Args:
        width: width of the first layer; 64 in ResNet-50, which has 32 times as many features.
        attribute_features: width of the regression head.
        feature_weights: state dict of :func:`resnet_features` to start from, such as ImageNet's.

    Shape:
        - x: (B, 3, H, W) float, ImageNet's channels and scale; 224 x 224 in the paper
        - out: (B, 9); logits: of malignancy, then of LIDC's eight attributes, whose sigmoids are scores from 0 to 1
    """

    def __init__(self, width: int = 64, attribute_features: int = 256,
                 feature_weights: dict[str, Tensor] | None = None):  # fmt: skip
        super().__init__()
        self.features = resnet_features(width)
        hidden = nn.Linear(32 * width, attribute_features)
        self.attribute_features = nn.Sequential(hidden, nn.ReLU(inplace=True))
        self.regress = nn.Linear(attribute_features, 8)
        self.classify = nn.Linear(32 * width + attribute_features, 1)
        for layer in (hidden, self.regress, self.classify):
            nn.init.xavier_uniform_(layer.weight)  # section III.B
            nn.init.zeros_(layer.bias)
        if feature_weights is not None:
            self.features.load_state_dict(feature_weights)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 9) of malignancy and of eight attributes."""
        features = self.features(x)  # (B, 2048)
        attribute_features = self.attribute_features(features)  # (B, 256)
        malignancy = self.classify(torch.cat([features, attribute_features], dim=1))
        return torch.cat([malignancy, self.regress(attribute_features)], dim=1)


def parameter_groups(network: nn.Module, features: float, heads: float) -> list[dict[str, object]]:
    """Parameter groups for an optimiser: fine-tuned features and new heads, with a learning rate each (III.B.1).

    Args:
        network: a :class:`MTMRNet`.
        features: learning rate of the features.
        heads: learning rate of both heads.
    """
    slow = {id(parameter) for parameter in network.features.parameters()}  # type: ignore[union-attr]
    groups = [[p for p in network.parameters() if (id(p) in slow) == is_slow] for is_slow in (True, False)]
    return [{"params": group, "lr": rate} for group, rate in zip(groups, (features, heads), strict=True)]
