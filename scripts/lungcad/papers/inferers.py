# SPDX-License-Identifier: Apache-2.0
"""MONAI inferers: a fully convolutional network over the lungs alone, and a classifier over candidates' crops."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor
from torch.fx.experimental.optimization import fuse

from lungcad.console import bar
from lungcad.cpu import autocast, channels_last, channels_last_network, tune_allocator
from lungcad.networks.dou2017 import CandidateFCN
from lungcad.networks.yao2018 import SimplifiedUNet
from lungcad.score_volume import IndexMap, wanted_outputs


class LungFCNInferer(Inferer):
    """Volume-to-volume inference with the candidate FCN, on tiles that hold lung (Dou 2017, section 2.1).

    Valid convolutions make a tile's outputs equal to the whole volume's. The early layers run densely over a tile;
    the head, four fifths of the cost, only at the outputs that a nodule can be centred on.

    Args:
        gate: of :func:`~lungcad.score_volume.wanted_outputs`, on the image's scale; None computes every output.
        tile: outputs per tile.
        precision: see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, gate: float | None, tile: Sequence[int] = (48, 48, 40), precision: str = "auto"):
        super().__init__()
        self.gate, self.tile, self.precision = gate, tuple(tile), precision
        self.index_map = IndexMap()

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: CandidateFCN, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds of a nodule, -inf where nothing was computed.

        Args:
            inputs: (1, 1, X, Y, Z) on the image's scale.
            network: in evaluation mode.
            lungs: (X, Y, Z) bool.

        Returns:
            (1, 1, X', Y', Z') float32.
        """
        tune_allocator()
        channels_last_network(network)
        image = inputs[0, 0]
        wanted = wanted_outputs(image, lungs, self.index_map, -torch.inf if self.gate is None else self.gate)
        score = torch.full(wanted.shape, -torch.inf, device=image.device)
        corners = product(*(range(0, n, t) for n, t in zip(wanted.shape, self.tile, strict=True)))
        tiles = [tuple(slice(a, a + n) for a, n in zip(corner, self.tile, strict=True)) for corner in corners]
        tiles = [tile for tile in tiles if wanted[tile].any()]
        for tile in bar(tiles, "detect", "tile"):
            with autocast(inputs.device, self.precision):
                _score_tile(image, network, tile, wanted, score, self.index_map)
        return score[None, None]


def _score_tile(image: Tensor, network: CandidateFCN, tile: tuple[slice, ...], wanted: Tensor, score: Tensor,
                index_map: IndexMap) -> None:  # fmt: skip
    """Fill ``score`` where ``wanted`` within the tile, whose bounding box shrinks to what is wanted."""
    index = wanted[tile].nonzero()
    low, high = index.amin(dim=0), index.amax(dim=0) + 1
    first = [int(a) + side.start for a, side in zip(low, tile, strict=True)]
    see = index_map.inputs(tuple(int(b - a) for a, b in zip(low, high, strict=True)))
    block = image[tuple(slice(f * s, f * s + n) for f, s, n in zip(first, index_map.stride, see, strict=True))]
    block = channels_last(block[None, None])
    logits = network.head_at(network.early(block), index - low)
    here = index + torch.tensor([side.start for side in tile], device=index.device)
    score[tuple(here.t())] = logits[:, 1] - logits[:, 0]


class LungUNetInferer(Inferer):
    """Volume-to-volume inference with a U-Net on the lungs' box, slab by slab (Yao 2018, section 1.1.2).

    Slabs overlap by the network's reach and start at multiples of its unit, so their outputs equal the whole box's.

    Args:
        context: voxels around the lungs' box that the network sees.
        slab: slices at a time; bounds the memory.
        precision: see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, context: int = 16, slab: int = 320, precision: str = "auto"):
        super().__init__()
        self.context, self.slab, self.precision = context, slab, precision

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: SimplifiedUNet, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds of a nodule, -inf outside the box.

        Args:
            inputs: (1, 1, X, Y, Z) on the image's scale.
            network: in evaluation mode.
            lungs: (X, Y, Z) bool, not empty.

        Returns:
            (1, 1, X // 2, Y // 2, Z // 2) float32.
        """
        tune_allocator()
        unit, reach = network.unit, network.reach
        folded = channels_last_network(fuse(network))  # batch normalisations into kernels: a third faster here
        score = inputs.new_full([side // 2 for side in inputs.shape[2:]], -torch.inf)
        box, low = lung_box(inputs, lungs, self.context, unit)
        depth = box.shape[-1]
        step = max(self.slab // unit, 1) * unit
        for start in bar(range(0, depth, step), "detect", "slab"):
            end = min(start + step, depth)
            first, last = max(0, start - reach), min(depth, end + reach)
            with autocast(inputs.device, self.precision):
                output = folded(channels_last(box[..., first:last]))[0, 0].float()
            inner = output[..., (start - first) // 2 : (end - first) // 2]
            x, y, z = low[0] // 2, low[1] // 2, (low[2] + start) // 2
            target = score[x : x + inner.shape[0], y : y + inner.shape[1], z : z + inner.shape[2]]
            target.copy_(inner[tuple(slice(side) for side in target.shape)])
        return score[None, None]


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
