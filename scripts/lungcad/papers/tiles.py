# SPDX-License-Identifier: Apache-2.0
"""Networks over the part of a volume that is not background, in tiles; the outputs equal those for the whole volume.

Where a network sees nothing but background its output is known: that of a small block of background, faces, edges and
corners included. So only boxes around the rest are computed (:func:`boxes_around`), each with what its outputs see.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lungcad.console import bar
from lungcad.cpu import channels_last

Box = tuple[slice, ...]

GAIN = 0.85
"""Share of a box's work that a cut into two must stay below, to pay for one more call of the network."""


def tiled_output(
    network: Callable[[Tensor], Tensor], image: Tensor, needed: Tensor, background: Tensor, stride: int, radius: int,
    max_voxels: int,
) -> Tensor:  # fmt: skip
    """Output of a network where it is needed, tile by tile, and that of background elsewhere.

    Args:
        network: network with ``stride`` times smaller outputs.
        image: (1, C, X, Y, Z) input; its sides are multiples of the stride.
        needed: (X / stride, Y / stride, Z / stride) bool, False where a cell sees background only.
        background: (1, C', n, n, n) output for a block of background, with a middle that its faces do not reach.
        stride: voxels per output cell along an axis.
        radius: greatest distance in voxels from a cell to a voxel that it depends on; a multiple of the stride.
        max_voxels: number of voxels of a tile, apart from what it sees beyond; bounds the memory.

    Returns:
        (1, C', X / stride, Y / stride, Z / stride), channels last.
    """
    output = background_output(background, needed.shape)
    boxes = boxes_around(needed.cpu().numpy(), radius // stride, max_voxels // stride**3)
    for box in bar(boxes, "detect", "tile"):
        place: list[Any] = list(box)
        seen: list[Any] = [
            slice(max(0, side.start * stride - radius), min(n, side.stop * stride + radius))
            for side, n in zip(box, image.shape[2:], strict=True)
        ]
        part = network(channels_last(image[(..., *seen)]))
        inner: list[Any] = [
            slice(side.start - wide.start // stride, side.stop - wide.start // stride)
            for side, wide in zip(box, seen, strict=True)
        ]
        output[(..., *place)] = part[(..., *inner)].to(output.dtype)
    return output


def background_output(background: Tensor, size: Sequence[int]) -> Tensor:
    """Output (1, C, X, Y, Z) of a volume of background from that of a small block (1, C, n, n, n), channels last.

    The block's outer cells become the volume's, its middle is repeated.
    """
    block, device = background.shape[-1], background.device
    x, y, z = (
        torch.where(index < block // 2, index, (block - len(index) + index).clamp(min=block // 2)).clamp(max=block - 1)
        for index in (torch.arange(length, device=device) for length in size)
    )
    cell = (x[:, None, None] * block + y[:, None]) * block + z
    rows = background[0].permute(1, 2, 3, 0).flatten(0, 2)  # (n^3, C)
    return rows[cell][None].permute(0, 4, 1, 2, 3)


def any_near(marks: Tensor, size: int, step: int, edge: int) -> Tensor:
    """Whether any of the marks (X, Y, Z) bool in a cube is set: max pooling, but much faster.

    Args:
        marks: (X, Y, Z) bool.
        size: side of a cube in cells.
        step: distance of the cubes in cells along each axis.
        edge: cells by which the first and the last cube reach beyond the marks, where none is set.
    """
    for axis in range(3):
        padding = [0, 0] * (2 - axis) + [edge, edge]
        padded = torch.nn.functional.pad(marks, padding)
        length = (padded.shape[axis] - size) // step * step + 1
        places = (slice(None),) * axis + (slice(None, None, step),)
        marks = padded.narrow(axis, 0, length)[places].clone()
        for shift in range(1, size):
            marks |= padded.narrow(axis, shift, length)[places]
    return marks


def boxes_around(cells: np.ndarray, margin: int, max_cells: int) -> list[Box]:
    """Boxes without overlap that together hold all marked cells, chosen for little work.

    A box's work is its volume with a margin around it. A box is cut in two where both parts, each as tight as its cells
    allow, are less work than the whole, or where it is larger than allowed.

    Args:
        cells: (X, Y, Z) bool.
        margin: cells that a box's outputs see beyond it.
        max_cells: largest number of cells of a box.
    """
    tight = tight_box(cells)
    if tight is None:
        return []
    inner = cells[tight]
    axis, cut, work = _best_cut(inner, margin)
    if work > GAIN * prod(n + 2 * margin for n in inner.shape):
        if inner.size <= max_cells or max(inner.shape) < 2:
            return [tight]
        axis = int(np.argmax(inner.shape))
        cut = inner.shape[axis] // 2
    first, second = ((slice(None),) * axis + (side,) for side in (slice(None, cut), slice(cut, None)))
    shifts = [side.start for side in tight], [side.start + cut * (n == axis) for n, side in enumerate(tight)]
    return [
        tuple(slice(a.start + shift, a.stop + shift) for a, shift in zip(box, start, strict=True))
        for part, start in zip((first, second), shifts, strict=True)
        for box in boxes_around(inner[part], margin, max_cells)
    ]


def tight_box(cells: np.ndarray) -> Box | None:
    """Smallest box that holds all marked cells (X, Y, Z) bool; None where none is marked."""
    hits = [np.flatnonzero(cells.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return None if not len(hits[0]) else tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)


def _best_cut(cells: np.ndarray, margin: int) -> tuple[int, int, float]:
    """Axis and place of the cut of a tight box with the least work, and that work; infinite where there is none."""
    best = (0, 0, np.inf)
    for axis in range(3):
        turned = np.moveaxis(cells, axis, 0)
        before, after = _work(turned, margin), _work(turned[::-1], margin)[::-1]
        both = before[:-1] + after[1:]
        if len(both) and both.min() < best[2]:
            best = (axis, int(both.argmin()) + 1, float(both.min()))
    return best


def _work(cells: np.ndarray, margin: int) -> np.ndarray:
    """Work (n,) of the tight box around the first 1 to n layers of cells (n, Y, Z), whose first layer is not empty."""
    hit = cells.any(axis=(1, 2))
    spans = [np.maximum.accumulate(np.where(hit, np.arange(len(cells)) + 1, 0))]
    for other in (2, 1):
        seen = np.logical_or.accumulate(cells.any(axis=other), axis=0)  # (n, Y) or (n, Z)
        spans.append(seen.shape[1] - seen.argmax(axis=1) - seen[:, ::-1].argmax(axis=1))
    return np.prod([span + 2 * margin for span in spans], axis=0)
