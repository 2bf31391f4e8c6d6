# SPDX-License-Identifier: Apache-2.0
"""MONAI inferers: a fully convolutional network over the lungs alone, and a classifier over candidates' crops."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor

from lungcad.console import bar
from lungcad.cpu import autocast, channels_last, channels_last_network, tune_allocator


def lung_box(image: Tensor, lungs: Tensor, context: int, unit: int) -> tuple[Tensor, list[int]]:
    """The part of an image that the lungs are in.

    Args:
        image: (1, 1, X, Y, Z); its last voxels go on beyond it where the box needs that.
        lungs: (X, Y, Z) bool, not empty.
        context: voxels around the lungs.
        unit: sides are multiples of it.

    Returns:
        Box (1, 1, A, B, C) and its first voxel, even along each axis.
    """
    place = lungs.nonzero()
    low = [max(0, side - context) // 2 * 2 for side in place.amin(dim=0).tolist()]
    high = [min(side + 1 + context, n) for side, n in zip(place.amax(dim=0).tolist(), lungs.shape, strict=True)]
    high = [a - (a - b) // unit * unit for a, b in zip(low, high, strict=True)]
    pad = [max(0, end - side) for end, side in zip(high, image.shape[2:], strict=True)]
    image = torch.nn.functional.pad(image, (0, pad[2], 0, pad[1], 0, pad[0]), mode="replicate")
    return image[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]], low


class CropInferer(Inferer):
    """A network over many crops, some at a time.

    Args:
        batch_size: crops at a time.
        precision: see :func:`~lungcad.cpu.fast_dtype`.
        desc: name on the progress bar.
        mirror: sets of axes (0, 1, 2 for x, y, z, or 0, 1 for rows, columns); outputs are averaged over the crops
            mirrored along each set.
        odd: the three output channels that are components along x, y, z and change sign with a mirrored axis.
    """

    def __init__(self, batch_size: int = 8, precision: str = "auto", desc: str = "reduce",
                 mirror: Sequence[Sequence[int]] = ((),), odd: Sequence[int] = ()):  # fmt: skip
        super().__init__()
        self.batch_size, self.mirror, self.odd = batch_size, mirror or ((),), odd
        self.precision, self.desc = precision, desc

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: torch.nn.Module, *args: Any, diameters: Tensor | None = None,
                 **kwargs: Any) -> Tensor:  # fmt: skip
        """Outputs (N, ...) float32 of crops (N, C, X, Y, Z) or (N, C, H, W); an empty tensor where there is no crop.

        Args:
            inputs: crops.
            network: in evaluation mode.
            diameters: (N,) in voxels, for a network that asks for them.
        """
        tune_allocator()
        network = channels_last_network(network)
        outputs = []
        for first in bar(range(0, len(inputs), self.batch_size), self.desc, "batch"):
            some = slice(first, first + self.batch_size)
            more = [] if diameters is None else [diameters[some]]
            with autocast(inputs.device, self.precision):
                each = [self._mirrored(inputs[some], network, axes, more) for axes in self.mirror]
            outputs.append(torch.stack(each).mean(dim=0))
        return torch.cat(outputs) if outputs else inputs.new_zeros(0)

    def _mirrored(
        self, batch: Tensor, network: torch.nn.Module, axes: Sequence[int], more: Sequence[Tensor]
    ) -> Tensor:
        """Outputs, float32, of the batch mirrored along ``axes``, as they are for the batch itself."""
        flipped = batch.flip([axis + 2 for axis in axes]) if axes else batch
        output = network(channels_last(flipped), *more).float()
        if self.odd:
            output[:, [self.odd[axis] for axis in axes]] *= -1
        return output


class PrecisionInferer(SimpleInferer):
    """The network as it is, for training: in the device's fast data type, outputs in float32 for the loss.

    Args:
        precision: see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, precision: str = "auto"):
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: Tensor, network: torch.nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs (B, ...) float32 of a batch (B, C, X, Y, Z) or (B, C, H, W); more arguments go to the network."""
        with autocast(inputs.device, self.precision):
            return network(channels_last(inputs), *args).float()
