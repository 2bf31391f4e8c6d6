# SPDX-License-Identifier: Apache-2.0
"""Free-response ROC (FROC) by the rules of LUNA16 (Setio et al. 2017), with bootstrap over scans.

Matching. A mark hits a nodule if it is closer than the radius to its centre, strictly; of several marks on one nodule
the best counts and the others count neither way; so do marks on ignored lesions. A mark inside two nodules hits both.
Nodules that no mark hits stay in the denominator, and so do scans without marks.

The curve. Its points are the distinct scores, highest first: at each, marks of at least that score are counted, so
equal scores fall together, whatever their order. It starts at (0, 0). Between two points it is a straight line, as in
LUNA16's evaluation; where it rises vertically, its value is the upper end; beyond its last point it is level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

FP_PER_SCAN = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positive rates of the seven points; their mean sensitivity is the competition performance metric (CPM)."""

EDGES_MM = (3.0, 5.0, 10.0, np.inf)
"""Edges of the ranges of diameters in mm."""


@dataclass
class ScoredScan:
    """Scan with marks matched to its nodules.

    Attributes:
        best_scores: (N,) score of the best mark on each nodule, -inf where missed.
        diameters_mm: (N,) diameter of each nodule in mm.
        false_scores: (F,) scores of the false marks.
    """

    best_scores: np.ndarray
    diameters_mm: np.ndarray
    false_scores: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point of a threshold on the score; marks at or above it are reported.

    Attributes:
        threshold: lowest reported score; None where nothing may be reported.
        fp_per_scan: mean number of false marks per scan.
        sensitivity: share of the nodules that are found.
    """

    threshold: float | None
    fp_per_scan: float
    sensitivity: float


def match_marks(
    nodules: np.ndarray, ignored: np.ndarray, marks: np.ndarray, scores: np.ndarray
) -> tuple[ScoredScan, np.ndarray]:
    """Match marks to the nodules of a scan.

    Args:
        nodules: (N, 4) x, y, z, diameter in mm.
        ignored: (M, 4) x, y, z, diameter in mm of lesions that count neither as nodules nor as false.
        marks: (K, 3) x, y, z in mm.
        scores: (K,) scores of the marks.

    Returns:
        The scored scan, and for each nodule the index of its best mark (-1 = missed).
    """

    def inside(spheres: np.ndarray) -> np.ndarray:
        distance2 = ((marks.reshape(-1, 1, 3) - spheres[None, :, :3]) ** 2).sum(axis=-1)
        return distance2 < (spheres[None, :, 3] / 2) ** 2  # (K, M); squares, as LUNA16's evaluation compares

    on_nodule, on_ignored = inside(nodules), inside(ignored)
    value = np.where(on_nodule, scores[:, None], -np.inf)
    best_mark = np.full(len(nodules), -1)
    best_scores = np.full(len(nodules), -np.inf)
    if len(marks):
        best_mark = np.where(on_nodule.any(axis=0), value.argmax(axis=0), -1)
        best_scores = value.max(axis=0, initial=-np.inf)
    false_scores = scores[~on_nodule.any(axis=1) & ~on_ignored.any(axis=1)]
    return ScoredScan(best_scores, nodules[:, 3], false_scores), best_mark


class Froc:
    """FROC curve of scored scans, and of bootstrap draws of them.

    The marks are sorted once; a draw only weights them by the number of times that it contains their scan.

    Args:
        scans: scans with matched marks, with at least one nodule among them.

    Attributes:
        nodules: (S,) number of nodules of each scan.
        thresholds: (T,) the distinct scores, falling.
        fp_per_scan: (1 + T,) false marks per scan, 0 and then at each threshold.
        sensitivity: (1 + T,) sensitivity, 0 and then at each threshold.

    Raises:
        ValueError: there is no scan or no nodule.
    """

    def __init__(self, scans: Sequence[ScoredScan]):
        self.nodules = np.array([len(scan.best_scores) for scan in scans], dtype=int)  # per scan
        if not self.nodules.sum():
            raise ValueError("nothing to score: no nodule in any scan.")
        found = [scan.best_scores[np.isfinite(scan.best_scores)] for scan in scans]
        false = [scan.false_scores for scan in scans]
        scores = np.concatenate([*found, *false])
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        self._scan = np.concatenate([np.repeat(np.arange(len(scans)), [len(v) for v in part])
                                     for part in (found, false)])[order]  # fmt: skip
        self._hit = order < sum(map(len, found))
        self._last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of each run of equal scores
        self.thresholds = scores[self._last]
        self.fp_per_scan, self.sensitivity = self.curve()

    def curve(self, draw: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """False marks per scan and sensitivity, each (1 + T,): 0 and then the value at each of the (T,) thresholds.

        Args:
            draw: (S,) number of times that each scan counts; None counts each once.
        """
        draw = np.ones(len(self.nodules), dtype=int) if draw is None else draw
        weight = draw[self._scan]
        true = np.cumsum(weight * self._hit)[self._last]
        false = np.cumsum(weight * ~self._hit)[self._last]
        return np.r_[0, false] / draw.sum(), np.r_[0, true] / (draw @ self.nodules)

    def sensitivity_at(
        self, fp_per_scan: Sequence[float] | np.ndarray = FP_PER_SCAN, draw: np.ndarray | None = None
    ) -> np.ndarray:
        """Sensitivity at each mean number of false marks per scan, inf for all marks; ``draw`` as in :meth:`curve`."""
        return np.interp(fp_per_scan, *self.curve(draw))

    def bootstrap(
        self, fp_per_scan: Sequence[float] | np.ndarray = FP_PER_SCAN, bootstraps: int = 1000, seed: int = 0
    ) -> np.ndarray:
        """Sensitivities (bootstraps, P) of draws of scans with replacement; draws without a nodule are repeated."""
        rng = np.random.default_rng(seed)
        number = len(self.nodules)
        values: list[np.ndarray] = []
        while len(values) < bootstraps:
            draw = np.bincount(rng.integers(number, size=number), minlength=number)
            if draw @ self.nodules:
                values.append(self.sensitivity_at(fp_per_scan, draw))
        return np.array(values)

    def operating_point(self, fp_per_scan: float) -> OperatingPoint:
        """Operating point of the lowest threshold with at most ``fp_per_scan`` false marks per scan."""
        return self._point(int(np.searchsorted(self.fp_per_scan, fp_per_scan, side="right")) - 1)

    def point_of_sensitivity(self, sensitivity: float) -> OperatingPoint | None:
        """Operating point of the highest threshold with at least this sensitivity; None where all marks reach less."""
        enough = np.flatnonzero(self.sensitivity >= sensitivity)
        return self._point(int(enough[0])) if len(enough) else None

    def _point(self, number: int) -> OperatingPoint:
        threshold = float(self.thresholds[number - 1]) if number else None
        return OperatingPoint(threshold, float(self.fp_per_scan[number]), float(self.sensitivity[number]))


def sensitivity_by_diameter(scans: Sequence[ScoredScan], threshold: float = -np.inf) -> dict[str, list[int]]:
    """Numbers of nodules found and of all nodules, by range of diameters (:data:`EDGES_MM`).

    A range holds its lower edge, not its upper one; nodules below the first edge, if any, get a range of their own.

    Args:
        scans: scans with matched marks.
        threshold: lowest score of a mark that counts.
    """
    best_scores = np.concatenate([scan.best_scores for scan in scans])
    diameters = np.concatenate([scan.diameters_mm for scan in scans])
    table = {}
    for low, high in pairwise((-np.inf, *EDGES_MM)):
        in_range = (diameters >= low) & (diameters < high)
        found = in_range & np.isfinite(best_scores) & (best_scores >= threshold)
        name = f"<{high:g} mm" if low == -np.inf else f"{low:g}-{high:g} mm" if np.isfinite(high) else f">{low:g} mm"
        if in_range.any() or low > -np.inf:
            table[name] = [int(found.sum()), int(in_range.sum())]
    return table


def true_negative_scans(scans: Sequence[ScoredScan], threshold: float) -> tuple[int, int]:
    """Numbers of scans without a nodule: those without a false mark of at least ``threshold``, and all of them.

    Their ratio is the true-negative-patient score of Zhang et al. 2020 (arXiv 2001.11071, section IV.G), who take the
    threshold that gives a sensitivity of 0.95 and count LUNA16's 287 scans without a nodule as patients. Marks on
    ignored lesions do not spoil a scan.
    """
    healthy = [scan for scan in scans if not len(scan.best_scores)]
    return sum(not (scan.false_scores >= threshold).any() for scan in healthy), len(healthy)
