# SPDX-License-Identifier: Apache-2.0
"""Predictions of a malignancy classifier: read tables with one nodule per line, score them, write the figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import added_files
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.labels import benign_or_malignant
from lungcad.lidc.scale import SCALE_ENDS
from lungcad.scores.malignancy import Predictions, compare_malignancy, score_malignancy
from lungcad.scores.plots import draw_reliability
from lungcad.tables import Row, Table, read_table, refuse_duplicates

_FIGURE_NAMES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}


def read_predictions(path: str | Path) -> tuple[Predictions, int]:
    """Read a table of predictions, one nodule per line.

    Columns: ``nodule_id``; ``probability`` of being malignant, in [0, 1]; the truth as ``label`` (0 benign,
    1 malignant) or else as ``mean_malignancy`` of the readers (1 to 5: below 3 benign, above malignant, 3 left out);
    optionally ``patient_id`` (without it each nodule counts as a patient of its own) and, for any of LIDC's
    attributes, a pair such as ``spiculation`` (predicted) and ``spiculation_true`` on the original scale.

    Returns:
        The predictions, and the number of nodules that were left out.

    Raises:
        InputError: E-TABLE, the table cannot be read, a value is out of its range, a nodule appears twice, an
            attribute has only one of its two columns, or no nodule is benign or malignant.
    """
    nodules, left_out = read_nodules([path])
    return to_predictions(nodules, classes=1), left_out


def read_nodules(paths: Sequence[str | Path], attributes: Sequence[str] = ()) -> tuple[Table, int]:
    """Read several tables of predictions, such as the folds of a cross validation, as one.

    Args:
        paths: paths of tables in the format of :func:`read_predictions`.
        attributes: names of LIDC attributes that each table must have.

    Returns:
        The nodules that are benign or malignant, with the columns that all tables have; and the number of the others.

    Raises:
        InputError: E-TABLE, a table is refused, lacks an attribute, or a nodule is in two of them.
    """
    if not paths:
        raise InputError("E-TABLE", "no table of predictions.", "Give a CSV file, or several separated by commas.")
    tables = [read_table(path, ("nodule_id", "probability")) for path in paths]
    for table in tables:
        _check(table, attributes)
    _refuse_shared_nodules(tables)
    columns = [name for name in tables[0].columns if all(name in table.columns for table in tables)]
    rows = [row for table in tables for row in table.rows]
    kept = tuple(row for row in rows if _label(row) is not None)
    name = ", ".join(dict.fromkeys(table.name for table in tables))
    return Table(name, tuple(columns), kept), len(rows) - len(kept)


def read_pair(path: str | Path, baseline: str | Path) -> tuple[Predictions, Predictions]:
    """Read two tables of predictions and keep the nodules that both have, in the same order.

    Raises:
        InputError: E-TABLE, as :func:`read_predictions`, or the two tables disagree on the truth.
    """
    tables = [read_nodules([each])[0] for each in (path, baseline)]
    rows = [{row.text("nodule_id"): row for row in table.rows} for table in tables]
    shared = [name for name in rows[0] if name in rows[1]]
    for name in shared:
        if _label(rows[0][name]) != _label(rows[1][name]):
            raise rows[1][name].refusal(f"{name} has another label in {tables[0].name}", "Score against one truth.")
    predictions, other = (
        to_predictions(replace(table, rows=tuple(by_name[name] for name in shared)), classes=1)
        for table, by_name in zip(tables, rows, strict=True)
    )
    return predictions, other


def to_predictions(nodules: Table, classes: int = 2) -> Predictions:
    """Predictions from a table of :func:`read_nodules`, or from some of its rows.

    Args:
        nodules: table of benign and malignant nodules.
        classes: least number of the two classes that must occur.

    Raises:
        InputError: E-TABLE, as :func:`read_predictions`, or a class is missing.
    """
    rows, names = nodules.rows, _attributes(nodules)
    label = np.array([_label(row) for row in rows], dtype=int)
    if len(np.unique(label)) < classes:
        counts = f"{(label == 0).sum()} benign, {(label == 1).sum()} malignant"
        needed = "nodules of both classes" if classes == 2 else "a benign or malignant nodule"
        raise InputError("E-TABLE", f"{nodules.name}: {counts} nodules.", f"Figures need {needed}.")
    patients = [row.text("patient_id" if "patient_id" in row.cells else "nodule_id") for row in rows]
    return Predictions(
        label,
        np.array([_within(row, "probability", 0, 1) for row in rows]),
        np.unique(patients, return_inverse=True)[1],
        {name: np.array([_pair(row, name) for row in rows]).T for name in names},
    )


def _check(table: Table, attributes: Sequence[str]) -> None:
    """Raise InputError E-TABLE if a table has no truth, lacks an attribute or has a nodule twice."""
    if not {"label", "mean_malignancy"} & set(table.columns):
        raise InputError("E-TABLE", f"{table.name}: no truth: got {', '.join(table.columns)}.",
                         "Expected a column label (0, 1) or mean_malignancy (1 to 5).")  # fmt: skip
    present = _attributes(table)
    missing = [name for name in attributes if name not in present]
    if missing:
        text = f"{table.name}: no scores of {', '.join(missing)}."
        raise InputError("E-TABLE", text, "Each of the eight attributes needs a column and one ending in _true.")
    refuse_duplicates(table.rows, "nodule_id")


def _refuse_shared_nodules(tables: Sequence[Table]) -> None:
    """Raise InputError E-TABLE if a nodule is in two tables."""
    first: dict[str, Row] = {}
    for row in (row for table in tables for row in table.rows):
        name = row.text("nodule_id")
        other = first.setdefault(name, row)
        if other is not row:
            raise row.refusal(f"nodule_id {name} stands in {other.table}, line {other.line} already",
                              "Give tables that share no nodule.")  # fmt: skip


def _attributes(table: Table) -> Sequence[str]:
    """Names of the attributes that a table has; raises InputError E-TABLE for half a pair of columns."""
    names = [name for name in ATTRIBUTES if {name, f"{name}_true"} & set(table.columns)]
    for name in names:
        for column in (name, f"{name}_true"):
            if column not in table.columns:
                raise InputError("E-TABLE", f"{table.name}: column {column} missing beside its other half.",
                                 f"Give both {name} (predicted) and {name}_true, or neither.")  # fmt: skip
    return names


def _label(row: Row) -> int | None:
    """Truth of a nodule: 0 benign, 1 malignant, None for a mean malignancy of 3."""
    if "label" in row.cells:
        value = row.number("label")
        if value not in (0, 1):
            raise row.refusal(f"label is {value:g} (expected 0 benign or 1 malignant)")
        return int(value)
    return benign_or_malignant(_within(row, "mean_malignancy", 1, 5))


def _pair(row: Row, name: str) -> tuple[float, float]:
    """Predicted and true score of an attribute; a regression may leave the scale, a reader's score cannot."""
    return row.number(name), _within(row, f"{name}_true", 1, SCALE_ENDS[name])


