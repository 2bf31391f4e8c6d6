# SPDX-License-Identifier: Apache-2.0
"""Figures of a detection from scans with matched marks; submissions and evaluations share this scorer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungcad.scores.froc import FP_PER_SCAN, Froc, ScoredScan, sensitivity_by_diameter, true_negative_scans

CURVE_FP_PER_SCAN = tuple(2.0 ** np.linspace(-3, 3, 193))
"""False positive rates at which curves are drawn: 1/8 to 8 in 32 steps per octave, among them LUNA16's seven."""

TNP_SENSITIVITY = 0.95
"""Sensitivity at which Zhang et al. 2020, section IV.G, take the true-negative-patient score."""

_INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap


@dataclass(frozen=True)
class Curve:
    """FROC curve with its 95 % band, arrays (P,) of P points.

    Attributes:
        fp_per_scan: mean number of false marks per scan.
        sensitivity: sensitivity at that rate, interpolated; NaN where no scan has a nodule.
        low, high: ends of the pointwise interval of the sensitivity.
        threshold: lowest score with at most ``fp_per_scan`` false marks per scan; NaN where even the highest has more.
    """

    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    threshold: np.ndarray


def score_detection(
    scans: Sequence[ScoredScan], more_fp_per_scan: Sequence[float] = (), bootstraps: int = 1000, seed: int = 0
) -> tuple[dict[str, Any], Curve]:
    """Compute LUNA16's figures, further operating points and the true-negative-patient score.

    Args:
        scans: scans with matched marks.
        more_fp_per_scan: false positive rates of operating points besides LUNA16's seven.
        bootstraps: number of bootstrap draws of scans; all intervals are the 2.5 and 97.5 percentiles over them.
        seed: seed of the bootstrap.

    Returns:
        Figures, ready for JSON (unknown is None), and the FROC curve.

    Raises:
        ValueError: there is no scan or no nodule.
    """
    froc = Froc(scans)
    rates = sorted({*FP_PER_SCAN, *more_fp_per_scan})
    all_rates = np.array([*CURVE_FP_PER_SCAN, *rates, np.inf])  # at inf all marks count
    values, draws = froc.sensitivity_at(all_rates), froc.bootstrap(all_rates, bootstraps, seed)
    low, high = np.percentile(draws, _INTERVAL, axis=0)
    end = len(CURVE_FP_PER_SCAN)
    thresholds = [froc.operating_point(rate).threshold for rate in CURVE_FP_PER_SCAN]
    curve = Curve(all_rates[:end], values[:end], low[:end], high[:end], np.array(thresholds, dtype=float))
    seven = [end + rates.index(rate) for rate in FP_PER_SCAN]
    hit = np.isfinite(np.concatenate([scan.best_scores for scan in scans]))
    figures = {
        "scans": len(scans),
        "nodules": len(hit),
        "hits": int(hit.sum()),
        "missed": int((~hit).sum()),
        "false_positives": sum(len(scan.false_scores) for scan in scans),
        "sensitivity": float(values[-1]),
        "sensitivity_ci": [float(low[-1]), float(high[-1])],
        "false_marks_per_scan": float(froc.fp_per_scan[-1]),
        "found_by_diameter": sensitivity_by_diameter(scans),
        "fp_per_scan": list(FP_PER_SCAN),
        "sensitivities": values[seven].tolist(),
        "sensitivities_ci": np.stack([low, high], axis=1)[seven].tolist(),
        "cpm": float(values[seven].mean()),
        "cpm_ci": np.percentile(draws[:, seven].mean(axis=1), _INTERVAL).tolist(),
        "bootstraps": bootstraps,
        "operating_points": [
            _operating_point(froc, scans, rate, values[n], (low[n], high[n])) for n, rate in enumerate(rates, start=end)
        ],
        "true_negative_patients": _true_negative_patients(froc, scans),
    }
    return figures, curve


def score_without_nodules(
    scans: Sequence[ScoredScan], more_fp_per_scan: Sequence[float] = ()
) -> tuple[dict[str, Any], Curve]:
    """Figures of scans without any nodule, where only false marks can be counted.

    Args:
        scans: scans with matched marks.
        more_fp_per_scan: see :func:`score_detection`.

    Returns:
        Figures by the names of :func:`score_detection`, None for those that need a nodule, and a curve whose
        sensitivities are NaN.
    """
    unknown = ("sensitivity", "sensitivity_ci", "sensitivities", "sensitivities_ci", "cpm", "cpm_ci")
    false = sum(len(scan.false_scores) for scan in scans)
    counts = {"scans": len(scans), "nodules": 0, "hits": 0, "missed": 0, "false_positives": false}
    without_mark = sum(not len(scan.false_scores) for scan in scans)
    clear = {"scans_without_nodule": len(scans), "scans_without_mark": without_mark}
    figures = counts | dict.fromkeys(unknown) | {
        "false_marks_per_scan": false / max(len(scans), 1),
        "found_by_diameter": sensitivity_by_diameter(scans) if scans else {},
        "fp_per_scan": list(FP_PER_SCAN),
        "bootstraps": 0,
        "operating_points": [
            _point_of_false_marks(scans, rate) for rate in sorted({*FP_PER_SCAN, *more_fp_per_scan}) if scans
        ],
        "true_negative_patients": {"at_sensitivity": TNP_SENSITIVITY, "threshold": None, "score": None} | clear,
    }  # fmt: skip
    rates, nan = np.array(CURVE_FP_PER_SCAN), np.full(len(CURVE_FP_PER_SCAN), np.nan)
    thresholds = [lowest_threshold(scans, rate)[0] if scans else None for rate in CURVE_FP_PER_SCAN]
    return figures, Curve(rates, nan, nan, nan, np.array(thresholds, dtype=float))


