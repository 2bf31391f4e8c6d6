# SPDX-License-Identifier: Apache-2.0
"""Importance of LIDC's eight attributes for malignancy (MTMR-Net, Liu et al., IEEE TMI 2020, section III.D, Table IV).

The paper eliminates the attributes one by one with a logistic regression and keeps "the correlation coefficients and
its important ratio of the removed feature", which it combines "in a nested manner"; it gives no formula. Here:

1. Attributes are standardised (mean 0, standard deviation 1), so that coefficients can be compared.
2. At step k a logistic regression of the attributes that are left is fitted, and the one with the smallest absolute
   coefficient is removed; s_k is its share of the sum of absolute coefficients. The last one's share is 1.
3. Shares are nested, each a share of what the removed ones left over: w_k = s_k (1 - s_1) ... (1 - s_(k-1)). These sum
   to 1, as Table IV does but for rounding (0.99).
4. A regression of fewer attributes may give the next one less than the one removed before it. An attribute that is
   removed later must not weigh less: w_k becomes the largest of w_1 ... w_k, and the eight are divided by their sum.

So 1/8 is the average, and within a fit importance grows in the order of elimination. Mean and standard deviation (of
the five values themselves) are over five folds of patients, each fitted on the other four; ranks are by the mean.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from lungcad.atomic import added_files
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.scores.malignancy import Predictions
from lungcad.scores.plots import SEED, draw_tsne
from lungcad.scores.predictions import read_nodules, to_predictions

FOLDS = 5
"""Number of folds of patients, as in the paper's cross validation."""

SOURCES = {"readers": 1, "network": 0}
"""Sources of attribute scores, with their index in the pairs of :class:`lungcad.scores.malignancy.Predictions`."""

PAPER = dict(zip(ATTRIBUTES, (0.251, 0.007, 0.133, 0.072, 0.125, 0.171, 0.164, 0.067), strict=True))
"""Relatedness in Table IV. Lobulation and spiculation may be swapped there (as in Table III's caption): ranks 2, 3."""


def relatedness_figures(predictions: Predictions) -> dict[str, Any]:
    """Compute the importance of all eight attributes, as the readers and as the network scored them.

    Args:
        predictions: predictions with all eight attributes.

    Returns:
        Figures ready for JSON: counts, the method, and under ``sources`` for ``readers`` and ``network`` each
        attribute's ``importance`` (mean over folds), ``std``, ``rank`` (1 is the most important) and ``above_average``.

    Raises:
        InputError: E-TABLE, there are fewer than five patients, or the fit of a fold lacks one of the two classes.
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
    """Attribute scores (N, 8) on LIDC's scales, in the order of ATTRIBUTES; ``source`` is a key of :data:`SOURCES`."""
    return np.stack([predictions.attributes[name][SOURCES[source]] for name in ATTRIBUTES], axis=1)


