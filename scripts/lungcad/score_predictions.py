# SPDX-License-Identifier: Apache-2.0
"""Score a table of malignancy predictions: from the table to figures, a picture and a text to read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad.atomic import added_files
from lungcad.malignancy_scores import compare_malignancy, score_malignancy
from lungcad.malignancy_table import read_pair, read_predictions
from lungcad.reliability_plot import draw_reliability

_NAMES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}


def score_predictions(
    path: str | Path, *, baseline: str | Path | None = None, threshold: float = 0.5, bins: int = 10, rounds: int = 1000
) -> dict[str, Any]:
    """Read and score a table of predictions.

    Args:
        path: as :func:`lungcad.malignancy_table.read_predictions` takes it.
        baseline: another system's table, to compare with over the nodules that both have.
        threshold, bins, rounds: as :func:`lungcad.malignancy_scores.score_malignancy` takes them.

    Returns:
        Its figures; ``left_out``, the number of nodules whose mean malignancy is 3; and ``baseline``, as
        :func:`lungcad.malignancy_scores.compare_malignancy`, where there is one.

    Raises:
        InputError: E-TABLE, where the table is refused.
    """
    predictions, left_out = read_predictions(path)
    figures = score_malignancy(predictions, threshold=threshold, bins=bins, rounds=rounds) | {"left_out": left_out}
    if baseline is not None:
        figures["baseline"] = compare_malignancy(*read_pair(path, baseline), threshold=threshold, rounds=rounds)
    return figures


def write_scores(output_dir: str | Path, figures: Mapping[str, Any]) -> None:
    """Write metrics.json and reliability.png; raises InputError E-OUTPUT where the folder cannot be written."""
    with added_files(output_dir) as folder:
        (folder / "metrics.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        draw_reliability(folder / "reliability.png", figures)


def as_text(figures: Mapping[str, Any]) -> str:
    """Lay out the figures to be read."""
    left_out = f" ({figures['left_out']} of mean malignancy 3 left out)" if figures["left_out"] else ""
    lines = [
        f"{figures['nodules']} nodules of {figures['patients']} patients: {figures['benign']} benign, "
        f"{figures['malignant']} malignant{left_out}",
        f"malignant from {figures['threshold']:g} up; 95 % intervals: {figures['bootstraps']} bootstraps over patients",
        "",
    ]
    for key in ("auc", "accuracy", "sensitivity", "specificity", "balanced_accuracy"):
        lines.append(_line(_NAMES.get(key, key), figures[key], figures[f"{key}_ci"]))
    lines.append(f"{'ECE':<18}{figures['ece']:.3f}  ({figures['ece_bins']} bins of equal width)")
    lines.append(f"{'Brier score':<18}{figures['brier']:.3f}")
    if figures["attribute_errors"]:
        lines += ["", "absolute distance error on LIDC's scales"]
        lines += [_line(name, one["error"], one["ci"]) for name, one in figures["attribute_errors"].items()]
    if "baseline" in figures:
        lines += ["", *_baseline_lines(figures["baseline"])]
    return "\n".join(lines)


def _baseline_lines(both: Mapping[str, Any]) -> list[str]:
    lines = [f"less the baseline, on the {both['nodules']} nodules of both, the same draws for both"]
    for key in ("auc", "balanced_accuracy"):
        values = f"{both[key]:.3f} - {both[f'baseline_{key}']:.3f} = {both[f'{key}_difference']:+.3f}"
        low, high = both[f"{key}_difference_ci"]
        lines.append(f"{_NAMES[key]:<18}{values}  ({low:+.3f} to {high:+.3f})")
    return lines


def _line(name: str, value: float, interval: list[float]) -> str:
    return f"{name:<18}{value:.3f}  ({interval[0]:.3f} to {interval[1]:.3f})"
