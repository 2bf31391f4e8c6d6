# SPDX-License-Identifier: Apache-2.0
"""Masks, sizes and malignancy of scored folders as a table; see :mod:`lungcad.training.joint_scoring`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.training.joint_scoring import joint_figures, read_rows
from lungcad.training.markdown import row, with_interval

JOINT = """
Against the readers' masks, over the nodules found; in brackets 95 % intervals of 1000 bootstraps over patients.
Malignancy once over the nodules found and once, as the paper scores it, over all, the undetected ones taken for benign;
median 3 is left out, malignant is called from 0.5 up. BA: balanced accuracy.

| scored | nodules | found | Dice | volume error | diameter error | BA | AUC | BA, all | AUC, all |
|---|---|---|---|---|---|---|---|---|---|
"""


def joint_results(scored: Mapping[str, Sequence[str | Path]]) -> str:
    """Markdown table with one row for each name; the nodules of its folders count together."""
    return JOINT + "".join(_row(name, joint_figures(read_rows(folders))) for name, folders in scored.items())


def _row(name: str, figures: Mapping[str, Any]) -> str:
    found, everything = figures["malignancy_of_found"], figures["malignancy_undetected_benign"]
    return row(
        name.replace("_", " "), figures["nodules"], figures["found"],
        _figure(figures, "mean_dice", ".3f"), _figure(figures, "mean_volume_error_percent", ".0f", " %"),
        _figure(figures, "mean_diameter_error_mm", ".2f", " mm"),
        _figure(found, "balanced_accuracy", ".3f"), _figure(found, "auc", ".3f"),
        _figure(everything, "balanced_accuracy", ".3f"), _figure(everything, "auc", ".3f"),
    )  # fmt: skip


def _figure(figures: Mapping[str, Any] | None, key: str, form: str, unit: str = "") -> str:
    """A figure and its interval; a dash where it is unknown."""
    if figures is None or figures[key] is None:
        return "-"
    return with_interval(figures[key], figures[f"{key}_ci"], form, unit)
