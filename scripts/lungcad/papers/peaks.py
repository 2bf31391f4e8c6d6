# SPDX-License-Identifier: Apache-2.0
"""Peaks of a network's score volume as places in the scan: exact index mapping and 3D non-maximum suppression (NMS).

Dou et al. 2017, section 2.1: "employ 3D non-maximum suppression on the score volume, and then retrieve those high
probability positions", with the index mapping of a network of valid convolutions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from lungcad.geometry import sphere_diameter


@dataclass(frozen=True)
class IndexMap:
    """Mapping of a network's outputs to input voxels: output o sees stride * o .. stride * o + field - 1 along an axis.

    Attributes:
        field: receptive field in voxels, (x, y, z).
        stride: input voxels per output, (x, y, z).
    """

    field: tuple[int, int, int] = (30, 30, 10)
    stride: tuple[int, int, int] = (2, 2, 1)

    @property
    def offset(self) -> np.ndarray:
        """Centre (3,) of output (0, 0, 0) in input voxels."""
        return (np.array(self.field) - 1) / 2

    def outputs(self, size: tuple[int, ...]) -> tuple[int, int, int]:
        """Number of outputs along each axis for an input of ``size`` voxels."""
        x, y, z = ((n - f) // s + 1 for n, f, s in zip(size, self.field, self.stride, strict=True))
        return x, y, z

    def inputs(self, size: tuple[int, ...]) -> tuple[int, int, int]:
        """Number of input voxels along each axis that ``size`` outputs see."""
        x, y, z = ((n - 1) * s + f for n, f, s in zip(size, self.field, self.stride, strict=True))
        return x, y, z

    def to_voxel(self, output: np.ndarray) -> np.ndarray:
        """Continuous input voxel (..., 3) at the centre of the receptive field of output (..., 3)."""
        return np.asarray(output) * np.array(self.stride) + self.offset


def searched_outputs(image: Tensor, lungs: Tensor, index_map: IndexMap, tissue_threshold: float) -> Tensor:
    """Outputs that are searched, because a nodule can be centred there: in the lungs, and not on air-filled lung.

    Both are decided by the mean of the 2 x 2 x 2 voxels around the centre of the receptive field. The detection
    bundle's docs report the shares of lung and of nodules that pass.

    Args:
        image: (X, Y, Z), HU or scaled.
        lungs: (X, Y, Z) bool, the lung mask.
        index_map: index map of the network.
        tissue_threshold: value on the image's scale that tissue exceeds; up to it a place is air-filled lung.

    Returns:
        (X', Y', Z') bool over the network's outputs for this volume.
    """
    first = [int(o) for o in np.floor(index_map.offset)]
    size = index_map.outputs(tuple(image.shape))

    def center(volume: Tensor) -> Tensor:
        inner = volume[first[0] :, first[1] :, first[2] :].float()
        return torch.nn.functional.avg_pool3d(inner[None], 2, index_map.stride)[0, : size[0], : size[1], : size[2]]

    return (center(image) > tissue_threshold) & (center(lungs) >= 0.5)


def suppress_score_volume(
    logit: Tensor, spacing_mm: tuple[float, float, float], radius_mm: float, threshold: float, max_candidates: int,
    shift_mm: float = 6.0, softness: float = 4.0, allowed: Tensor | None = None, temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """3D non-maximum suppression on a score volume.

    A candidate is the highest score within ``radius_mm`` of itself. Its place is refined by mean shift over the scores
    within ``shift_mm``, because a score volume is coarser than the voxels it came from, and over a large nodule it is
    a plateau with its highest point anywhere. Scores weigh as probabilities, and less the farther they are below the
    peak: a confident network's probabilities are 1 far beyond a small nodule.

    Args:
        logit: (X, Y, Z) log odds, -inf where nothing was computed. Log odds because probabilities saturate into ties.
        spacing_mm: distance between outputs, x, y, z.
        radius_mm: least distance of two peaks; their refined places are at least half of it apart.
        threshold: least probability of a peak.
        max_candidates: number of candidates kept, the highest.
        shift_mm: radius of the mean shift's window.
        softness: difference in log odds to the peak at which the weight of a probability has fallen to 1 / e.
        allowed: (X, Y, Z) bool, True where peaks may be; None for everywhere.
        temperature: divisor of the log odds before they become the scores returned.

    Returns:
        Outputs (N, 3) as continuous indices, and scores (N,) in [0, 1], highest first.
    """
    least_logit = float(torch.tensor(threshold, dtype=torch.float64).logit())  # 0 and 1 are thresholds too
    peak = torch.nn.functional.max_pool3d(logit[None], 3, 1, 1)[0]
    is_peak = (logit == peak) & (logit > least_logit)
    index = (is_peak if allowed is None else is_peak & allowed).nonzero()
    value = logit[tuple(index.t())]
    order = value.argsort(descending=True, stable=True)
    place, score = index[order].cpu().numpy(), (value[order] / temperature).sigmoid().cpu().numpy()
    spacing = np.array(spacing_mm)
    peaks = _far_apart(place * spacing, radius_mm, 2 * max_candidates)
    volume = logit.cpu()
    refined = np.array([_mean_shift(volume, place[n], spacing, shift_mm, softness) for n in peaks]).reshape(-1, 3)
    keep = _far_apart(refined * spacing, radius_mm / 2, max_candidates)  # two peaks of one plateau may have met
    return refined[keep], score[peaks][keep]


def _far_apart(place_mm: np.ndarray, radius_mm: float, max_places: int) -> list[int]:
    """Indices of at most ``max_places`` of the places (N, 3), best first, with no better one within ``radius_mm``."""
    keep: list[int] = []
    for candidate in range(len(place_mm)):
        if (np.linalg.norm(place_mm[keep] - place_mm[candidate], axis=1) > radius_mm).all():
            keep.append(candidate)
            if len(keep) == max_places:
                break
    return keep


def _mean_shift(
    logit: Tensor, peak: np.ndarray, spacing: np.ndarray, radius_mm: float, softness: float, steps: int = 4
) -> np.ndarray:
    """Continuous index (3,) of the centre of gravity of the scores around a peak."""
    center = peak.astype(np.float64)
    radius = np.ceil(radius_mm / spacing).astype(int)  # voxels
    for _ in range(steps):
        middle = np.floor(center + 0.5).astype(int)
        low, high = np.maximum(middle - radius, 0), np.minimum(middle + radius + 1, logit.shape)
        around = logit[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].double()
        below = ((around - logit[tuple(peak)]) / softness).clamp(max=0)
        weight = (around.sigmoid() * below.exp()).numpy()
        places = low + np.moveaxis(np.indices(weight.shape), 0, -1)
        weight = weight * (np.linalg.norm((places - center) * spacing, axis=-1) <= radius_mm)
        center = (places * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()
    return center


def region_diameters(logit: Tensor, place: np.ndarray, cell_mm: np.ndarray) -> np.ndarray:
    """Diameters in mm of regions of probability above 1/2 around places, each as a sphere of the same volume.

    Several places that share a region divide it: each gets the part that is nearest to it.

    Args:
        logit: (X, Y, Z) log odds.
        place: (N, 3) continuous indices.
        cell_mm: (3,) distance between outputs in mm.

    Returns:
        Diameters (N,), at least that of one cell.
    """
    labels, _ = ndimage.label((logit > 0).cpu().numpy())
    region_of = labels[tuple(np.rint(place).astype(int).clip(0, np.array(labels.shape) - 1).T)]
    boxes = ndimage.find_objects(labels)
    cells = np.ones(len(place))
    for region in set(region_of[region_of > 0]):
        sharing = np.flatnonzero(region_of == region)
        box = boxes[region - 1]
        inside = np.argwhere(labels[box] == region) + [side.start for side in box]
        nearest = cKDTree(place[sharing] * cell_mm).query(inside * cell_mm)[1]
        cells[sharing] = np.bincount(nearest, minlength=len(sharing)).clip(1)
    return sphere_diameter(cells * np.prod(cell_mm))


def merge_spheres(center_mm: np.ndarray, diameter_mm: np.ndarray, score: np.ndarray) -> list[int]:
    """Indices of the findings that a greedy NMS on spheres keeps.

    A finding is dropped if its centre lies inside a better one, or the better one's centre inside it.

    Args:
        center_mm: (N, 3) centres.
        diameter_mm: (N,) diameters.
        score: (N,) scores.

    Returns:
        Indices kept, best first.
    """
    keep: list[int] = []
    for candidate in np.argsort(-score, kind="stable"):
        distance = np.linalg.norm(center_mm[keep] - center_mm[candidate], axis=1)
        if not (distance < np.maximum(diameter_mm[keep], diameter_mm[candidate]) / 2).any():
            keep.append(int(candidate))
    return keep
