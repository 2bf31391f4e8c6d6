# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of the figures in scored folders, as they stand in a bundle's README."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.papers.jnsc.scoring import SEGMENTATION, jnsc_results
from lungcad.papers.mtmrnet.scoring import PREDICTIONS
from lungcad.papers.mtmrnet.tables import malignancy_results
from lungcad.tables import markdown_row, with_interval
from lungcad.training.scoring import pooled_figures

HEADER = (
    "| scored | scans | nodules | found (95 % CI) | false marks / scan | found by diameter | CPM (95 % CI) "
    "| median error: centre, diameter |\n|---|---|---|---|---|---|---|---|\n"
)


def results_markdown(scored: Mapping[str, Sequence[str | Path]]) -> str:
    """Markdown tables for scored folders of rated nodules (predictions.csv) or of scans, with or without masks.

    Args:
        scored: scored folders by the name of their row; the folders of a name count together.
    """
    rated = any((Path(folder) / PREDICTIONS).exists() for folders in scored.values() for folder in folders)
    if rated:
        return malignancy_results(scored)
    joint = {name: folders for name, folders in scored.items() if (Path(folders[0]) / SEGMENTATION).exists()}
    return results_table(scored) + (jnsc_results(joint) if joint else "")


def results_table(scored: Mapping[str, Sequence[str | Path]]) -> str:
    """Markdown table of detection figures with one row per name; the scans of its scored folders count together."""
    return HEADER + "".join(_row(name, pooled_figures(folders)) for name, folders in scored.items())


def _row(name: str, figures: Mapping[str, Any]) -> str:
    by_diameter = ", ".join(f"{key}: {found}/{all_}" for key, (found, all_) in figures["found_by_diameter"].items())
    errors = [figures[f"median_{what}_error_mm"] for what in ("center", "diameter")]
    return markdown_row(
        name.replace("_", " "), figures["scans"], figures["nodules"],
        with_interval(figures["sensitivity"], figures["sensitivity_ci"], ".1%"),
        f"{figures['false_marks_per_scan']:.1f}", by_diameter,
        with_interval(figures["cpm"], figures["cpm_ci"], ".3f"),
        ", ".join("-" if error is None else f"{error:.2f} mm" for error in errors),
    )  # fmt: skip
