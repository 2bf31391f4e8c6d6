# SPDX-License-Identifier: Apache-2.0
"""Figures of scored nodules as tables like those of MTMR-Net's paper (Liu et al., IEEE TMI 2020, Tables II and III).

The nodules of a step's folds count together; the paper averages over folds. Besides the paper's rows there are rows for
comparison: the nodules' diameter, a constant score, and the difference between two readers of a nodule.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.finding import ATTRIBUTES
from lungcad.papers.mtmrnet.scoring import ScoredNodules, column_values, scored_nodules, with_readers
from lungcad.scores.malignancy import Predictions, area_under_curve, bootstrap, score_malignancy
from lungcad.scores.predictions import to_predictions
from lungcad.tables import Table, markdown_row, with_interval

SHARES = ("accuracy", "sensitivity", "specificity")
"""Figures of the classification table that are percentages."""

DIAMETER = "diameter alone"
"""Name of the row that has the nodules' diameter as score."""

CLASSIFICATION = """\
Nodules of mean malignancy 3 are left out, malignant is called from 0.5 up, ECE is over ten bins; in brackets 95 %
intervals of 1000 bootstraps over patients. Diameter alone: the AUC of the readers' diameter as score. The paper's rows
(Table II) are of another choice of LIDC-IDRI's nodules, 1422, and averages over five folds.

| scored | readers | nodules | patients | accuracy | sensitivity | specificity | AUC | ECE |
|---|---|---|---|---|---|---|---|---|
"""
DIFFERENCES = """
Difference of AUCs on the same nodules, with the same bootstrap draws of patients on both sides.

| AUC | less the AUC of | readers | difference |
|---|---|---|---|
"""
ERRORS = """
Mean absolute error of the attributes, against the readers' mean, on LIDC's scales; without the regression loss they are
not trained. Constant: the error of the median of these nodules' own true scores. Between readers: the mean absolute
difference over all pairs of readers of a nodule. The paper's rows are Table III's, IB is its inter-observer variation;
spiculation and lobulation may be swapped there, as in its caption.

| scored | readers | nodules | Sub | Int | Cal | Sph | Mar | Lob | Spi | Tex |
|---|---|---|---|---|---|---|---|---|---|---|
"""
HEADERS = (CLASSIFICATION, DIFFERENCES, ERRORS)
"""Texts and heads of the tables, in order."""


def malignancy_results(scored: Mapping[str, Sequence[str | Path]]) -> str:
    """Markdown tables with rows for each name.

    Args:
        scored: folders with a predictions.csv, one per fold, by name. Names that scored the same nodules are compared
            with the first of them; nodules of one class alone have no row.

    Raises:
        InputError: E-TABLE, a table is refused or a nodule is in two folds of a step.
    """
    parts = [*map(_rows, scored_nodules(scored)), _paper()]
    return "".join(header + "".join(line for part in parts for line in part.get(header, ())) for header in HEADERS)


def _rows(nodules: ScoredNodules) -> dict[str, list[str]]:
    """Rows of the tables, by the tables' headers."""
    predictions = {step.replace("_", " "): to_predictions(table) for step, table in nodules.steps.items()}
    figures = {step: score_malignancy(predicted) for step, predicted in predictions.items()}
    first, *others = predictions
    scores = {step: predicted.probability for step, predicted in predictions.items()}
    aucs = _aucs(predictions[first], scores | {DIAMETER: column_values(nodules.nodules, "diameter_mm")})
    readers = f"{nodules.least_readers} or more"
    counts = [readers, str(figures[first]["nodules"]), str(figures[first]["patients"])]

    classified = [markdown_row(step, *counts, *_classification_cells(values)) for step, values in figures.items()]
    classified.append(markdown_row(DIAMETER, *counts, *["-"] * 3, with_interval(*aucs[DIAMETER], ".3f"), "-"))
    compared = [
        markdown_row(first, other, readers, with_interval(*aucs[f"less {other}"], "+.3f"))
        for other in (*others, DIAMETER)
    ]
    errors = {step: values["attribute_errors"] for step, values in figures.items()}
    rated = [markdown_row(step, *counts[:2], *_error_cells(values)) for step, values in errors.items()]
    rated.append(markdown_row("constant", *counts[:2], *_constant_cells(predictions[first])))
    rated.append(markdown_row("between readers", readers, *_reader_cells(nodules.nodules)))
    return {CLASSIFICATION: classified, DIFFERENCES: compared, ERRORS: rated}


def _paper() -> dict[str, list[str]]:
    """Rows of the paper's Tables II and III, by the tables' headers."""
    classified = {
        "MTMR-Net (w L_reg), no ranking": ("90.1%", "90.5%", "88.5%", "0.974"),
        "MTMR-Net (w L_rank), no regression": ("90.9%", "91.2%", "91.6%", "0.961"),
        "MTMR-Net": ("93.5%", "93.0%", "89.4%", "0.979"),
    }
    rated = {
        "MTMR-Net": ("0.54", "0.03", "0.56", "0.59", "0.54", "0.54", "0.49", "0.44"),
        "IB": ("0.90", "0.09", "0.21", "0.91", "0.81", "0.84", "0.76", "0.054"),
    }
    return {
        CLASSIFICATION: [markdown_row(f"paper: {name}", *["-"] * 3, *cells, "-") for name, cells in classified.items()],
        ERRORS: [markdown_row(f"paper: {name}", "-", "-", *cells) for name, cells in rated.items()],
    }


def _aucs(predictions: Predictions, scores: Mapping[str, np.ndarray]) -> dict[str, tuple[float, list[float]]]:
    """AUC of each of the scores (N,), and under ``less <name>`` the first's AUC minus it, with intervals."""

    def figures(weight: np.ndarray) -> dict[str, float]:
        values = {name: area_under_curve(predictions.label, score, weight) for name, score in scores.items()}
        first = next(iter(values.values()))
        return values | {f"less {name}": first - value for name, value in values.items()}

    intervals = bootstrap(figures, predictions)
    return {name: (value, intervals[name]) for name, value in figures(np.ones(len(predictions.label))).items()}


def _classification_cells(figures: Mapping[str, Any]) -> list[str]:
    """Cells of accuracy, sensitivity, specificity, AUC and ECE."""
    parts = [with_interval(figures[key], figures[f"{key}_ci"], ".1%") for key in SHARES]
    return [*parts, with_interval(figures["auc"], figures["auc_ci"], ".3f"), f"{figures['ece']:.3f}"]


def _error_cells(errors: Mapping[str, Any]) -> list[str]:
    """Cells of the error of each attribute."""
    return [with_interval(errors[name]["error"], errors[name]["ci"], ".2f") for name in ATTRIBUTES]


def _constant_cells(predictions: Predictions) -> list[str]:
    """Cells of the error of a constant score for each attribute, the median of the true scores."""
    truths = [predictions.attributes[name][1] for name in ATTRIBUTES]
    return [f"{np.abs(true - np.median(true)).mean():.2f}" for true in truths]


def _reader_cells(nodules: Table) -> list[str]:
    """Number of nodules with two readers or more, and the mean difference over all pairs of readers by attribute."""
    pairs = with_readers(nodules, 2)
    if not pairs.rows:
        return ["0", *["-"] * len(ATTRIBUTES)]
    readers = column_values(pairs, "n_readers")
    means = [np.average(column_values(pairs, f"{name}_between_readers"), weights=readers * (readers - 1) / 2)
             for name in ATTRIBUTES]  # fmt: skip
    return [str(len(pairs.rows)), *(f"{mean:.2f}" for mean in means)]
