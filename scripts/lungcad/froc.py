# SPDX-License-Identifier: Apache-2.0
"""Free-response ROC by the rules of LUNA16 (Setio et al. 2017), with bootstrap over scans.

A mark hits a nodule if it is closer than the radius to its centre; of several marks on one nodule the best counts;
marks on ignored lesions count neither way; nodules that no mark hits stay in the denominator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FP_PER_SCAN = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""The seven points whose mean sensitivity is the competition performance metric (CPM)."""


@dataclass
class ScoredScan:
    """One scan after matching.

    Attributes:
        hits: (N,) score of the best mark on each nodule, -inf where missed.
        diameters_mm: (N,) of the nodules.
        false: (F,) scores of the false marks.
    """

    hits: np.ndarray
    diameters_mm: np.ndarray
    false: np.ndarray


def match(
    nodules: np.ndarray, ignored: np.ndarray, marks: np.ndarray, scores: np.ndarray
) -> tuple[ScoredScan, np.ndarray]:
    """Match marks to nodules.

    Args:
        nodules: (N, 4) x, y, z, diameter in mm.
        ignored: (M, 4) likewise.
        marks: (K, 3) in mm.
        scores: (K,).

    Returns:
        The scored scan, and for each nodule the number of its best mark (-1 = missed).
    """

    def inside(spheres: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(marks.reshape(-1, 1, 3) - spheres[None, :, :3], axis=-1)
        return distance < spheres[None, :, 3] / 2  # (K, M)

    on_nodule, on_ignored = inside(nodules), inside(ignored)
    value = np.where(on_nodule, scores[:, None], -np.inf)
    best = np.full(len(nodules), -1)
    hits = np.full(len(nodules), -np.inf)
    if len(marks):
        best = np.where(on_nodule.any(axis=0), value.argmax(axis=0), -1)
        hits = value.max(axis=0, initial=-np.inf)
    false = scores[~on_nodule.any(axis=1) & ~on_ignored.any(axis=1)]
    return ScoredScan(hits, nodules[:, 3], false), best


def sensitivities(scans: Sequence[ScoredScan], fp_per_scan: Sequence[float] = FP_PER_SCAN) -> np.ndarray:
    """Sensitivity at each mean number of false positives per scan, interpolated along the curve as LUNA16 does.

    Raises:
        ValueError: there is no scan or no nodule.
    """
    if not scans or not sum(len(scan.hits) for scan in scans):
        raise ValueError("nothing to score: no nodule in any scan.")
    hits = np.concatenate([scan.hits for scan in scans])
    false = np.concatenate([scan.false for scan in scans])
    thresholds = np.unique(np.concatenate([hits[np.isfinite(hits)], false]))[::-1]
    true_rate = [(hits[:, None] >= thresholds).mean(axis=0)]
    false_rate = [len(false) / len(scans) - np.searchsorted(np.sort(false), thresholds, side="left") / len(scans)]
    return np.interp(fp_per_scan, np.r_[0.0, *false_rate], np.r_[0.0, *true_rate])


def cpm_with_interval(scans: Sequence[ScoredScan], rounds: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """CPM and its 95 % interval by bootstrap over scans; rounds that drew no nodule are drawn again."""
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < rounds:
        drawn = [scans[n] for n in rng.integers(len(scans), size=len(scans))]
        if sum(len(scan.hits) for scan in drawn):
            values.append(float(sensitivities(drawn).mean()))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(sensitivities(scans).mean()), float(low), float(high)


def sensitivity_by_diameter(
    scans: Sequence[ScoredScan], threshold: float = -np.inf, edges_mm: Sequence[float] = (3, 5, 10, np.inf)
) -> dict[str, tuple[int, int]]:
    """Found and all nodules per range of diameters, counting hits of at least ``threshold``."""
    hits = np.concatenate([scan.hits for scan in scans])
    diameters = np.concatenate([scan.diameters_mm for scan in scans])
    table = {}
    for low, high in pairwise(edges_mm):
        here = (diameters >= low) & (diameters < high)
        found = here & np.isfinite(hits) & (hits >= threshold)
        table[f"{low:g}-{high:g} mm" if np.isfinite(high) else f">{low:g} mm"] = (int(found.sum()), int(here.sum()))
    return table
