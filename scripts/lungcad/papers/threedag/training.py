# SPDX-License-Identifier: Apache-2.0
"""Cubes of voxels with the lesions in them, for the detector of Zhang et al. 2020 (sections IV.A to IV.C)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lungcad.anchors import anchor_cubes, rpn_target
from lungcad.training.case import Case, Sphere
from lungcad.training.patches import scaled
from lungcad.training.random_samples import RandomSamples
from lungcad.training.turns import Turn
from lungcad.training.views import middle_of, view


class NoduleCubes(RandomSamples):
    """Random cubes, most of them with a nodule; every item is a function of (seed, epoch, index).

    A cube is laid around a nodule or a place in the lungs, which lies anywhere in it but near its faces. With Anchor
    Based Sampling (section IV.C) a share of the cubes is laid around the regions that a whole-scan pass found hard.

    Args:
        cases: where cubes come from; cubic voxels.
        cube_size: voxels, multiples of 16; X and Y are equal. From 64 on: of maps of 2 x 2 x 2 cells this PyTorch's
            bfloat16 convolutions sometimes give gradients that are not finite.
        window_hu: scaled to [0, 1].
        length: cubes per epoch.
        anchors_mm, positive, negative: of :func:`~lungcad.anchors.rpn_target`.
        nodule_share: share of the cubes laid around nodules, the rest is laid anywhere in the lungs.
        hard: per case name the places (N, 3) of hard regions (:func:`lungcad.training.hard_regions.hard_regions`).
        hard_share: share of the cubes laid around those, before the others are divided.
        margin: the place around which a cube is laid is at least so many voxels inside.
        warp_share: share of the cubes that are turned by any angle, tilted and scaled.
        seed: of everything random.
    """

    def __init__(self, cases: Sequence[Case], cube_size: Sequence[int], window_hu: Sequence[float], length: int,
                 anchors_mm: Sequence[Sequence[float]], *, positive: float = 0.5, negative: float = 0.02,
                 nodule_share: float = 0.7, hard: Mapping[str, np.ndarray] | None = None, hard_share: float = 0.5,
                 margin: int = 12, warp_share: float = 0.5, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = cube_size
        self.cases, self.size, self.window_hu = list(cases), (x, y, z), window_hu
        self.anchors, _ = anchor_cubes(self.size, anchors_mm)
        self.positive, self.negative = positive, negative
        self.nodules = [(case, nodule.index) for case in self.cases for nodule in case.nodules]
        self.hard = [(case, place) for case in self.cases for place in (hard or {}).get(case.name, ())]
        self.nodule_share, self.hard_share = nodule_share if self.nodules else 0.0, hard_share if self.hard else 0.0
        self.reach = np.maximum(np.array(self.size) / 2 - margin, 0)
        self.warp_share = warp_share

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """``image`` (1, X, Y, Z), ``label`` (N, 5) of the anchors, ``lesions`` (M, 5): cubes, then 1 for a nodule."""
        rng = self.rng(item)
        case, place = self._place(rng)
        place = place + rng.uniform(-self.reach, self.reach)
        seen = view(case, place, self.size, rng, self.warp_share)
        turn = Turn(rng)

        def cubes(spheres: Sequence[Sphere]) -> np.ndarray:
            voxels = seen.diameters_mm(spheres) / case.spacing_mm[0]
            return np.column_stack([middle_of(self.size) + turn.step(seen.steps(spheres)), voxels])

        nodules, ignored = self._within(cubes(case.nodules)), self._within(cubes(case.ignored))
        inside = np.all((nodules[:, :3] > -0.5) & (nodules[:, :3] < np.array(self.size) - 0.5), axis=1)
        ignored = np.concatenate([ignored, nodules[~inside]])  # cut off at the middle or before
        found, left = torch.from_numpy(nodules[inside]).float(), torch.from_numpy(ignored).float()
        kind = torch.tensor([1.0] * len(found) + [0.0] * len(left))
        return {
            "image": torch.from_numpy(turn.volume(scaled(seen.hu, self.window_hu)))[None],
            "label": rpn_target(self.anchors, found, left, self.positive, self.negative),
            "lesions": torch.cat([torch.cat([found, left]), kind[:, None]], dim=1),
        }

    def _place(self, rng: np.random.Generator) -> tuple[Case, np.ndarray]:
        """A case, and the place (3,) in it around which a cube is laid."""
        if rng.random() < self.hard_share:
            return self.hard[rng.integers(len(self.hard))]
        if rng.random() < self.nodule_share:
            return self.nodules[rng.integers(len(self.nodules))]
        case = self.cases[rng.integers(len(self.cases))]
        while True:
            place = rng.integers(case.lungs.shape)
            if case.lungs[tuple(place)]:
                return case, place

    def _within(self, cubes: np.ndarray) -> np.ndarray:
        """Of lesions (M, 4) those that reach into the cube."""
        near = np.abs(cubes[:, :3] - (np.array(self.size) - 1) / 2) - np.array(self.size) / 2
        return cubes[(near < cubes[:, 3:] / 2).all(axis=1)]


def collate_cubes(items: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """A batch; ``lesions`` (B, M, 5) are filled up with rows of -1."""
    batch = {name: torch.stack([item[name] for item in items]) for name in ("image", "label")}
    return batch | {"lesions": pad_sequence([item["lesions"] for item in items], True, padding_value=-1.0)}


def prepare_cubes(batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple:
    """MONAI's prepare_batch: image, label, and the lesions for the inferer."""
    image, label, lesions = (
        batch[name].to(device, non_blocking=non_blocking) for name in ("image", "label", "lesions")
    )
    return image, label, (lesions,), {}
