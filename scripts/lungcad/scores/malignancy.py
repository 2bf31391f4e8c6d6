# SPDX-License-Identifier: Apache-2.0
"""Figures of a malignancy classifier: MTMR-Net's (Liu et al., IEEE TMI 2020, equations 7 to 11) and its calibration.

Equation 10 has a sign error as printed; the AUC here is the usual one, the share of malignant-benign pairs that are in
the right order, equal scores counting half.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss

_INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap


@dataclass(frozen=True)
class Predictions:
    """Predictions for N nodules, with the truth.

    Attributes:
        label: (N,) truth, 0 benign, 1 malignant.
        probability: (N,) predicted probability of malignancy.
        patient: (N,) number of the patient from 0; nodules of one patient are drawn together.
        attributes: (2, N) predicted and true scores on the original scale, by LIDC's name of the attribute.
    """

    label: np.ndarray
    probability: np.ndarray
    patient: np.ndarray
    attributes: Mapping[str, np.ndarray]


def score_malignancy(
    predictions: Predictions, *, threshold: float = 0.5, bins: int = 10, bootstraps: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compute all figures of a malignancy classifier, ready for JSON.

    Args:
        predictions: predictions for at least one nodule; figures that need a benign and a malignant one are None where
            all are of one class.
        threshold: lowest probability that is called malignant.
        bins: number of calibration bins, of equal width.
        bootstraps: number of bootstrap draws of patients; intervals are the 2.5 and 97.5 percentiles over them.
        seed: seed of the bootstrap.

    Raises:
        ValueError: there is no nodule.
    """
    label = predictions.label
    if not len(label):
        raise ValueError("nothing to score: no nodule that is benign or malignant.")

    def figures(weight: np.ndarray) -> dict[str, float]:
        errors = {name: _error(pair, weight) for name, pair in predictions.attributes.items()}
        return classification(label, predictions.probability, threshold, weight) | errors

    values = figures(np.ones(len(label)))
    intervals = bootstrap(figures, predictions, bootstraps=bootstraps, seed=seed)
    table = calibration(label, predictions.probability, bins)
    return {
        "nodules": len(label),
        "patients": len(np.unique(predictions.patient)),
        "benign": int((label == 0).sum()),
        "malignant": int((label == 1).sum()),
        "threshold": threshold,
        "bootstraps": bootstraps,
        **{key: _known(value) for key, value in values.items() if key not in predictions.attributes},
        **{f"{key}_ci": value for key, value in intervals.items() if key not in predictions.attributes},
        "brier": float(brier_score_loss(label, predictions.probability)),
        "ece": calibration_error(table),
        "ece_bins": bins,
        "calibration": table,
        "attribute_errors": {name: {"error": values[name], "ci": intervals[name]} for name in predictions.attributes},
    }


