# SPDX-License-Identifier: Apache-2.0
"""Training of the classifier of Yao and Zhang 2018 (section 1.2): patches around true and false candidates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lungcad.errors import InputError
from lungcad.geometry import to_index
from lungcad.training.cases import Case, Sphere
from lungcad.training.evaluation import candidates_of
from lungcad.training.sampling import RandomSamples, clear_of_lesions, scaled, within_radius
from lungcad.training.views import Turn, view


class CandidatePatches(RandomSamples):
    """Patches with diameter and class; every item is a function of (seed, epoch, index).

    For a positive a nodule is drawn, then its annotation or one of the candidates that hit it. A negative is a false
    candidate or a control paste, nodule-free tissue set in like a nodule.

    Args:
        cases: cases that patches come from.
        candidates: file with the detector's findings on the cases.
        patch_size: size of a patch in voxels, x, y, z.
        window_hu: lowest and highest HU, scaled to 0 and 1.
        length: number of patches per epoch.
        positive_share: share of the patches that are nodules.
        control_share: share of the negatives that are control pastes.
        jitter: largest translation, as a share of the radius.
        diameter_jitter: largest error of the diameter, as a share of it.
        warp_share: share of the patches that are turned by any angle, tilted and scaled.
        scanner_share: share of the patches that are changed as if another scanner had made them.
        seed: seed of all random choices.

    Raises:
        InputError: E-CONFIG, without any nodule or any false candidate that has a diameter; E-CANDIDATES, there are
            candidates of none of the cases.
    """

    def __init__(self, cases: Sequence[Case], candidates: str, patch_size: Sequence[int], window_hu: Sequence[float],
                 length: int, *, positive_share: float = 0.5, control_share: float = 0.1, jitter: float = 0.3,
                 diameter_jitter: float = 0.15, warp_share: float = 0.5, scanner_share: float = 0.0,
                 seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = patch_size
        self.size, self.window_hu = (x, y, z), window_hu
        self.positive_share, self.control_share = positive_share, control_share
        self.jitter, self.diameter_jitter = jitter, diameter_jitter
        self.warp_share, self.scanner_share = warp_share, scanner_share
        found = candidates_of(cases, candidates, searched="some")
        self.nodules: list[tuple[Case, list[Sphere]]] = []
        self.negatives: list[tuple[Case, Sphere]] = []
        for case in cases:
            spheres = [
                Sphere(to_index(case.to_mm, finding.center_lps_mm), finding.diameter_mm)
                for finding in found[case.name]
                if finding.diameter_mm is not None
            ]
            self.nodules += [(case, [nodule, *candidates_of_nodule(case, nodule, spheres)]) for nodule in case.nodules]
            places = np.array([sphere.index for sphere in spheres]).reshape(-1, 3)
            false = clear_of_lesions(case, places)
            self.negatives += [(case, sphere) for sphere, negative in zip(spheres, false, strict=True) if negative]
        if not self.nodules or not self.negatives:
            text = f"{len(self.nodules)} nodules and {len(self.negatives)} false candidates (expected both)."
            raise InputError("E-CONFIG", text, "Let the detector find more: a lower score_threshold.")
        self.controls = [(case, control) for case in cases for control in case.controls]

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Sample with ``image`` (1, X, Y, Z), ``diameter`` in voxels, and ``label``: 1 for a nodule."""
        rng = self.rng(item)
        positive = rng.random() < self.positive_share
        if positive:
            case, spheres = self.nodules[rng.integers(len(self.nodules))]
            sphere = spheres[rng.integers(len(spheres))]
        else:
            pool = self.controls if self.controls and rng.random() < self.control_share else self.negatives
            case, sphere = pool[rng.integers(len(pool))]
        place = within_radius(sphere, case.spacing_mm, rng, self.jitter)
        seen = view(case, place, self.size, rng, self.warp_share, self.scanner_share)
        diameter = seen.diameters_mm([sphere])[0] / case.spacing_mm[0]
        diameter *= 1 + rng.uniform(-self.diameter_jitter, self.diameter_jitter)
        image = Turn(rng).volume(scaled(seen.hu, self.window_hu))
        return {
            "image": torch.from_numpy(image)[None],
            "diameter": torch.tensor(diameter, dtype=torch.float32),
            "label": torch.tensor(int(positive)),
        }


def candidates_of_nodule(case: Case, nodule: Sphere, spheres: Sequence[Sphere]) -> list[Sphere]:
    """Candidates centred within the nodule's radius, LUNA16's rule.

    Args:
        case: case of both.
        nodule: nodule that the candidates must hit.
        spheres: candidates of the case.
    """
    distances = case.distance_mm(nodule.index, list(spheres))[0]
    return [sphere for sphere, mm in zip(spheres, distances, strict=True) if mm < nodule.diameter_mm / 2]


def prepare_candidates(
    batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool, **kwargs: Any
) -> tuple[Any, ...]:
    """MONAI's ``prepare_batch``: image, label, and the diameters as the network's second argument."""
    names = ("image", "diameter", "label")
    image, diameter, label = (batch[name].to(device, non_blocking=non_blocking) for name in names)
    return image, label, (diameter,), {}
