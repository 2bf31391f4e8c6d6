# SPDX-License-Identifier: Apache-2.0
"""Patches of known class for both stages, cut from cases and augmented as Dou et al. 2017 (section 3) state.

Positives are translated at random within the nodule's radius, flipped, turned by multiples of 90 degrees in the
transverse plane and scaled by 0.9 to 1.1 (with the whole case, or as a warped patch). Beyond the paper, whose
negatives come from hundreds of patients where these come from a few, a share of the patches is also turned by any
angle and tilted.
"""

from collections.abc import Sequence

import numpy as np
import torch

from lungcad.papers.dou2017.inference import encode_targets
from lungcad.papers.peaks import IndexMap, searched_outputs
from lungcad.training.cases import Case
from lungcad.training.sampling import RandomSamples, clear_of_lesions, scaled, within_radius
from lungcad.training.views import Turn, view


class NodulePatches(RandomSamples):
    """Patches for classification, alone or with place and size; every item is a function of (seed, epoch, index).

    Args:
        cases: cases that patches come from.
        patch_size: size of a patch in voxels, x, y, z.
        window_hu: lowest and highest HU, scaled to 0 and 1.
        length: number of patches per epoch.
        positive_share: share of the patches that are nodules; the others are negatives.
        control_share: share of the negatives that are centred on control pastes, nodule-free tissue set in like a
            nodule.
        gate_hu: HU above which an output is searched (:func:`~lungcad.papers.peaks.searched_outputs`); random
            negatives come from searched outputs.
        negatives: places (N, 3) of false candidates per case, used besides random negatives.
        random_share: share of random places among the negatives that are no controls; 1 without ``negatives``.
        localise: give targets (5,) for :class:`~lungcad.papers.dou2017.loss.HybridLoss` instead of a class.
        jitter: largest translation of positives, as a share of the radius.
        warp_share: share of the patches that are warped; see :func:`~lungcad.training.views.view`.
        scanner_share: share of the patches that are changed as if another scanner had made them.
        seed: seed of all random choices.
    """

    def __init__(self, cases: Sequence[Case], patch_size: Sequence[int], window_hu: Sequence[float], length: int, *,
                 positive_share: float = 0.33, control_share: float = 0.1, gate_hu: float = -650.0,
                 negatives: Sequence[np.ndarray] | None = None, random_share: float = 0.0, localise: bool = False,
                 jitter: float = 1.0, warp_share: float = 0.0, scanner_share: float = 0.0, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        self.cases = list(cases)
        x, y, z = patch_size
        self.patch_size, self.window_hu = (x, y, z), window_hu
        self.positive_share, self.control_share = positive_share, control_share
        self.localise, self.jitter = localise, jitter
        self.warp_share, self.scanner_share = warp_share, scanner_share
        self.nodules = [(case, nodule) for case in self.cases for nodule in case.nodules]
        self.controls = [(case, control) for case in self.cases for control in case.controls]
        self.random_share = random_share if negatives is not None else 1.0
        random = [_random_negatives(case, gate_hu) for case in self.cases] if self.random_share else []
        self.random = _cases_with_places(self.cases, random)
        self.false_candidates = _cases_with_places(self.cases, negatives or [])

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        """Sample with ``image`` (1, X, Y, Z) and ``label``: 1 for a nodule, or the targets (5,) with ``localise``."""
        rng = self.rng(item)
        positive = rng.random() < self.positive_share
        if positive:
            case, nodule = self.nodules[rng.integers(len(self.nodules))]
            place = within_radius(nodule, case.spacing_mm, rng, self.jitter)
        elif self.controls and rng.random() < self.control_share:
            case, control = self.controls[rng.integers(len(self.controls))]
            place = within_radius(control, case.spacing_mm, rng, self.jitter)
        else:
            pool = self.random if rng.random() < self.random_share else self.false_candidates
            case, places = pool[rng.integers(len(pool))]
            place = places[rng.integers(len(places))] + rng.uniform(-1, 1, 3)
        seen = view(case, place, self.patch_size, rng, self.warp_share, self.scanner_share)
        turn = Turn(rng)
        image = torch.from_numpy(turn.volume(scaled(seen.hu, self.window_hu)))[None]
        if not self.localise:
            return {"image": image, "label": torch.tensor(int(positive))}
        spacing = np.array(case.spacing_mm)
        shift, diameter = (seen.steps([nodule])[0], seen.diameters_mm([nodule])[0]) if positive else (np.zeros(3), 1.0)
        target = encode_targets(turn.step(shift) * spacing, np.array(diameter), np.zeros(3), spacing * self.patch_size)
        return {"image": image, "label": torch.tensor([float(positive), *target], dtype=torch.float32)}


def _cases_with_places(cases: Sequence[Case], places: Sequence[np.ndarray]) -> list[tuple[Case, np.ndarray]]:
    """Cases with their places (N, 3), without the cases that have none."""
    return [(case, index) for case, index in zip(cases, places, strict=False) if len(index)]


def _random_negatives(case: Case, gate_hu: float, max_places: int = 20000) -> np.ndarray:
    """Random places (N, 3) clear of lesions among the outputs that the candidate network computes in inference."""
    index_map = IndexMap()
    searched = searched_outputs(torch.from_numpy(case.hu), torch.from_numpy(case.lungs), index_map, gate_hu)
    places = index_map.to_voxel(searched.nonzero().numpy())
    rng = np.random.default_rng(len(places))
    places = places[rng.permutation(len(places))[:max_places]]
    return places[clear_of_lesions(case, places)].astype(np.float32)
