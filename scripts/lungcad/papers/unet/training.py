# SPDX-License-Identifier: Apache-2.0
"""Training data of the U-Net: cubes around nodules, off centre as a detector's are, and the nodule's voxels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from lungcad.finding import Finding
from lungcad.geometry import affine_of
from lungcad.papers.unet.crops import NODULE, OutlinedCrop
from lungcad.papers.unet.inference import cube_spacing_mm
from lungcad.training.sampling import RandomSamples, scaled, uniform_in_ball
from lungcad.training.views import other_scanner


class NoduleCubes(RandomSamples):
    """Cubes around nodules; every item is a function of (seed, epoch, index).

    Args:
        crops: outlined nodules.
        size: voxels of a cube along each axis.
        spacing_mm, diameters: see :func:`~lungcad.papers.unet.inference.cube_spacing_mm`.
        window_hu: lowest and highest HU, scaled to 0 and 1.
        length: number of cubes per epoch; None for each nodule once, in order.
        center_jitter_mm: greatest distance of a cube's centre from the nodule's.
        diameter_jitter: greatest change of the diameter that a detector would give, as a share of it.
        augment: True to mirror, turn, scale and blur the cube and change its noise and HU at random.
        seed: seed of all random choices.
    """

    def __init__(self, crops: Sequence[OutlinedCrop], size: int, spacing_mm: float, diameters: float,
                 window_hu: Sequence[float], *, length: int | None = None, center_jitter_mm: float = 3.0,
                 diameter_jitter: float = 0.25, augment: bool = True, seed: int = 0):  # fmt: skip
        super().__init__(len(crops) if length is None else length, seed)
        self.crops, self.drawn = list(crops), length is not None
        self.size, self.spacing_mm, self.diameters, self.window_hu = size, spacing_mm, diameters, tuple(window_hu)
        self.center_jitter_mm, self.diameter_jitter, self.augment = center_jitter_mm, diameter_jitter, augment

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Sample with ``image`` and ``label`` (1, size, size, size), the label the filled share of each voxel."""
        rng = self.rng(item)
        crop = self.crops[rng.integers(len(self.crops)) if self.drawn else item]
        version = int(rng.integers(len(crop.hu)))
        shift = uniform_in_ball(rng, self.center_jitter_mm)
        diameter = crop.diameter_mm * np.exp(rng.uniform(-1, 1) * np.log1p(self.diameter_jitter))
        step = np.full(3, cube_spacing_mm(diameter, self.size, self.spacing_mm, self.diameters))
        if self.augment:
            step *= np.exp(rng.uniform(-0.1, 0.1)) * rng.choice([-1, 1], 3)
        order = rng.permutation(3) if self.augment and rng.random() < 0.5 else np.arange(3)
        place = crop.center + shift / crop.spacing_mm
        hu, share = sample_cube(crop, version, place, step, self.size)
        if self.augment:
            hu = other_scanner(hu, rng)
        image = scaled(hu.transpose(order), self.window_hu)
        return {"image": torch.from_numpy(np.ascontiguousarray(image))[None],
                "label": torch.from_numpy(np.ascontiguousarray(share.transpose(order)))[None]}  # fmt: skip


def sample_cube(
    crop: OutlinedCrop, version: int, place: np.ndarray, step_mm: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sample a cube of a crop by linear interpolation.

    Args:
        crop: outlined nodule.
        version: number of the version of its surroundings.
        place: (3,) continuous index that gets the middle of the cube, (size - 1) / 2.
        step_mm: (3,) distance of the cube's voxels along each axis; negative runs backwards.
        size: voxels of the cube along each axis.

    Returns:
        HU and the share of the nodule, each (size, size, size) float32.
    """
    offset = np.arange(size) - (size - 1) / 2
    axes = [
        2 * (middle + offset * step / spacing) / (n - 1) - 1
        for middle, step, spacing, n in zip(place, step_mm, crop.spacing_mm, crop.label.shape, strict=True)
    ]
    grid = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1).astype(np.float32))
    both = np.stack([crop.hu[version].astype(np.float32), crop.voxels(NODULE).astype(np.float32)])
    cube = F.grid_sample(torch.from_numpy(both)[None], grid[None], padding_mode="border", align_corners=True)[0]
    return cube[0].numpy(), cube[1].numpy()


class CropFindings(Dataset[Any]):
    """Outlined nodules as findings of a detector, input of the bundle's own inferer and postprocessing.

    Args:
        crops: outlined nodules.
        transform: preprocessing of the bundle after the cubes.
        size, spacing_mm, diameters: see :class:`NoduleCubes`.
        center_jitter_mm: greatest distance of the finding's centre from the nodule's.
        diameter_jitter: greatest change of the diameter, as a share of it.
        seed: seed of the jitter.
    """

    def __init__(self, crops: Sequence[OutlinedCrop], transform: Any, size: int, spacing_mm: float, diameters: float,
                 center_jitter_mm: float = 1.0, diameter_jitter: float = 0.15, seed: int = 0):  # fmt: skip
        self.crops, self.transform, self.size, self.seed = list(crops), transform, size, seed
        self.spacing_mm, self.diameters = spacing_mm, diameters
        self.center_jitter_mm, self.diameter_jitter = center_jitter_mm, diameter_jitter

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Item with ``image`` (1, 1, X, Y, Z), ``cubes``, one of ``findings``, ``voxel_mm``, and the ``crop``."""
        rng = np.random.default_rng((self.seed, item))
        crop = self.crops[item]
        center_mm = crop.center * crop.spacing_mm + uniform_in_ball(rng, self.center_jitter_mm)
        diameter = crop.diameter_mm * np.exp(rng.uniform(-1, 1) * np.log1p(self.diameter_jitter))
        step = cube_spacing_mm(diameter, self.size, self.spacing_mm, self.diameters)
        hu, _ = sample_cube(crop, 0, center_mm / crop.spacing_mm, np.full(3, step), self.size)
        affine = affine_of(np.eye(3) * step, center_mm - (self.size - 1) / 2 * step)
        x, y, z = center_mm.tolist()
        return self.transform({
            "image": torch.from_numpy(hu)[None, None], "cubes": [(torch.from_numpy(hu), affine)], "crop": crop,
            "findings": [Finding((x, y, z), float(diameter))], "voxel_mm": crop.spacing_mm,
        })  # fmt: skip