def _within(row: Row, column: str, low: float, high: float) -> float:
    """Number in a cell, from ``low`` to ``high``; raises InputError E-TABLE for any other."""
    value = row.number(column)
    if not low <= value <= high:
        raise row.refusal(f"{column} is {value:g} (expected {low:g} to {high:g})")
    return value


def score_predictions(
    path: str | Path, *, baseline: str | Path | None = None, threshold: float = 0.5, bins: int = 10,
    bootstraps: int = 1000,
) -> dict[str, Any]:  # fmt: skip
    """Read and score a table of predictions.

    Args:
        path: path of the table, see :func:`read_predictions`.
        baseline: another system's table, to compare with on the nodules that both have.
        threshold, bins, bootstraps: see :func:`lungcad.scores.malignancy.score_malignancy`.

    Returns:
        Figures of :func:`lungcad.scores.malignancy.score_malignancy`; ``left_out``, the number of nodules with a mean
        malignancy of 3; and, with a baseline, ``baseline``, those of
        :func:`lungcad.scores.malignancy.compare_malignancy`.

    Raises:
        InputError: E-TABLE, a table is refused.
    """
    predictions, left_out = read_predictions(path)
    figures = score_malignancy(predictions, threshold=threshold, bins=bins, bootstraps=bootstraps)
    figures["left_out"] = left_out
    if baseline is not None:
        figures["baseline"] = compare_malignancy(*read_pair(path, baseline), threshold=threshold, bootstraps=bootstraps)
    return figures


def write_scores(output_dir: str | Path, figures: Mapping[str, Any]) -> None:
    """Write metrics.json and reliability.png; raises InputError E-OUTPUT if the folder cannot be written."""
    with added_files(output_dir) as folder:
        (folder / "metrics.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        draw_reliability(folder / "reliability.png", figures)


def as_text(figures: Mapping[str, Any]) -> str:
    """Figures as text for the terminal."""
    left_out = f" ({figures['left_out']} of mean malignancy 3 left out)" if figures["left_out"] else ""
    lines = [
        f"{figures['nodules']} nodules of {figures['patients']} patients: {figures['benign']} benign, "
        f"{figures['malignant']} malignant{left_out}",
        f"malignant from {figures['threshold']:g} up; 95 % intervals: {figures['bootstraps']} bootstraps over patients",
        "",
    ]
    for key in ("auc", "accuracy", "sensitivity", "specificity", "balanced_accuracy"):
        lines.append(_line(_FIGURE_NAMES.get(key, key), figures[key], figures[f"{key}_ci"]))
    lines.append(f"{'ECE':<18}{figures['ece']:.3f}  ({figures['ece_bins']} bins of equal width)")
    lines.append(f"{'Brier score':<18}{figures['brier']:.3f}")
    if figures["attribute_errors"]:
        lines += ["", "absolute distance error on LIDC's scales"]
        lines += [_line(name, entry["error"], entry["ci"]) for name, entry in figures["attribute_errors"].items()]
    if "baseline" in figures:
        lines += ["", *_baseline_lines(figures["baseline"])]
    return "\n".join(lines)


def _baseline_lines(both: Mapping[str, Any]) -> list[str]:
    lines = [f"less the baseline, on the {both['nodules']} nodules of both, the same draws for both"]
    for key in ("auc", "balanced_accuracy") if both["auc"] is not None else ("accuracy",):
        values = f"{both[key]:.3f} - {both[f'baseline_{key}']:.3f} = {both[f'{key}_difference']:+.3f}"
        low, high = both[f"{key}_difference_ci"]
        lines.append(f"{_FIGURE_NAMES.get(key, key):<18}{values}  ({low:+.3f} to {high:+.3f})")
    return lines


def _line(name: str, value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return f"{name:<18}-      (needs nodules of both classes)"
    return f"{name:<18}{value:.3f}  ({interval[0]:.3f} to {interval[1]:.3f})"