def fold_importances(scores: np.ndarray, label: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Importances of attributes for each fold of patients, fitted on the other folds.

    Args:
        scores: (N, K) scores of K attributes.
        label: (N,) 0 benign, 1 malignant.
        patient: (N,) number of the patient.

    Returns:
        (FOLDS, K) importances; every row sums to 1.

    Raises:
        InputError: E-TABLE, see :func:`relatedness_figures`.
    """
    patients = len(np.unique(patient))
    if patients < FOLDS:
        raise InputError("E-TABLE", f"{patients} patients (expected at least {FOLDS}, one per fold).",
                         "Give a larger table.")  # fmt: skip
    rows = []
    for fitted, _ in GroupKFold(FOLDS).split(scores, groups=patient):
        if len(np.unique(label[fitted])) != 2:
            text = "all benign or all malignant nodules are of one fold's patients."
            raise InputError("E-TABLE", text, "Give a table with more patients of both kinds.")
        rows.append(importances(scores[fitted], label[fitted])[0])
    return np.stack(rows)


def importances(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Importances of attributes by recursive elimination, as the module's docstring defines them.

    Args:
        scores: (N, K) scores of K attributes; a constant one is eliminated first, with importance 0.
        label: (N,) 0 benign, 1 malignant; both occur.

    Returns:
        (K,) importances that sum to 1, and the columns in the order of elimination.
    """
    standard = StandardScaler().fit_transform(scores)
    left, order, nested, remainder = list(range(scores.shape[1])), [], [], 1.0
    while left:
        weights = np.abs(LogisticRegression().fit(standard[:, left], label).coef_[0])
        weakest = int(weights.argmin())
        share = weights[weakest] / weights.sum() if weights.any() else 1 / len(left)
        nested.append(remainder * share)
        remainder *= 1 - share
        order.append(left.pop(weakest))
    growing = np.maximum.accumulate(nested)
    values = np.empty(len(order))
    values[order] = growing / growing.sum()
    return values, order


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (K,) of values (K,); 1 is the largest, and the first of equal ones comes first."""
    rank = np.empty(len(values), dtype=int)
    rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return rank


def _summary(folds: np.ndarray) -> dict[str, dict[str, Any]]:
    """Importance, standard deviation and rank by attribute, from importances (FOLDS, 8)."""
    mean, std = folds.mean(axis=0), folds.std(axis=0)
    average = 1 / folds.shape[1]
    return {
        name: {"importance": value, "std": spread, "rank": rank, "above_average": value > average}
        for name, value, spread, rank in zip(ATTRIBUTES, mean.tolist(), std.tolist(), ranks(mean).tolist(), strict=True)
    }


def read_pooled(paths: Sequence[str | Path]) -> tuple[Predictions, int]:
    """Predictions of several tables together, with all eight attributes, and the number of nodules left out.

    See :func:`lungcad.scores.predictions.read_nodules` for the tables and the errors.
    """
    nodules, left_out = read_nodules(paths, ATTRIBUTES)
    return to_predictions(nodules), left_out


def relate_attributes(predictions: Predictions, left_out: int, output_dir: str | Path) -> dict[str, Any]:
    """Write relatedness.json, relatedness.md, tsne_discarded.png and tsne_all.png; return the figures of the first.

    The pictures show the scores of the network: the attributes with an importance not above average, and all eight.

    Args:
        predictions: predictions with all eight attributes.
        left_out: number of nodules with a mean malignancy of 3, for the record.
        output_dir: folder to write into.

    Raises:
        InputError: E-TABLE, the table is too small; E-OUTPUT, the folder cannot be written.
    """
    figures = relatedness_figures(predictions)
    discarded = [name for name, entry in figures["sources"]["network"].items() if not entry["above_average"]]
    figures |= {"left_out": left_out, "tsne": {"seed": SEED, "discarded": discarded}}
    scores = scores_of(predictions, "network")
    columns = [ATTRIBUTES.index(name) for name in discarded]
    with added_files(output_dir) as folder:
        document = json.dumps(figures, indent=2, allow_nan=False) + "\n"
        (folder / "relatedness.json").write_text(document, encoding="utf-8")
        (folder / "relatedness.md").write_text(as_text(figures) + "\n", encoding="utf-8")
        draw_tsne(folder / "tsne_discarded.png", scores[:, columns], predictions.label, discarded,
                  "t-SNE of predicted scores: attributes discarded")  # fmt: skip
        draw_tsne(folder / "tsne_all.png", scores, predictions.label, ATTRIBUTES,
                  "t-SNE of predicted scores: all eight attributes")  # fmt: skip
    return figures


def as_text(figures: Mapping[str, Any]) -> str:
    """Markdown table of the importances beside those of the paper's Table IV."""
    left_out = f" ({figures['left_out']} of mean malignancy 3 left out)" if figures["left_out"] else ""
    paper_rank = dict(zip(PAPER, ranks(np.array(list(PAPER.values()))), strict=True))
    paper_average = sum(PAPER.values()) / len(PAPER)
    lines = [
        f"{figures['nodules']} nodules of {figures['patients']} patients: {figures['benign']} benign, "
        f"{figures['malignant']} malignant{left_out}",
        f"importance: mean ± standard deviation over {figures['folds']} folds of patients; * above average; # rank",
        "",
        _line("attribute", *(cell for source in SOURCES for cell in (source, "#")), "Table IV", "#"),
        _line("---", *["---", "--:"] * 3),
    ]
    for name in ATTRIBUTES:
        cells = []
        for entry in (figures["sources"][source][name] for source in SOURCES):
            importance = f"{entry['importance']:.3f} ± {entry['std']:.3f}{_star(entry['above_average'])}"
            cells += [importance, str(entry["rank"])]
        paper = f"{PAPER[name]:.3f}{_star(PAPER[name] > paper_average)}"
        lines.append(_line(name, *cells, paper, str(paper_rank[name])))
    return "\n".join(lines)


def _star(above_average: bool) -> str:
    return " *" if above_average else ""


def _line(name: str, *cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, (15, 3, 15, 3, 8, 3), strict=True)]
    return f"| {' | '.join([name.ljust(17), *padded])} |"
