# SPDX-License-Identifier: Apache-2.0
"""Inference of Dou et al., MICCAI 2017: from a scan's lungs to candidates, and from candidates' patches to nodules.

:class:`LungFCNInferer` and :class:`ScoreVolumeToFindingsd` serve the candidate network, :class:`LikelyCandidatesd` and
:class:`DecodeHybridd` the residual network that reduces false positives. The latter's regression outputs are place and
size of a nodule relative to a patch (:func:`encode_targets`, :func:`decode_targets`).
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import MapTransform
from scipy.special import expit, logit
from torch import Tensor

from lungcad.console import bar
from lungcad.cpu import autocast, tune_allocator
from lungcad.fast_network import make_fast
from lungcad.finding import Finding, as_place, centers_of
from lungcad.geometry import to_world
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.peaks import IndexMap, merge_spheres, searched_outputs, suppress_score_volume
from lungcad.papers.transforms import Data

PROBABILITY_MARGIN = 1e-6
"""Least distance of a probability from 0 and 1 where its log odds are taken."""


class LungFCNInferer(Inferer):
    """Volume-to-volume inference with the candidate FCN, on tiles that hold lung (Dou 2017, section 2.1).

    Valid convolutions make a tile's outputs equal to the whole volume's. The early layers run densely over a tile;
    the head, four fifths of the cost, only at the outputs that a nodule can be centred on.

    Args:
        tissue_threshold: value on the image's scale that tissue exceeds; outputs on air-filled lung are skipped, see
            :func:`~lungcad.papers.peaks.searched_outputs`. None computes every output.
        tile: number of outputs per tile, x, y, z.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, tissue_threshold: float | None, tile: Sequence[int] = (48, 48, 40), precision: str = "auto"):
        super().__init__()
        self.tissue_threshold, self.tile, self.precision = tissue_threshold, tuple(tile), precision
        self.index_map = IndexMap()

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: CandidateFCN, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds of a nodule, -inf where nothing was computed.

        Args:
            inputs: (1, 1, X, Y, Z) image, scaled as the network expects it.
            network: candidate network in evaluation mode.
            lungs: (X, Y, Z) bool, the lung mask.

        Returns:
            (1, 1, X', Y', Z') float32.
        """
        tune_allocator()
        image = inputs[0, 0]
        tissue_threshold = -torch.inf if self.tissue_threshold is None else self.tissue_threshold
        searched = searched_outputs(image, lungs, self.index_map, tissue_threshold)
        score = torch.full(searched.shape, -torch.inf, device=image.device)
        corners = product(*(range(0, n, t) for n, t in zip(searched.shape, self.tile, strict=True)))
        tiles = [tuple(slice(a, a + n) for a, n in zip(corner, self.tile, strict=True)) for corner in corners]
        tiles = [tile for tile in tiles if searched[tile].any()]
        early = make_fast(network.early, inputs.device, self.precision) if tiles else network
        for tile in bar(tiles, "detect", "tile"):
            self._score_tile(image, network, early, tile, searched, score)
        return score[None, None]

    def _score_tile(self, image: Tensor, network: CandidateFCN, early: torch.nn.Module, tile: tuple[slice, ...],
                    searched: Tensor, score: Tensor) -> None:  # fmt: skip
        """Fill in ``score`` at the searched outputs of a tile, computing only their bounding box."""
        index = searched[tile].nonzero()
        low, high = index.amin(dim=0), index.amax(dim=0) + 1
        first = [int(a) + side.start for a, side in zip(low, tile, strict=True)]
        voxels = self.index_map.inputs(tuple(int(b - a) for a, b in zip(low, high, strict=True)))
        steps = zip(first, self.index_map.stride, voxels, strict=True)
        features = early(image[tuple(slice(f * s, f * s + n) for f, s, n in steps)][None, None])
        with autocast(image.device, self.precision):
            logits = network.head_at(features, index - low)
        outputs = index + torch.tensor([side.start for side in tile], device=index.device)
        score[tuple(outputs.t())] = logits[:, 1] - logits[:, 0]


class ScoreVolumeToFindingsd(MapTransform):
    """3D non-maximum suppression and index mapping: score volume (1, 1, X', Y', Z') to ``findings``.

    Args:
        keys: key of the score volume, log odds.
        spacing_mm: voxel size of the network's input, x, y, z.
        threshold: least probability of a candidate.
        radius_mm: radius of the suppression.
        max_candidates: number of candidates kept, the best ones.
        shift_mm: radius of the mean shift's window, which refines a candidate's place.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], threshold: float, radius_mm: float, max_candidates: int,
                 shift_mm: float):  # fmt: skip
        super().__init__(keys)
        self.spacing_mm, self.threshold, self.radius_mm = spacing_mm, threshold, radius_mm
        self.max_candidates, self.shift_mm = max_candidates, shift_mm
        self.index_map = IndexMap()

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            x, y, z = (size * n for size, n in zip(self.spacing_mm, self.index_map.stride, strict=True))
            output, score = suppress_score_volume(
                d[key][0, 0], (x, y, z), self.radius_mm, self.threshold, self.max_candidates, self.shift_mm
            )
            centers = to_world(d["grid_affine"], self.index_map.to_voxel(output))
            d["findings"] = [
                Finding(as_place(center), detection_score=float(s)) for center, s in zip(centers, score, strict=True)
            ]
        return d


