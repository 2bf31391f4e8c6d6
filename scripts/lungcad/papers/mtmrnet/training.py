# SPDX-License-Identifier: Apache-2.0
"""Slices of rated nodules to train MTMR-Net on, and whole nodules to score it on (Liu et al. 2019, section III.A)."""

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
    Every slice has its nodule's scores.

    Args:
        nodules: to train on; those of a mean malignancy above 3 are malignant.
        cropper: random crop and flips.
        length: slices per epoch.
        malignant_share: of the slices.
        diameter_jitter: the diameter is taken larger or smaller by up to this share ...
        center_jitter_mm: ... and the centre as far off along rows and columns, as a detector's are.
        seed: of everything random.

    Raises:
        InputError: E-CONFIG, where all nodules are benign or all malignant.
    """

    def __init__(self, nodules: Sequence[RatedNodule], cropper: SliceCropper, length: int, *,
                 malignant_share: float = 0.5, diameter_jitter: float = 0.0, center_jitter_mm: float = 0.0,
                 seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        self.cropper, self.malignant_share = cropper, malignant_share
        self.diameter_jitter, self.center_jitter_mm = diameter_jitter, center_jitter_mm
        benign = [one for one in nodules if one.mean[0] < INDETERMINATE]
        malignant = [one for one in nodules if one.mean[0] > INDETERMINATE]
        if not benign or not malignant:
            text = f"{len(benign)} benign, {len(malignant)} malignant nodules (expected some of both)."
            raise InputError("E-CONFIG", text, "Give more folders of nodules.")
        self.classes = benign, malignant

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """``image`` (3, H, W) and ``label`` (9,): malignancy and attributes, scaled to [0, 1]."""
        rng = self.rng(item)
        pool = self.classes[int(rng.random() < self.malignant_share)]
        nodule = pool[rng.integers(len(pool))]
        number = rng.integers(len(nodule.slices))
        scale = np.exp(rng.uniform(-1, 1) * np.log1p(self.diameter_jitter))
        shift = rng.uniform(-1, 1, 2) * self.center_jitter_mm / nodule.pixel_mm
        one = torch.from_numpy(nodule.slices[number : number + 1])
        image = self.cropper(one, (nodule.center + shift).tolist(), [scale * side for side in nodule.diameter_px], rng)
        return {"image": image[0], "label": torch.from_numpy(to_unit(nodule.mean)).float()}


class WholeNodules(Dataset):
    """Nodules with all their slices, as the bundle's own inferer and postprocessing want them.

    Args:
        nodules: to be scored.
        cropper: crops at the centre.
        most_slices: of one nodule; more are thinned out evenly.
    """

    def __init__(self, nodules: Sequence[RatedNodule], cropper: SliceCropper, most_slices: int):
        self.nodules, self.cropper, self.most_slices = list(nodules), cropper, most_slices

    def __len__(self) -> int:
        return len(self.nodules)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """``image`` (S, 3, H, W), one of ``findings`` with its number of slices, and the ``nodule``."""
        nodule = self.nodules[item]
        count = len(nodule.slices)
        kept = enclosing_slices((count - 1) / 2, count, count, self.most_slices)
        image = self.cropper(torch.from_numpy(nodule.slices[kept]), nodule.center, nodule.diameter_px)
        finding = Finding((0.0, 0.0, 0.0), nodule.diameter_mm)
        return {"image": image, "findings": [finding], "slices_of": [len(image)], "nodule": nodule}
