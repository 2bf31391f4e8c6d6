# SPDX-License-Identifier: Apache-2.0
"""Blocks of voxels with a label for every output cell, for segmentation as Yao and Zhang 2018 (section 2.1) train it.

Positives are augmented as the paper states: translation by up to 8 voxels, flips, scaling by 0.9 to 1.1, rotation.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lungcad.training.case import Case, Sphere
from lungcad.training.patches import scaled
from lungcad.training.random_samples import RandomSamples
from lungcad.training.turns import Turn
from lungcad.training.views import middle_of, view

IGNORED = -1
"""Label of cells in lesions that are neither nodule nor background."""


class NoduleBlocks(RandomSamples):
    """Blocks with nodules and, for a share, blocks without; every item is a function of (seed, epoch, index).

    Args:
        cases: where blocks come from.
        block_size: voxels, even.
        window_hu: scaled to [0, 1].
        length: blocks per epoch.
        negatives: per case name the centres (N, 3) of blocks without nodules.
        negative_share: share of those; 0.5 is the paper's 1:1.
        shift: positives are moved by up to so many voxels along each axis.
        warp_share: share of the positives that are turned by any angle, tilted and scaled.
        seed: of everything random.
    """

    def __init__(self, cases: Sequence[Case], block_size: Sequence[int], window_hu: Sequence[float], length: int, *,
                 negatives: Mapping[str, np.ndarray] | None = None, negative_share: float = 0.5, shift: float = 8.0,
                 warp_share: float = 0.5, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = block_size
        self.size, self.window_hu, self.shift, self.warp_share = (x, y, z), window_hu, shift, warp_share
        self.nodules = [(case, nodule) for case in cases for nodule in case.nodules]
        known = negatives or {}
        self.negatives = [(case, center) for case in cases for center in known.get(case.name, ())]
        self.negative_share = negative_share if self.negatives else 0.0

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """``image`` (1, X, Y, Z) and ``label`` (1, X / 2, Y / 2, Z / 2): 1, 0 or :data:`IGNORED`."""
        rng = self.rng(item)
        if rng.random() < self.negative_share:
            case, place = self.negatives[rng.integers(len(self.negatives))]
            seen = view(case, place, self.size, rng)
        else:
            case, nodule = self.nodules[rng.integers(len(self.nodules))]
            place = nodule.index + rng.uniform(-self.shift, self.shift, 3)
            seen = view(case, place, self.size, rng, self.warp_share)

        def label(spheres: Sequence[Sphere]) -> np.ndarray:
            places = seen.steps(spheres) + middle_of(self.size)
            return cells_within(self.size, places, seen.diameters_mm(spheres), case.spacing_mm)

        cells = np.where(label(case.ignored), IGNORED, 0).astype(np.float32)
        cells[label(case.nodules)] = 1
        turn = Turn(rng)
        image, cells = turn.volume(scaled(seen.hu, self.window_hu)), turn.volume(cells)
        return {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(cells)[None]}


def cells_within(
    size: tuple[int, int, int], places: np.ndarray, diameters_mm: np.ndarray,
    spacing_mm: Sequence[float], stride: int = 2,
) -> np.ndarray:  # fmt: skip
    """Which output cells belong to spheres: those with their centre inside, and the one that holds the sphere's centre.

    Args:
        size: of the block in voxels.
        places: (N, 3) centres as continuous voxel indices of the block.
        diameters_mm: (N,) of the spheres.
        spacing_mm: of the voxels.
        stride: voxels per cell; cell (i, j, k) is centred on stride * i + (stride - 1) / 2 and so on.

    Returns:
        (X / stride, Y / stride, Z / stride) bool.
    """
    cells = np.zeros([side // stride for side in size], bool)
    axes = [np.arange(side) * stride + (stride - 1) / 2 for side in cells.shape]
    for place, diameter in zip(places, diameters_mm, strict=True):
        x, y, z = ((axis - at) * mm for axis, at, mm in zip(axes, place, spacing_mm, strict=True))
        cells |= x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 <= (diameter / 2) ** 2
        own = np.floor((np.asarray(place) + 0.5) / stride).astype(int)
        if ((own >= 0) & (own < cells.shape)).all():
            cells[tuple(own)] = True
    return cells


def nodule_free_blocks(case: Case, size: Sequence[int], step: int) -> Iterator[np.ndarray]:
    """First voxels (3,) of the blocks on a regular grid that are centred in the lungs and touch no lesion.

    Args:
        case: to be covered.
        size: of a block in voxels.
        step: voxels between blocks.
    """
    half = np.array(size) // 2
    lesions = case.nodules + case.ignored
    centers = np.array([lesion.index for lesion in lesions]).reshape(-1, 3)
    reach = np.array([lesion.diameter_mm / 2 for lesion in lesions])[:, None] / np.array(case.spacing_mm)
    lungs = case.lungs[::step, ::step, ::step]
    for center in np.argwhere(lungs) * step:
        first = center - half
        if not ((centers + reach > first) & (centers - reach < first + size)).all(axis=1).any():
            yield first


def read_blocks(
    path: str | Path | None, cases: Sequence[Case], size: Sequence[int], step: int
) -> dict[str, np.ndarray]:
    """Centres (N, 3) of blocks without nodules by case name.

    Args:
        path: what mining wrote; ``all`` for every block there is, unscreened; None for none.
        cases: that they belong to.
        size: of a block in voxels.
        step: voxels between blocks.
    """
    if path is None:
        return {}
    if path == "all":
        first = {case.name: list(nodule_free_blocks(case, size, step)) for case in cases}
    else:
        first = json.loads(Path(path).read_text())["blocks"]
    middle = (np.array(size) - 1) / 2
    return {name: np.array(blocks).reshape(-1, 3) + middle for name, blocks in first.items()}
