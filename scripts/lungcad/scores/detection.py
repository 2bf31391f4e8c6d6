# SPDX-License-Identifier: Apache-2.0
"""All figures of a detection, from scans that were matched: one scorer for submissions and for evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungcad.scores.froc import FP_PER_SCAN, Froc, ScoredScan, sensitivity_by_diameter, true_negative_scans

CURVE_FP_PER_SCAN = tuple(2.0 ** np.linspace(-3, 3, 193))
"""Where curves are drawn: 1/8 to 8 in 32 steps per octave, among them LUNA16's seven."""

TNP_SENSITIVITY = 0.95
"""At which Zhang et al. 2020, section IV.G, take the true-negative-patient score."""

_INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap


@dataclass(frozen=True)
class Curve:
    """A FROC curve with its 95 % band, each (P,).

    Attributes:
        fp_per_scan: mean number of false marks per scan.
        sensitivity: there, interpolated.
        low, high: the pointwise interval of the sensitivity.
        threshold: lowest score with at most so many false marks; NaN where none has so few.
    """

    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    threshold: np.ndarray


def score_detection(
    scans: Sequence[ScoredScan], more_fp_per_scan: Sequence[float] = (), rounds: int = 1000, seed: int = 0
) -> tuple[dict[str, Any], Curve]:
    """Compute LUNA16's figures and those beside them.

    Args:
        scans: after matching.
        more_fp_per_scan: operating points to tell besides LUNA16's seven.
        rounds: of the bootstrap over scans; all intervals are its 2.5 and 97.5 percentiles.
        seed: of the bootstrap.

    Returns:
        The figures, ready for JSON (unknown is None), and the curve.

    Raises:
        ValueError: there is no scan or no nodule.
    """
    froc = Froc(scans)
    rates = sorted({*FP_PER_SCAN, *more_fp_per_scan})
    asked = np.array([*CURVE_FP_PER_SCAN, *rates, np.inf])  # at inf all marks count
    values, draws = froc.at(asked), froc.bootstrap(asked, rounds, seed)
    low, high = np.percentile(draws, _INTERVAL, axis=0)
    end = len(CURVE_FP_PER_SCAN)
    thresholds = [froc.operating_point(rate).threshold for rate in CURVE_FP_PER_SCAN]
    curve = Curve(asked[:end], values[:end], low[:end], high[:end], np.array(thresholds, dtype=float))
    seven = [end + rates.index(rate) for rate in FP_PER_SCAN]
    hits = np.concatenate([scan.hits for scan in scans])
    figures = {
        "scans": len(scans),
        "nodules": len(hits),
        "hits": int(np.isfinite(hits).sum()),
        "missed": int((~np.isfinite(hits)).sum()),
        "false_positives": sum(len(scan.false) for scan in scans),
        "sensitivity": float(values[-1]),
        "sensitivity_ci": [float(low[-1]), float(high[-1])],
        "false_marks_per_scan": float(froc.fp_per_scan[-1]),
        "found_by_diameter": sensitivity_by_diameter(scans),
        "fp_per_scan": list(FP_PER_SCAN),
        "sensitivities": values[seven].tolist(),
        "sensitivities_ci": np.stack([low, high], axis=1)[seven].tolist(),
        "cpm": float(values[seven].mean()),
        "cpm_ci": np.percentile(draws[:, seven].mean(axis=1), _INTERVAL).tolist(),
        "bootstraps": rounds,
        "operating_points": [
            _operating_point(froc, scans, rate, values[n], (low[n], high[n])) for n, rate in enumerate(rates, start=end)
        ],
        "true_negative_patients": _true_negative_patients(froc, scans),
    }
    return figures, curve


def score_without_nodules(scans: Sequence[ScoredScan]) -> dict[str, Any]:
    """Figures of scans none of which holds a nodule: false marks are all there is to count.

    Args:
        scans: after matching.

    Returns:
        Figures by the names of :func:`score_detection`, None where only a nodule would tell.
    """
    unknown = ("sensitivity", "sensitivity_ci", "sensitivities", "sensitivities_ci", "cpm", "cpm_ci")
    false = sum(len(scan.false) for scan in scans)
    counts = {"scans": len(scans), "nodules": 0, "hits": 0, "missed": 0, "false_positives": false}
    clear = {"scans_without_nodule": len(scans), "scans_without_mark": sum(not len(scan.false) for scan in scans)}
    return counts | dict.fromkeys(unknown) | {
        "false_marks_per_scan": false / max(len(scans), 1),
        "found_by_diameter": sensitivity_by_diameter(scans) if scans else {},
        "fp_per_scan": list(FP_PER_SCAN),
        "operating_points": [],
        "true_negative_patients": {"at_sensitivity": TNP_SENSITIVITY, "threshold": None, "score": None} | clear,
    }  # fmt: skip


def compare_detection(
    scans: Sequence[ScoredScan], baseline: Sequence[ScoredScan], rounds: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare two systems on the same scans; the intervals are of draws of scans that both share.

    Args:
        scans: after matching.
        baseline: the same scans with the other system's marks.
        rounds, seed: as :func:`score_detection` takes them.

    Returns:
        The baseline's ``cpm`` and ``sensitivities`` at LUNA16's seven points, and ``cpm_difference`` and
        ``sensitivity_differences``, above 0 where the baseline is worse, with their intervals (``_ci``).
    """
    froc, other = Froc(scans), Froc(baseline)
    values, draws = other.at(), froc.bootstrap(rounds=rounds, seed=seed) - other.bootstrap(rounds=rounds, seed=seed)
    differences = froc.at() - values
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
    """The curve at a rate, and what the threshold for that rate gives on these scans."""
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
    point = froc.reaching(TNP_SENSITIVITY)
    clear, healthy = true_negative_scans(scans, np.inf if point is None or point.threshold is None else point.threshold)
    figures: dict[str, Any] = {"at_sensitivity": TNP_SENSITIVITY, "threshold": None, "scans_without_nodule": healthy}
    if point is None or not healthy:
        return figures | {"scans_without_mark": None, "score": None}
    return figures | {"threshold": point.threshold, "scans_without_mark": clear, "score": clear / healthy}