def compare_malignancy(
    predictions: Predictions, baseline: Predictions, *, threshold: float = 0.5, bootstraps: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare two systems on the same nodules, with intervals from a paired bootstrap: the same draws for both.

    Args:
        predictions, baseline: predictions for the same nodules in the same order.
        threshold, bootstraps, seed: see :func:`score_malignancy`.

    Returns:
        ``nodules``, and for each figure of :func:`classification` its value, the baseline's (``baseline_``) and their
        difference (``_difference``, ``_difference_ci``), above 0 where the baseline is lower.
    """

    def figures(weight: np.ndarray) -> dict[str, float]:
        system, other = (
            classification(entry.label, entry.probability, threshold, weight) for entry in (predictions, baseline)
        )
        both = system | {f"baseline_{key}": value for key, value in other.items()}
        return both | {f"{key}_difference": system[key] - other[key] for key in system}

    values = figures(np.ones(len(predictions.label)))
    intervals = bootstrap(figures, predictions, bootstraps=bootstraps, seed=seed)
    difference_intervals = {f"{key}_ci": interval for key, interval in intervals.items() if key.endswith("_difference")}
    known = {key: _known(value) for key, value in values.items()}
    return {"nodules": len(predictions.label), **known, **difference_intervals}


def _known(value: float) -> float | None:
    """Value of a figure; None for NaN, which stands for a figure that the classes do not give."""
    return None if np.isnan(value) else value


def classification(
    label: np.ndarray, probability: np.ndarray, threshold: float, weight: np.ndarray | None = None
) -> dict[str, float]:
    """Accuracy, sensitivity, specificity (MTMR-Net, equations 7 to 9), balanced accuracy and AUC.

    Figures of a class that does not occur, and of both together, are NaN.

    Args:
        label: (N,) 0 benign, 1 malignant; one or more with a weight above 0.
        probability: (N,) probability of malignancy.
        threshold: lowest probability that is called malignant.
        weight: (N,) number of times that each nodule counts; None counts each once.
    """
    weight = np.ones(len(label)) if weight is None else weight
    benign, malignant = weight * (label == 0), weight * (label == 1)
    called = probability >= threshold
    true_positive, true_negative = malignant[called].sum(), benign[~called].sum()
    sensitivity = true_positive / malignant.sum() if malignant.any() else np.nan
    specificity = true_negative / benign.sum() if benign.any() else np.nan
    return {
        "accuracy": float((true_positive + true_negative) / weight.sum()),
        "sensitivity": float(sensitivity),
        "specificity": float(specificity),
        "balanced_accuracy": float((sensitivity + specificity) / 2),
        "auc": area_under_curve(label, probability, weight),
    }


def area_under_curve(label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """AUC of scores (N,), higher for malignant nodules; ``label`` and ``weight`` as in :func:`classification`.

    NaN where all nodules are of one class.
    """
    levels, level = np.unique(score, return_inverse=True)
    benign = np.bincount(level, weight * (label == 0), len(levels))
    malignant = np.bincount(level, weight * (label == 1), len(levels))
    beaten = benign.cumsum() - benign / 2  # by each malignant nodule of a level: all benign ones below, half of its own
    pairs = malignant.sum() * benign.sum()
    return float(malignant @ beaten / pairs) if pairs else float("nan")


def calibration(label: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[dict[str, Any]]:
    """Table of a reliability diagram: bins of equal width over [0, 1].

    A bin holds its lower edge, the last one both edges.

    Args:
        label: (N,) 0 benign, 1 malignant.
        probability: (N,) probability of malignancy.
        bins: number of bins.

    Returns:
        For each bin ``low``, ``high``, ``nodules``, ``malignant`` and ``mean_probability`` (None where empty).
    """
    edges = np.linspace(0, 1, bins + 1)
    number = np.digitize(probability, edges[1:-1])
    table = []
    for low, high, in_bin in zip(edges[:-1], edges[1:], (number == n for n in range(bins)), strict=True):
        mean = float(probability[in_bin].mean()) if in_bin.any() else None
        table.append({"low": float(low), "high": float(high), "nodules": int(in_bin.sum()),
                      "malignant": int(label[in_bin].sum()), "mean_probability": mean})  # fmt: skip
    return table


def calibration_error(table: list[dict[str, Any]]) -> float:
    """Expected calibration error (ECE) of a :func:`calibration` table, for the probability of malignancy.

    It is the mean distance of a bin's mean probability to its share of malignant nodules, weighted by its nodules.
    """
    filled = [row for row in table if row["nodules"]]
    distances = [abs(row["mean_probability"] * row["nodules"] - row["malignant"]) for row in filled]
    return float(sum(distances) / sum(row["nodules"] for row in filled))


def bootstrap(
    figures: Callable[[np.ndarray], Mapping[str, float]], predictions: Predictions, *,
    bootstraps: int = 1000, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """95 % interval of each figure, from draws of patients with replacement; draws that lack a class are repeated.

    Args:
        figures: function that computes figures from weights (N,), the number of times that each nodule counts.
        predictions: labels and patients; the same ones and the same seed give the same draws.
        bootstraps, seed: see :func:`score_malignancy`.

    Returns:
        Lower and upper end by figure; None for a figure that is NaN.
    """
    rng = np.random.default_rng(seed)
    sides = np.unique(predictions.label)
    patients = int(predictions.patient.max()) + 1
    values: list[Mapping[str, float]] = []
    while len(values) < bootstraps:
        weight = np.bincount(rng.integers(patients, size=patients), minlength=patients)[predictions.patient]
        if all((weight[predictions.label == side] > 0).any() for side in sides):
            values.append(figures(weight))
    ends = {key: np.percentile([draw[key] for draw in values], _INTERVAL).tolist() for key in values[0]}
    return {key: None if np.isnan(interval).any() else interval for key, interval in ends.items()}


def _error(pair: np.ndarray, weight: np.ndarray) -> float:
    """Absolute distance error (MTMR-Net, equation 11) of (2, N) predicted and true scores."""
    predicted, true = pair
    return float(np.average(np.abs(predicted - true), weights=weight))
