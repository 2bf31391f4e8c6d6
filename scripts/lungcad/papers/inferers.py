# SPDX-License-Identifier: Apache-2.0
"""MONAI inferers that papers share: a network over crops, a network in training, and the box around the lungs."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor

from lungcad.console import bar
from lungcad.cpu import autocast, channels_last, tune_allocator
from lungcad.fast_network import make_fast
from lungcad.papers.tiles import tight_box


def lung_box(image: Tensor, lungs: Tensor, context: int, unit: int) -> tuple[Tensor, list[int]]:
    """Box of an image around the lungs.

    Args:
        image: (1, 1, X, Y, Z) image; its last voxels are repeated where the box extends beyond it.
        lungs: (X, Y, Z) bool, the lung mask, not empty.
        context: voxels around the lungs.
        unit: number that the box's sides are multiples of, in voxels.

    Returns:
        Box (1, 1, A, B, C) and its first voxel, even along each axis.
    """
    tight = tight_box(lungs.cpu().numpy())
    assert tight is not None
    low = [max(0, side.start - context) // 2 * 2 for side in tight]
    high = [min(side.stop + context, n) for side, n in zip(tight, lungs.shape, strict=True)]
    high = [a - (a - b) // unit * unit for a, b in zip(low, high, strict=True)]
    pad = [max(0, end - side) for end, side in zip(high, image.shape[2:], strict=True)]
    box = image[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return torch.nn.functional.pad(box, (0, pad[2], 0, pad[1], 0, pad[0]), mode="replicate"), low


class CropInferer(Inferer):
    """Inference of a network on many crops, batch by batch.

    Args:
        batch_size: number of crops per batch.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
        desc: name on the progress bar.
        mirror: sets of axes (0, 1, 2 for x, y, z, or 0, 1 for rows, columns); outputs, mirrored back where they are
            volumes or images, are averaged over the crops mirrored along each set.
        vector_channels: three output channels that are components along x, y, z and change sign with a mirrored axis.
        mirror_from: least probability of nodule by the first set, the softmax of the first two outputs, of a crop that
            is mirrored along the others too; below, the average would not change what is reported. None: every crop.
    """

    def __init__(self, batch_size: int = 8, precision: str = "auto", desc: str = "reduce",
                 mirror: Sequence[Sequence[int]] = ((),), vector_channels: Sequence[int] = (),
                 mirror_from: float | None = None):  # fmt: skip
        super().__init__()
        self.batch_size, self.mirror, self.vector_channels = batch_size, mirror or ((),), vector_channels
        self.precision, self.desc, self.mirror_from = precision, desc, mirror_from

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: torch.nn.Module, *args: Any, diameters: Tensor | None = None,
                 **kwargs: Any) -> Tensor:  # fmt: skip
        """Outputs (N, ...) float32 of crops (N, C, X, Y, Z) or (N, C, H, W); an empty tensor where there is no crop.

        Args:
            inputs: (N, C, X, Y, Z) or (N, C, H, W) crops.
            network: network in evaluation mode.
            diameters: (N,) diameters of the candidates in voxels, for a network that takes them as second argument.
        """
        tune_allocator()
        first, *others = self.mirror
        outputs = self._outputs(inputs, network, first, diameters)
        if not others or not len(outputs):
            return outputs
        likely = torch.arange(len(outputs), device=outputs.device)
        if self.mirror_from is not None:
            likely = likely[outputs[:, :2].softmax(dim=1)[:, 1] >= self.mirror_from]
        crops, sizes = inputs[likely], None if diameters is None else diameters[likely]
        if len(crops):
            mirrored = [self._outputs(crops, network, axes, sizes) for axes in others]
            outputs[likely] = torch.stack([outputs[likely], *mirrored]).mean(dim=0)
        return outputs

    def _outputs(
        self, crops: Tensor, network: torch.nn.Module, axes: Sequence[int], diameters: Tensor | None
    ) -> Tensor:
        """Outputs (N, ...) float32 of crops mirrored along ``axes``, mirrored back; batch by batch."""
        fast = make_fast(network, crops.device, self.precision)
        outputs = []
        for first in bar(range(0, len(crops), self.batch_size), self.desc, "batch"):
            batch = slice(first, first + self.batch_size)
            flipped = crops[batch].flip([axis + 2 for axis in axes]) if axes else crops[batch]
            outputs.append(fast(flipped, *([] if diameters is None else [diameters[batch]])).float())
        output = torch.cat(outputs) if outputs else crops.new_zeros(0)
        if axes and output.ndim == crops.ndim:
            output = output.flip([axis + 2 for axis in axes])
        if self.vector_channels and len(output):
            output[:, [self.vector_channels[axis] for axis in axes]] *= -1
        return output


class PrecisionInferer(SimpleInferer):
    """Plain forward pass for training: in the device's fast data type, outputs in float32 for the loss.

    Args:
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, precision: str = "auto"):
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: Tensor, network: torch.nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs (B, ...) float32 of a batch (B, C, X, Y, Z) or (B, C, H, W); ``args`` go to the network too."""
        with autocast(inputs.device, self.precision):
            return network(channels_last(inputs), *args).float()
