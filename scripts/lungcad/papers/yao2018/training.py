# SPDX-License-Identifier: Apache-2.0
"""Training of the candidate network as in Yao and Zhang 2018 (sections 1.1.2 and 2.1): labelled blocks, hard examples.

:class:`NoduleBlocks` gives blocks of voxels with a label for every output cell. Positives are augmented as the paper
states: translation by up to 8 voxels, flips, scaling by 0.9 to 1.1, rotation. Negatives are blocks without nodules in
which the pre-trained network sees one; :class:`HardBlockMiner` finds them and :func:`read_blocks` reads them.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungcad.atomic import whole_file
from lungcad.errors import InputError
from lungcad.geometry import to_index, to_world
from lungcad.papers.peaks import IndexMap
from lungcad.printable import file_label
from lungcad.training.cases import Case, Sphere
from lungcad.training.sampling import RandomSamples, cells_within, scaled
from lungcad.training.scoring import Collector
from lungcad.training.views import Turn, middle_of, view

logger = logging.getLogger(__name__)

IGNORED = -1
"""Label of cells in lesions that are neither nodule nor background."""

HARD_BLOCKS = "hard_blocks.json"
"""File with the hard blocks that mining found."""


class NoduleBlocks(RandomSamples):
    """Blocks with nodules and, for a share, blocks without; every item is a function of (seed, epoch, index).

    Args:
        cases: cases that blocks come from.
        block_size: size of a block in voxels, x, y, z, even.
        window_hu: lowest and highest HU, scaled to 0 and 1.
        length: number of blocks per epoch.
        negatives: centres (N, 3) of blocks without nodules, by case name.
        negative_share: share of the blocks without nodules; 0.5 is the paper's 1:1.
        shift: largest translation of a positive along each axis, in voxels.
        warp_share: share of the positives that are turned by any angle, tilted and scaled.
        scanner_share: share of the blocks that are changed as if another scanner had made them.
        seed: seed of all random choices.
    """

    def __init__(self, cases: Sequence[Case], block_size: Sequence[int], window_hu: Sequence[float], length: int, *,
                 negatives: Mapping[str, np.ndarray] | None = None, negative_share: float = 0.5, shift: float = 8.0,
                 warp_share: float = 0.5, scanner_share: float = 0.0, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = block_size
        self.size, self.window_hu, self.shift = (x, y, z), window_hu, shift
        self.warp_share, self.scanner_share = warp_share, scanner_share
        self.nodules = [(case, nodule) for case in cases for nodule in case.nodules]
        centers = negatives or {}
        self.negatives = [(case, center) for case in cases for center in centers.get(case.name, ())]
        self.negative_share = negative_share if self.negatives else 0.0

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Sample with ``image`` (1, X, Y, Z) and ``label`` (1, X / 2, Y / 2, Z / 2): 1, 0 or :data:`IGNORED`."""
        rng = self.rng(item)
        if rng.random() < self.negative_share:
            case, place = self.negatives[rng.integers(len(self.negatives))]
            seen = view(case, place, self.size, rng, scanner_share=self.scanner_share)
        else:
            case, nodule = self.nodules[rng.integers(len(self.nodules))]
            place = nodule.index + rng.uniform(-self.shift, self.shift, 3)
            seen = view(case, place, self.size, rng, self.warp_share, self.scanner_share)

        def label(spheres: Sequence[Sphere]) -> np.ndarray:
            places = seen.steps(spheres) + middle_of(self.size)
            return cells_within(self.size, places, seen.diameters_mm(spheres), case.spacing_mm)

        cells = np.where(label(case.ignored), IGNORED, 0).astype(np.float32)
        cells[label(case.nodules)] = 1
        turn = Turn(rng)
        image, cells = turn.volume(scaled(seen.hu, self.window_hu)), turn.volume(cells)
        return {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(cells)[None]}