def lowest_threshold(scans: Sequence[ScoredScan], fp_per_scan: float) -> tuple[float | None, float]:
    """Lowest score of a mark with at most ``fp_per_scan`` false marks per scan, and the false marks per scan there.

    Args:
        scans: one or more scans without a nodule.
        fp_per_scan: largest mean number of false marks.

    Returns:
        Threshold, None where even the highest score has more, and the false marks per scan at it.
    """
    scores, counts = np.unique(np.concatenate([scan.false_scores for scan in scans]), return_counts=True)
    marks = np.cumsum(counts[::-1])  # at or above each score, the highest first
    allowed = int(np.searchsorted(marks / len(scans), fp_per_scan, side="right"))
    return (float(scores[::-1][allowed - 1]), float(marks[allowed - 1] / len(scans))) if allowed else (None, 0.0)


def _point_of_false_marks(scans: Sequence[ScoredScan], rate: float) -> dict[str, Any]:
    """Operating point of a false positive rate on scans without a nodule; see :func:`_operating_point`."""
    threshold, false = lowest_threshold(scans, rate)
    return {
        "fp_per_scan": rate, "sensitivity": None, "sensitivity_ci": None, "threshold": threshold,
        "fp_per_scan_at_threshold": false, "sensitivity_at_threshold": None,
        "found_by_diameter": sensitivity_by_diameter(scans),
    }  # fmt: skip


def compare_detection(
    scans: Sequence[ScoredScan], baseline: Sequence[ScoredScan], bootstraps: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare two systems on the same scans, with intervals from a paired bootstrap: the same draws for both.

    Args:
        scans: scans with matched marks.
        baseline: the same scans with the other system's marks.
        bootstraps, seed: see :func:`score_detection`.

    Returns:
        The baseline's ``cpm`` and ``sensitivities`` at LUNA16's seven points, and ``cpm_difference`` and
        ``sensitivity_differences``, above 0 where the baseline is worse, with their intervals (``_ci``).
    """
    froc, other = Froc(scans), Froc(baseline)
    values = other.sensitivity_at()
    draws, other_draws = (curve.bootstrap(bootstraps=bootstraps, seed=seed) for curve in (froc, other))
    draws = draws - other_draws
    differences = froc.sensitivity_at() - values
    return {
        "cpm": float(values.mean()),
        "sensitivities": values.tolist(),
        "cpm_difference": float(differences.mean()),
        "cpm_difference_ci": np.percentile(draws.mean(axis=1), _INTERVAL).tolist(),
        "sensitivity_differences": differences.tolist(),
        "sensitivity_differences_ci": np.percentile(draws, _INTERVAL, axis=0).T.tolist(),
    }


def _operating_point(
    froc: Froc, scans: Sequence[ScoredScan], rate: float, sensitivity: float, interval: tuple[float, float]
) -> dict[str, Any]:
    """Operating point of a false positive rate: the curve at that rate, and its threshold's figures on the scans."""
    point = froc.operating_point(rate)
    threshold = np.inf if point.threshold is None else point.threshold
    return {
        "fp_per_scan": rate,
        "sensitivity": float(sensitivity),
        "sensitivity_ci": [float(value) for value in interval],
        "threshold": point.threshold,
        "fp_per_scan_at_threshold": point.fp_per_scan,
        "sensitivity_at_threshold": point.sensitivity,
        "found_by_diameter": sensitivity_by_diameter(scans, threshold),
    }


def _true_negative_patients(froc: Froc, scans: Sequence[ScoredScan]) -> dict[str, Any]:
    """Figures of the true-negative-patient score."""
    point = froc.point_of_sensitivity(TNP_SENSITIVITY)
    clear, healthy = true_negative_scans(scans, np.inf if point is None or point.threshold is None else point.threshold)
    figures: dict[str, Any] = {"at_sensitivity": TNP_SENSITIVITY, "threshold": None, "scans_without_nodule": healthy}
    if point is None or not healthy:
        return figures | {"scans_without_mark": None, "score": None}
    return figures | {"threshold": point.threshold, "scans_without_mark": clear, "score": clear / healthy}