class LikelyCandidatesd(MapTransform):
    """Set aside, under ``unlikely``, ``findings`` that the stage before gave little probability; not in the paper.

    Behind a detector whose classifier branch has already judged its proposals most of the crops need no second look.

    Args:
        keys: key of the findings.
        threshold: probability of the stage before, of nodule, else of its detection, from which a finding stays.
    """

    def __init__(self, keys: Any, threshold: float):
        super().__init__(keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            unlikely = [f for f in d[key] if f.score is not None and f.score < self.threshold]
            d[key] = [f for f in d[key] if f.score is None or f.score >= self.threshold]
            d["unlikely"] = [replace(f, nodule_probability=f.score) for f in unlikely]
        return d


class DecodeHybridd(MapTransform):
    """Outputs (N, 6) of the hybrid-loss net to ``findings`` with probability, refined centre and diameter.

    Findings that turn out to be the same nodule are merged; those that :class:`LikelyCandidatesd` set aside are added
    as they were; findings below ``threshold`` are dropped.

    Args:
        keys: key of the outputs.
        spacing_mm: voxel size of the crops, x, y, z.
        patch_size: size of the crops in voxels.
        threshold: least nodule probability of a finding.
        prior_weight: share of the log odds of the stage before in those of the nodule probability, 0 to 1. Its nodule
            probability counts, else its detection score; a finding with neither has the network's alone.
        refine: take centre and diameter from the regression branch; if not, a candidate with a diameter keeps its own.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], patch_size: Sequence[int], threshold: float,
                 prior_weight: float = 0.0, refine: bool = True):  # fmt: skip
        super().__init__(keys)
        self.spacing_mm, self.threshold, self.prior_weight = np.array(spacing_mm), threshold, prior_weight
        self.patch_mm, self.refine = self.spacing_mm * patch_size, refine

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            output = d[key].float().cpu().reshape(-1, 6)
            before = [finding.score for finding in d["findings"]]
            probability = with_prior(output[:, :2].softmax(dim=1)[:, 1].numpy(), before, self.prior_weight)
            center, diameter = decode_targets(output[:, 2:].numpy(), d["proposals"] * self.spacing_mm, self.patch_mm)
            lps = to_world(d["grid_affine"], center / self.spacing_mm)
            if not self.refine:
                sized = [n for n, finding in enumerate(d["findings"]) if finding.diameter_mm is not None]
                lps[sized] = centers_of(d["findings"])[sized]
                diameter[sized] = [d["findings"][n].diameter_mm for n in sized]
            merged = [
                Finding(as_place(lps[n]), float(diameter[n]), d["findings"][n].detection_score, float(probability[n]))
                for n in merge_spheres(lps, diameter, probability)
            ]
            found = [f for f in merged + d.get("unlikely", []) if f.score is not None and f.score >= self.threshold]
            d["findings"] = sorted(found, key=lambda finding: -(finding.score or 0.0))
        return d


def encode_targets(
    center_mm: np.ndarray, diameter_mm: np.ndarray, proposal_mm: np.ndarray, patch_mm: np.ndarray
) -> np.ndarray:
    """Regression targets (..., 4) of nodules relative to patches (equation 2).

    T_x = 2 (G_x - P_x) / S_x, and in the same way y and z; T_d = log(G_d / sqrt(S_x^2 + S_y^2 + S_z^2)). All lengths
    are in mm: with anisotropic voxels only millimetres give T_d a meaning.

    Args:
        center_mm: (..., 3) centres G of the nodules.
        diameter_mm: (...) diameters G_d of the nodules.
        proposal_mm: (..., 3) centres P of the patches.
        patch_mm: (3,) extent S of a patch.
    """
    shift = 2 * (np.asarray(center_mm) - proposal_mm) / patch_mm
    size = np.log(np.asarray(diameter_mm) / np.linalg.norm(patch_mm))
    return np.concatenate([shift, size[..., None]], axis=-1)


def decode_targets(target: np.ndarray, proposal_mm: np.ndarray, patch_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (..., 3) and diameters (...) in mm from regression outputs (..., 4); inverts :func:`encode_targets`."""
    center = proposal_mm + np.asarray(target)[..., :3] * patch_mm / 2
    return center, np.exp(target[..., 3]) * np.linalg.norm(patch_mm)


def with_prior(probability: np.ndarray, scores: Sequence[float | None], weight: float) -> np.ndarray:
    """Fuse a stage's probabilities (N,) with those of the stage before: the weighted mean of their log odds.

    Args:
        probability: (N,) probabilities of the stage.
        scores: (N,) probabilities of the stage before, None where it gave none.
        weight: share of the stage before, 0 to 1.
    """
    now, before = (
        logit(np.clip(np.array(p, float), PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)) for p in (probability, scores)
    )
    return np.where(np.isnan(before) | (weight == 0), probability, expit((1 - weight) * now + weight * before))
