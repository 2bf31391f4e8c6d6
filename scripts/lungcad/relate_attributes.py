# SPDX-License-Identifier: Apache-2.0
"""Relate LIDC's attributes to malignancy: from tables of predictions to importances, pictures and a text to read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import added_files
from lungcad.attribute_relevance import PAPER, SOURCES, ranks, relate, scores_of
from lungcad.finding import ATTRIBUTES
from lungcad.malignancy_scores import Predictions
from lungcad.malignancy_table import read_nodules, to_predictions
from lungcad.tsne_plot import SEED, draw_tsne


def read_pooled(paths: Sequence[str | Path]) -> tuple[Predictions, int]:
    """Predictions of tables as one, with all eight attributes, see :func:`lungcad.malignancy_table.read_nodules`."""
    nodules, left_out = read_nodules(paths, ATTRIBUTES)
    return to_predictions(nodules), left_out


def relate_attributes(predictions: Predictions, left_out: int, output_dir: str | Path) -> dict[str, Any]:
    """Write relatedness.json, relatedness.md, tsne_discarded.png and tsne_all.png; return what is in the first.

    The pictures show the scores of the network: the attributes whose importance is not above average, and all eight.

    Raises:
        InputError: E-TABLE, where the table is too small; E-OUTPUT, where the folder cannot be written.
    """
    figures = relate(predictions)
    discarded = [name for name, one in figures["sources"]["network"].items() if not one["above_average"]]
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
    """Lay out the importances beside the paper's Table IV, as a Markdown table."""
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
        for one in (figures["sources"][source][name] for source in SOURCES):
            cells += [f"{one['importance']:.3f} ± {one['std']:.3f}{_star(one['above_average'])}", str(one["rank"])]
        paper = f"{PAPER[name]:.3f}{_star(PAPER[name] > paper_average)}"
        lines.append(_line(name, *cells, paper, str(paper_rank[name])))
    return "\n".join(lines)


def _star(above_average: bool) -> str:
    return " *" if above_average else ""


def _line(name: str, *cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, (15, 3, 15, 3, 8, 3), strict=True)]
    return f"| {' | '.join([name.ljust(17), *padded])} |"
