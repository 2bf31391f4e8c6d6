# SPDX-License-Identifier: Apache-2.0
"""Scores of a malignancy bundle on rated nodules: a table of predictions, MTMR-Net's figures, and tables read back.

:class:`NoduleScorer` writes predictions.csv and metrics.json; :func:`scored_nodules` groups the tables of several steps
by their nodules, to be compared.
"""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import added_files
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.lidc.labels import INDETERMINATE
from lungcad.papers.mtmrnet.nodules import RatedNodule
from lungcad.scores.predictions import read_nodules, score_predictions
from lungcad.tables import Table
from lungcad.training.scoring import Collector

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
"""File with one row per nodule."""

COLUMNS = (
    "nodule_id", "patient_id", "probability", "mean_malignancy", "n_readers", "diameter_mm", "slices", "logits",
    *(column for name in ATTRIBUTES for column in (name, f"{name}_true", f"{name}_between_readers")),
)  # fmt: skip
"""Columns of predictions.csv, which ``lungcad score_malignancy`` reads too: prediction and truth, properties of the
nodule, the logit of each of its slices, joined by spaces, and the mean absolute difference over the pairs of its
readers, empty if there is one reader."""

SEVERAL_READERS = 3
"""Number of readers from which on nodules are also scored as a group of their own."""


class NoduleScorer(Collector):
    """Collector of predictions, nodule by nodule, that writes predictions.csv and metrics.json at the end.

    Args:
        output_dir: folder to write to.
        data: description of the nodules, for the figures.
    """

    def start(self) -> None:
        """Forget all predictions."""
        self.rows: list[Sequence[Any]] = []

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the prediction of one nodule."""
        (finding,) = batch["findings"]
        logits = output["pred"].reshape(-1, 1 + len(ATTRIBUTES))[:, 0].tolist()
        self.rows.append(_row(batch["nodule"], finding, logits))

    def write(self) -> None:
        """Write predictions and figures; those that need benign and malignant nodules are None without both."""
        with added_files(self.folder) as folder:
            with (folder / PREDICTIONS).open("w", newline="") as stream:
                csv.writer(stream).writerows([COLUMNS, *self.rows])
            try:
                figures = {"data": self.data} | score_predictions(folder / PREDICTIONS)
            except InputError as refusal:
                figures = {"data": self.data, "nodules": len(self.rows), "auc": None, "unknown": str(refusal)}
            (folder / "metrics.json").write_text(json.dumps(figures, indent=2))
        logger.info("%s: AUC %s on %d nodules", self.data, figures["auc"], figures["nodules"])


def _row(nodule: RatedNodule, finding: Finding, logits: Sequence[float]) -> Sequence[Any]:
    """Row of :data:`COLUMNS` for one nodule."""
    mean, seen = nodule.mean.tolist(), finding.attributes or {}
    spread = between_readers(nodule.readings).tolist() if len(nodule.readings) > 1 else [""] * len(mean)
    triples = zip(ATTRIBUTES, mean[1:], spread[1:], strict=True)
    return [nodule.name, nodule.patient_id, finding.malignancy_probability, mean[0], len(nodule.readings),
            nodule.diameter_mm, len(nodule.slices), " ".join(f"{logit:.4f}" for logit in logits),
            *(value for name, true, differ in triples for value in (seen[name], true, differ))]  # fmt: skip


def between_readers(readings: np.ndarray) -> np.ndarray:
    """Mean absolute difference (K,) over all pairs of readers, the IB of Table III.

    Args:
        readings: (R, K) scores of R readers, R at least 2.
    """
    first, second = np.triu_indices(len(readings), 1)
    difference: np.ndarray = np.abs(readings[first] - readings[second]).mean(axis=0)
    return difference


@dataclass(frozen=True)
class ScoredNodules:
    """Nodules and the steps of a recipe that have scored them.

    Attributes:
        least_readers: least number of readers of a nodule.
        steps: predictions of each step by its name, with the same nodules in the same order.
    """

    least_readers: int
    steps: Mapping[str, Table]

    @property
    def nodules(self) -> Table:
        """Table of the first step, for the columns that are the same in all steps."""
        return next(iter(self.steps.values()))


def scored_nodules(scored: Mapping[str, Sequence[str | Path]]) -> Iterator[ScoredNodules]:
    """Group steps by the nodules that they have scored.

    A group is followed by its nodules of :data:`SEVERAL_READERS` or more, unless all have as many. Nodules of one class
    alone are no group: there is no figure of them.

    Args:
        scored: folders with a predictions.csv, one per fold, by step.

    Raises:
        InputError: E-TABLE, a table is refused or a nodule is in two folds of a step.
    """
    groups: dict[tuple[str, ...], dict[str, Table]] = {}
    for step, folders in scored.items():
        table, _ = read_nodules([Path(folder) / PREDICTIONS for folder in folders], ATTRIBUTES)
        rows = tuple(sorted(table.rows, key=lambda row: row.text("nodule_id")))
        names = tuple(row.text("nodule_id") for row in rows)
        groups.setdefault(names, {})[step] = replace(table, rows=rows)
    for steps in groups.values():
        everything = next(iter(steps.values()))
        if not everything.rows:
            continue
        fewest = int(column_values(everything, "n_readers").min())
        if _has_both_classes(everything):
            yield ScoredNodules(fewest, steps)
        if fewest < SEVERAL_READERS and _has_both_classes(with_readers(everything, SEVERAL_READERS)):
            well_read = {step: with_readers(table, SEVERAL_READERS) for step, table in steps.items()}
            yield ScoredNodules(SEVERAL_READERS, well_read)


def _has_both_classes(nodules: Table) -> bool:
    """Whether there are benign and malignant nodules."""
    return len(np.unique(column_values(nodules, "mean_malignancy") > INDETERMINATE)) == 2


def with_readers(nodules: Table, least_readers: int) -> Table:
    """Table of the nodules that at least ``least_readers`` readers have scored."""
    return replace(nodules, rows=tuple(row for row in nodules.rows if row.number("n_readers") >= least_readers))


def column_values(nodules: Table, column: str) -> np.ndarray:
    """Numbers (N,) of a column."""
    return np.array([row.number(column) for row in nodules.rows])
