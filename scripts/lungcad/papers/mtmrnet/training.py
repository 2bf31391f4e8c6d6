# SPDX-License-Identifier: Apache-2.0
"""Training data of MTMR-Net: slices of rated nodules to train on, and whole nodules to score on (section III.A)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import enclosing_slices
from lungcad.lidc.labels import INDETERMINATE
from lungcad.papers.mtmrnet.inference import SliceCropper
from lungcad.papers.mtmrnet.nodules import RatedNodule, to_unit
from lungcad.training.sampling import RandomSamples


class SliceSamples(RandomSamples):
    """Augmented slices, benign and malignant in balance; every item is a function of (seed, epoch, index).

    A class is drawn, then a nodule, then one of its slices, so a nodule of many slices counts no more than another.
    Every slice has its nodule's scores. Jitter imitates a detector's errors of diameter and centre.

    Args:
        nodules: nodules to train on; a mean malignancy above 3 is malignant.
        cropper: cropper of the slices, used with random crops and flips.
        length: number of slices per epoch.
        malignant_share: share of the slices that are of malignant nodules.
        indeterminate_share: share of the slices that are of nodules of mean malignancy 3, before the others are
            divided; they serve regression and ranking, not classification. 0 without such nodules. The paper has none.
        diameter_jitter: largest change of the diameter, as a share of it.
        center_jitter_mm: largest shift of the centre along rows and along columns.
        seed: seed of all random choices.

    Raises:
        InputError: E-CONFIG, all nodules are benign or all malignant.
    """

    def __init__(self, nodules: Sequence[RatedNodule], cropper: SliceCropper, length: int, *,
                 malignant_share: float = 0.5, indeterminate_share: float = 0.0, diameter_jitter: float = 0.0,
                 center_jitter_mm: float = 0.0, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        self.cropper, self.malignant_share = cropper, malignant_share
        self.diameter_jitter, self.center_jitter_mm = diameter_jitter, center_jitter_mm
        benign = [nodule for nodule in nodules if nodule.mean[0] < INDETERMINATE]
        malignant = [nodule for nodule in nodules if nodule.mean[0] > INDETERMINATE]
        if not benign or not malignant:
            text = f"{len(benign)} benign, {len(malignant)} malignant nodules (expected some of both)."
            raise InputError("E-CONFIG", text, "Give more folders of nodules.")
        self.classes = benign, malignant
        self.indeterminate = [nodule for nodule in nodules if nodule.mean[0] == INDETERMINATE]
        self.indeterminate_share = indeterminate_share if self.indeterminate else 0.0

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Sample with ``image`` (3, H, W) and ``label`` (9,): malignancy and attributes, scaled to [0, 1]."""
        rng = self.rng(item)
        if self.indeterminate_share and rng.random() < self.indeterminate_share:
            pool = self.indeterminate
        else:
            pool = self.classes[int(rng.random() < self.malignant_share)]
        nodule = pool[rng.integers(len(pool))]
        number = rng.integers(len(nodule.slices))
        scale = np.exp(rng.uniform(-1, 1) * np.log1p(self.diameter_jitter))
        shift = rng.uniform(-1, 1, 2) * self.center_jitter_mm / nodule.pixel_mm
        drawn = torch.from_numpy(nodule.slices[number : number + 1])
        diameter_px = [scale * side for side in nodule.diameter_px]
        image = self.cropper(drawn, (nodule.center + shift).tolist(), diameter_px, rng)
        return {"image": image[0], "label": torch.from_numpy(to_unit(nodule.mean)).float()}


class WholeNodules(Dataset):
    """Nodules with all their slices, as input of the bundle's own inferer and postprocessing.

    Args:
        nodules: nodules to score.
        cropper: cropper of the slices, used at the centre.
        max_slices: largest number of slices of one nodule; more are thinned out evenly.
    """

    def __init__(self, nodules: Sequence[RatedNodule], cropper: SliceCropper, max_slices: int):
        self.nodules, self.cropper, self.max_slices = list(nodules), cropper, max_slices

    def __len__(self) -> int:
        return len(self.nodules)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Item with ``image`` (S, 3, H, W), one finding in ``findings``, its ``slice_counts``, and the ``nodule``."""
        nodule = self.nodules[item]
        count = len(nodule.slices)
        kept = enclosing_slices((count - 1) / 2, count, count, self.max_slices)
        image = self.cropper(torch.from_numpy(nodule.slices[kept]), nodule.center, nodule.diameter_px)
        finding = Finding((0.0, 0.0, 0.0), nodule.diameter_mm)
        return {"image": image, "findings": [finding], "slice_counts": [len(image)], "nodule": nodule}
