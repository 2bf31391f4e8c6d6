# SPDX-License-Identifier: Apache-2.0
"""Temperature of a malignancy bundle: what its logits are divided by so that probabilities are frequencies.

As Guo et al. (ICML 2017, "On Calibration of Modern Neural Networks"), with one difference: a nodule's probability is
the mean over its slices (MTMR-Net, section III.A.3), so each slice's logit is divided before that mean is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss

from lungcad.errors import InputError
from lungcad.scores.malignancy import calibration, calibration_error
from lungcad.scores.predictions import read_nodules, to_predictions
from lungcad.tables import Row

BOUNDS = (0.2, 5.0)
"""Temperatures that are looked for."""


@dataclass(frozen=True)
class SliceLogits:
    """Nodules by what the network says of their slices.

    Attributes:
        logits: N arrays (S,), of malignancy; S differs.
        label: (N,) 0 benign, 1 malignant.
    """

    logits: Sequence[np.ndarray]
    label: np.ndarray

    def probability(self, temperature: float) -> np.ndarray:
        """(N,) of being malignant, as the bundle gives it at that temperature."""
        starts = np.cumsum([0, *(len(one) for one in self.logits[:-1])])
        slices = [len(one) for one in self.logits]
        return np.add.reduceat(expit(np.concatenate(self.logits) / temperature), starts) / slices


def read_logits(paths: Sequence[str | Path]) -> SliceLogits:
    """Read tables that :mod:`lungcad.papers.mtmrnet.scoring` wrote as one; mean malignancy 3 is left out.

    Raises:
        InputError: E-TABLE, as :func:`lungcad.scores.predictions.read_nodules` does, or where a nodule has no logits.
    """
    nodules, _ = read_nodules(paths)
    if "logits" not in nodules.columns:
        raise InputError("E-TABLE", f"{nodules.name}: column logits missing.", "Score the nodules again.")
    return SliceLogits([_logits(row) for row in nodules.rows], to_predictions(nodules).label)


def fit_temperature(nodules: SliceLogits) -> float:
    """The temperature within :data:`BOUNDS` at which the labels are likeliest."""

    def loss(log_temperature: float) -> float:
        return log_loss(nodules.label, nodules.probability(np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))


def cross_fitted(folds: Sequence[SliceLogits]) -> Iterator[tuple[float, np.ndarray]]:
    """Temperature for each fold, fitted on the others, and the fold's (N,) probabilities at it."""
    for held_out in folds:
        temperature = fit_temperature(joined([fold for fold in folds if fold is not held_out]))
        yield temperature, held_out.probability(temperature)


def joined(folds: Sequence[SliceLogits]) -> SliceLogits:
    """The nodules of all folds."""
    return SliceLogits([one for fold in folds for one in fold.logits], np.concatenate([fold.label for fold in folds]))


def calibration_figures(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """``nll`` (mean negative log likelihood), ``ece`` (ten bins of equal width) and ``brier``."""
    return {
        "nll": float(log_loss(label, probability)),
        "ece": calibration_error(calibration(label, probability)),
        "brier": float(brier_score_loss(label, probability)),
    }


def _logits(row: Row) -> np.ndarray:
    texts = row.text("logits").split()
    try:
        return np.array(texts, dtype=float)
    except ValueError as error:
        raise row.refusal(f"logits are {' '.join(texts)!r} (expected numbers separated by blanks)") from error
