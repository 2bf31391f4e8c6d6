# SPDX-License-Identifier: Apache-2.0
"""Hard example mining of Yao and Zhang 2018, section 1.1.2: blocks without nodules that hold a voxel like one."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lungcad.atomic import whole_file
from lungcad.geometry import to_index, to_world
from lungcad.score_volume import IndexMap
from lungcad.training.blocks import nodule_free_blocks
from lungcad.training.case import Case
from lungcad.training.collector import Collector

logger = logging.getLogger(__name__)

HARD_BLOCKS = "hard_blocks.json"


class HardBlockMiner(Collector):
    """Goes over the score volumes of cases and writes ``hard_blocks.json`` with the blocks and counts.

    The network has seen the whole volume at once, not block by block; what a block's edge would change is left out.

    Args:
        output_dir: to write to.
        data: what was mined, in words.
        block_size: voxels.
        step: voxels between blocks.
        threshold: a block with a cell of the lungs above this probability is hard; 0.8 in the paper.
        index_map: of the network.
    """

    def __init__(self, output_dir: str, data: str, block_size: list[int], step: int, threshold: float,
                 index_map: IndexMap):  # fmt: skip
        super().__init__(output_dir, data)
        self.size, self.step, self.threshold, self.index_map = block_size, step, threshold, index_map

    def start(self) -> None:
        """Forget what was collected."""
        self.hard: dict[str, list[list[int]]] = {}
        self.all = 0

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Take in one case."""
        case: Case = batch["case"]
        above = output["pred"][0, 0].cpu() > torch.tensor(self.threshold).logit()
        cells = self.index_map.to_voxel(above.nonzero().numpy())
        places = to_index(case.to_mm, to_world(batch["grid_affine"], cells))
        inside = np.rint(places).astype(int)
        within = ((inside >= 0) & (inside < case.lungs.shape)).all(axis=1)
        places = places[within][case.lungs[tuple(inside[within].T)]]
        hard = []
        for first in nodule_free_blocks(case, self.size, self.step):
            self.all += 1
            if ((places > first - 0.5) & (places < first + np.array(self.size) - 0.5)).all(axis=1).any():
                hard.append(first.tolist())
        self.hard[case.name] = hard

    def write(self) -> None:
        """Write what was collected."""
        count = sum(map(len, self.hard.values()))
        share = count / max(self.all, 1)
        figures = {"data": self.data, "nodule_free_blocks": self.all, "hard_blocks": count, "hard_share": share}
        with whole_file(self.folder / HARD_BLOCKS) as part:
            part.write_text(json.dumps(figures | {"blocks": self.hard}))
        logger.info("%d of %d blocks without nodules are hard (%.1f %%)", count, self.all, 100 * share)