def nodule_free_blocks(case: Case, size: Sequence[int], step: int) -> Iterator[np.ndarray]:
    """First voxels (3,) of the blocks on a regular grid that are centred in the lungs and touch no lesion.

    Args:
        case: case to cover with blocks.
        size: size of a block in voxels, x, y, z.
        step: voxels between blocks.
    """
    half = np.array(size) // 2
    lesions = case.nodules + case.ignored
    centers = np.array([lesion.index for lesion in lesions]).reshape(-1, 3)
    radii = np.array([lesion.diameter_mm / 2 for lesion in lesions])[:, None] / np.array(case.spacing_mm)  # voxels
    lungs = case.lungs[::step, ::step, ::step]
    for center in np.argwhere(lungs) * step:
        first = center - half
        if not ((centers + radii > first) & (centers - radii < first + size)).all(axis=1).any():
            yield first


def read_blocks(
    path: str | Path | None, cases: Sequence[Case], size: Sequence[int], step: int
) -> dict[str, np.ndarray]:
    """Centres (N, 3) of blocks without nodules by case name.

    Args:
        path: file that :class:`HardBlockMiner` wrote; ``all`` for every block without a lesion; None for no block.
        cases: cases that the blocks belong to.
        size: size of a block in voxels, x, y, z.
        step: voxels between blocks.

    Raises:
        InputError: E-CANDIDATES, there is no such file, it is no file of hard blocks, or one of other cases.
    """
    if path is None:
        return {}
    if path == "all":
        first = {case.name: list(nodule_free_blocks(case, size, step)) for case in cases}
    else:
        first = _blocks_in(Path(path))
        if not any(case.name in first for case in cases):
            text = f"{file_label(Path(path).name)} is of none of the {len(cases)} cases (expected hard blocks of some)."
            raise InputError("E-CANDIDATES", text, "Mine the same cases, with mine.json.")
    middle = (np.array(size) - 1) / 2
    return {name: np.array(blocks).reshape(-1, 3) + middle for name, blocks in first.items()}


def _blocks_in(file: Path) -> dict[str, Any]:
    """First voxels of the blocks in a file by case name."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["blocks"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        text = f"{file_label(file.name)} holds no hard blocks: {type(error).__name__}."
        raise InputError("E-CANDIDATES", text, f"Give the {HARD_BLOCKS} that mining writes, or all.") from error


class HardBlockMiner(Collector):
    """Collector that finds hard blocks in the score volumes of cases and writes ``hard_blocks.json``, with counts.

    A block is hard if it holds no lesion and the network sees a nodule in it. The network has seen the whole volume at
    once, not block by block; the effect of a block's edges is neglected.

    Args:
        output_dir: folder to write to.
        data: description of the cases, for the file.
        block_size: size of a block in voxels, x, y, z.
        step: voxels between blocks.
        threshold: probability above which a cell in the lungs makes a block hard; 0.8 in the paper.
        index_map: index map of the network.
    """

    def __init__(self, output_dir: str, data: str, block_size: list[int], step: int, threshold: float,
                 index_map: IndexMap):  # fmt: skip
        super().__init__(output_dir, data)
        self.size, self.step, self.threshold, self.index_map = block_size, step, threshold, index_map

    def start(self) -> None:
        """Forget all blocks."""
        self.hard: dict[str, list[list[int]]] = {}
        self.all = 0

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the hard blocks of one case."""
        case: Case = batch["case"]
        above = output["pred"][0, 0].cpu() > torch.tensor(self.threshold).logit()
        cells = self.index_map.to_voxel(above.nonzero().numpy())
        places = to_index(case.to_mm, to_world(batch["grid_affine"], cells))
        inside = np.rint(places).astype(int)
        lungs = case.lungs
        within = ((inside >= 0) & (inside < lungs.shape)).all(axis=1)
        places = places[within][lungs[tuple(inside[within].T)]]
        hard = []
        for first in nodule_free_blocks(case, self.size, self.step):
            self.all += 1
            if ((places > first - 0.5) & (places < first + np.array(self.size) - 0.5)).all(axis=1).any():
                hard.append(first.tolist())
        self.hard[case.name] = hard

    def write(self) -> None:
        """Write the hard blocks and their number."""
        count = sum(map(len, self.hard.values()))
        share = count / max(self.all, 1)
        figures = {"data": self.data, "nodule_free_blocks": self.all, "hard_blocks": count, "hard_share": share}
        with whole_file(self.folder / HARD_BLOCKS) as part:
            part.write_text(json.dumps(figures | {"blocks": self.hard}))
        logger.info("%d of %d blocks without nodules are hard (%.1f %%)", count, self.all, 100 * share)
