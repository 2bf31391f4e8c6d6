# SPDX-License-Identifier: Apache-2.0
"""Calibration of a malignancy bundle: the line through its logits that makes probabilities agree with frequencies.

The method is Platt scaling (Platt 1999, "Probabilistic Outputs for Support Vector Machines"): temperature scaling (Guo
et al., ICML 2017) and a shift, because half of the training's slices are malignant and fewer nodules are. One
difference: a nodule's probability is the mean over its slices (MTMR-Net, section III.A.3), so each slice's logit is
changed before that mean is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss

from lungcad.errors import InputError
from lungcad.scores.malignancy import calibration as reliability
from lungcad.scores.malignancy import calibration_error
from lungcad.scores.predictions import read_nodules, to_predictions
from lungcad.tables import Row

BOUNDS = (0.2, 5.0)
"""Lowest and highest temperature considered."""
SHIFTS = (-5.0, 5.0)
"""Lowest and highest shift considered."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of log odds: they are divided by ``temperature``, then ``shift`` is added."""

    temperature: float = 1.0
    shift: float = 0.0

    def __str__(self) -> str:
        return f"T = {self.temperature:.3f}, shift {self.shift:+.3f}"


@dataclass(frozen=True)
class SliceLogits:
    """Malignancy logits of N nodules, slice by slice, and their labels.

    Attributes:
        logits: N arrays (S,) of malignancy logits, one for each of the S slices of a nodule.
        label: (N,) labels: 0 benign, 1 malignant.
    """

    logits: Sequence[np.ndarray]
    label: np.ndarray

    def probability(self, calibration: Calibration) -> np.ndarray:
        """Probabilities (N,) of malignancy, as the bundle reports them with this calibration."""
        slices = [len(logits) for logits in self.logits]
        starts = np.cumsum([0, *slices[:-1]])
        logits = np.concatenate(self.logits) / calibration.temperature + calibration.shift
        return np.add.reduceat(expit(logits), starts) / slices


def read_logits(paths: Sequence[str | Path]) -> SliceLogits:
    """Read the tables that :mod:`lungcad.papers.mtmrnet.scoring` wrote, as one; mean malignancy 3 is left out.

    Args:
        paths: files predictions.csv.

    Raises:
        InputError: E-TABLE, a table that :func:`lungcad.scores.predictions.read_nodules` refuses, or a nodule without
            logits.
    """
    nodules, _ = read_nodules(paths)
    if "logits" not in nodules.columns:
        raise InputError("E-TABLE", f"{nodules.name}: column logits missing.", "Score the nodules again.")
    return SliceLogits([_logits(row) for row in nodules.rows], to_predictions(nodules).label)


def fit_calibration(nodules: SliceLogits) -> Calibration:
    """Calibration within :data:`BOUNDS` and :data:`SHIFTS` that gives the labels the highest likelihood."""

    def calibration_of(parameters: np.ndarray) -> Calibration:
        return Calibration(float(np.exp(parameters[0])), float(parameters[1]))

    def loss(parameters: np.ndarray) -> float:
        return log_loss(nodules.label, nodules.probability(calibration_of(parameters)))

    return calibration_of(minimize(loss, (0.0, 0.0), bounds=[np.log(BOUNDS), SHIFTS], method="Nelder-Mead").x)


def cross_fit(folds: Sequence[SliceLogits]) -> Iterator[tuple[Calibration, np.ndarray]]:
    """Fit the calibration for each fold on the other folds; yields it and the fold's probabilities (N,) with it."""
    for held_out in folds:
        calibration = fit_calibration(join_folds([fold for fold in folds if fold is not held_out]))
        yield calibration, held_out.probability(calibration)


def join_folds(folds: Sequence[SliceLogits]) -> SliceLogits:
    """Nodules of all folds together."""
    logits = [nodule for fold in folds for nodule in fold.logits]
    return SliceLogits(logits, np.concatenate([fold.label for fold in folds]))


def calibration_figures(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Figures of calibration: ``nll`` (mean negative log likelihood), ``ece`` (ten bins of equal width) and ``brier``.

    Args:
        label: (N,) 0 benign, 1 malignant.
        probability: (N,) of malignancy.
    """
    return {
        "nll": float(log_loss(label, probability)),
        "ece": calibration_error(reliability(label, probability)),
        "brier": float(brier_score_loss(label, probability)),
    }


def _logits(row: Row) -> np.ndarray:
    """Logits (S,) of a row's slices."""
    texts = row.text("logits").split()
    try:
        return np.array(texts, dtype=float)
    except ValueError as error:
        raise row.refusal(f"logits are {' '.join(texts)!r} (expected numbers separated by blanks)") from error
