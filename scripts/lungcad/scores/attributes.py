# SPDX-License-Identifier: Apache-2.0
"""How much each of LIDC's eight attributes tells of malignancy (MTMR-Net, Liu et al. 2019, section III.D, Table IV).

The paper eliminates the attributes one by one with a logistic regression and keeps "the correlation coefficients and
its important ratio of the removed feature", which it combines "in a nested manner"; it gives no formula. Here:

1. Attributes are standardised (mean 0, standard deviation 1), so that coefficients can be compared.
2. At step k a logistic regression of the attributes that are left is fitted, and the one with the smallest absolute
   coefficient is removed; s_k is its share of the sum of absolute coefficients. The last one's share is 1.
3. Shares are nested, each a share of what the removed ones left over: w_k = s_k (1 - s_1) ... (1 - s_(k-1)). These sum
   to 1, as Table IV does but for rounding (0.99).
4. A regression of fewer attributes may give the next one less than the one removed before it. What outlives another
   weighs no less: w_k becomes the largest of w_1 ... w_k, and the eight are divided by their sum.

So 1/8 is the average, and within a fit importance grows in the order of elimination. Mean and standard deviation (of
the five values themselves) are over five folds of patients, each fitted on the other four; ranks are by the mean.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.malignancy_scores import Predictions

FOLDS = 5
"""Of the patients; as many as the paper's cross validation has."""

SOURCES = {"readers": 1, "network": 0}
"""Whose scores, and their place in the pairs of :class:`lungcad.malignancy_scores.Predictions`."""

PAPER = dict(zip(ATTRIBUTES, (0.251, 0.007, 0.133, 0.072, 0.125, 0.171, 0.164, 0.067), strict=True))
"""Relatedness in Table IV. Lob and Spi may be swapped there (as in Table III's caption): 0.171, 0.164, ranks 2, 3."""


def relate(predictions: Predictions) -> dict[str, Any]:
    """Compute the importance of all eight attributes, as the readers and as the network scored them.

    Args:
        predictions: with all eight attributes.

    Returns:
        Ready for JSON: counts, what was done, and under ``sources`` for ``readers`` and ``network`` each attribute's
        ``importance`` (mean over folds), ``std``, ``rank`` (1 is the most important) and ``above_average``.

    Raises:
        InputError: E-TABLE, where there are fewer than five patients, or some fold's fit lacks one of the two classes.
    """
    return {
        "nodules": len(predictions.label),
        "patients": len(np.unique(predictions.patient)),
        "benign": int((predictions.label == 0).sum()),
        "malignant": int((predictions.label == 1).sum()),
        "model": "logistic regression (L2, C = 1) of standardised attributes",
        "importance": "nested share of the sum of absolute coefficients at elimination",
        "folds": FOLDS,
        "average": 1 / len(ATTRIBUTES),
        "sources": {
            source: _summary(fold_importances(scores_of(predictions, source), predictions.label, predictions.patient))
            for source in SOURCES
        },
    }


def scores_of(predictions: Predictions, source: str) -> np.ndarray:
    """(N, 8) scores in the order of ATTRIBUTES on LIDC's scales; ``source`` is a key of :data:`SOURCES`."""
    return np.stack([predictions.attributes[name][SOURCES[source]] for name in ATTRIBUTES], axis=1)


def fold_importances(scores: np.ndarray, label: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Importances over folds of patients, each fitted on the other folds.

    Args:
        scores: (N, K) of K attributes.
        label: (N,) 0 benign, 1 malignant.
        patient: (N,) number of the patient.

    Returns:
        (FOLDS, K); every row sums to 1.
    """
    patients = len(np.unique(patient))
    if patients < FOLDS:
        raise InputError("E-TABLE", f"{patients} patients (expected at least {FOLDS}, one per fold).",
                         "Give a larger table.")  # fmt: skip
    rows = []
    for rest, _ in GroupKFold(FOLDS).split(scores, groups=patient):
        if len(np.unique(label[rest])) != 2:
            text = "all benign or all malignant nodules are of one fold's patients."
            raise InputError("E-TABLE", text, "Give a table with more patients of both kinds.")
        rows.append(importances(scores[rest], label[rest])[0])
    return np.stack(rows)


def importances(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Eliminate attributes recursively; the module's docstring has the definition.

    Args:
        scores: (N, K) of K attributes; one that is constant is eliminated first, with importance 0.
        label: (N,) 0 benign, 1 malignant, both there.

    Returns:
        (K,) importances that sum to 1, and the columns in the order of elimination.
    """
    standard = StandardScaler().fit_transform(scores)
    left, order, nested, over = list(range(scores.shape[1])), [], [], 1.0
    while left:
        weights = np.abs(LogisticRegression().fit(standard[:, left], label).coef_[0])
        least = int(weights.argmin())
        share = weights[least] / weights.sum() if weights.any() else 1 / len(left)
        nested.append(over * share)
        over *= 1 - share
        order.append(left.pop(least))
    growing = np.maximum.accumulate(nested)
    values = np.empty(len(order))
    values[order] = growing / growing.sum()
    return values, order


def ranks(values: np.ndarray) -> np.ndarray:
    """(K,) rank of each of (K,) values; 1 is the largest, of equal ones the first comes first."""
    found = np.empty(len(values), dtype=int)
    found[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return found


def _summary(folds: np.ndarray) -> dict[str, dict[str, Any]]:
    mean, std = folds.mean(axis=0), folds.std(axis=0)
    average = 1 / folds.shape[1]
    return {
        name: {"importance": value, "std": spread, "rank": rank, "above_average": value > average}
        for name, value, spread, rank in zip(ATTRIBUTES, mean.tolist(), std.tolist(), ranks(mean).tolist(), strict=True)
    }
