# SPDX-License-Identifier: Apache-2.0
"""Score what a malignancy bundle says of rated nodules: a table of predictions and MTMR-Net's figures."""

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

COLUMNS = (
    "nodule_id", "patient_id", "probability", "mean_malignancy", "n_readers", "diameter_mm", "slices", "logits",
    *(column for name in ATTRIBUTES for column in (name, f"{name}_true", f"{name}_between_readers")),
)  # fmt: skip
"""As ``lungcad score_malignancy`` reads them, what a nodule is like, the logit of each of its slices, joined by spaces,
and the mean absolute difference over the pairs of its readers, empty where there is one reader."""


class NoduleScorer(Collector):
    """Collects findings nodule by nodule, at the end writes predictions.csv and metrics.json.

    Args:
        output_dir: receives both.
        data: what was scored on, in words; goes into the figures.
    """

    def start(self) -> None:
        """Forget what was collected."""
        self.rows: list[Sequence[Any]] = []

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Take in one case, or one nodule."""
        (finding,) = batch["findings"]
        logits = output["pred"].reshape(-1, 1 + len(ATTRIBUTES))[:, 0].tolist()
        self.rows.append(_row(batch["nodule"], finding, logits))

    def write(self) -> None:
        """Write what was collected; nodules of one class alone have predictions, but no figures."""
        with added_files(self.folder) as folder:
            with (folder / PREDICTIONS).open("w", newline="") as stream:
                csv.writer(stream).writerows([COLUMNS, *self.rows])
            try:
                figures = {"data": self.data} | score_predictions(folder / PREDICTIONS)
            except InputError as refusal:
                figures = {"data": self.data, "nodules": len(self.rows), "auc": None, "unknown": str(refusal)}
            (folder / "metrics.json").write_text(json.dumps(figures, indent=2))
        logger.info("%s: AUC %s on %d nodules", self.data, figures["auc"], figures["nodules"])


def between_readers(readings: np.ndarray) -> np.ndarray:
    """(K,) mean absolute difference over all pairs of (R, K) readers' scores, R at least 2 (the IB of Table III)."""
    one, other = np.triu_indices(len(readings), 1)
    difference: np.ndarray = np.abs(readings[one] - readings[other]).mean(axis=0)
    return difference


def _row(nodule: RatedNodule, finding: Finding, logits: Sequence[float]) -> Sequence[Any]:
    mean, seen = nodule.mean.tolist(), finding.attributes or {}
    spread = between_readers(nodule.readings).tolist() if len(nodule.readings) > 1 else [""] * len(mean)
    triples = zip(ATTRIBUTES, mean[1:], spread[1:], strict=True)
    return [nodule.name, nodule.patient_id, finding.malignancy_probability, mean[0], len(nodule.readings),
            nodule.diameter_mm, len(nodule.slices), " ".join(f"{logit:.4f}" for logit in logits),
            *(value for name, true, differ in triples for value in (seen[name], true, differ))]  # fmt: skip

SEVERAL = 3
"""Readers; nodules of as many count by themselves too."""


@dataclass(frozen=True)
class ScoredNodules:
    """Nodules, and the steps that have scored them.

    Attributes:
        least_readers: that each of them has.
        steps: by name, with the same nodules in the same order.
    """

    least_readers: int
    steps: Mapping[str, Table]

    @property
    def nodules(self) -> Table:
        """Of the first step: for what is the same in all."""
        return next(iter(self.steps.values()))


def scored_nodules(scored: Mapping[str, Sequence[str | Path]]) -> Iterator[ScoredNodules]:
    """Group steps by the nodules that they have scored; then those of several readers too, where that is not all.

    Args:
        scored: folders with a predictions.csv by step, one per fold.

    Raises:
        InputError: E-TABLE, where a table is refused or a nodule is in two folds of a step.
    """
    groups: dict[tuple[str, ...], dict[str, Table]] = {}
    for step, folders in scored.items():
        table, _ = read_nodules([Path(folder) / PREDICTIONS for folder in folders], ATTRIBUTES)
        rows = tuple(sorted(table.rows, key=lambda row: row.text("nodule_id")))
        names = tuple(row.text("nodule_id") for row in rows)
        groups.setdefault(names, {})[step] = replace(table, rows=rows)
    for steps in groups.values():
        everything = next(iter(steps.values()))
        fewest = int(numbers(everything, "n_readers").min())
        yield ScoredNodules(fewest, steps)
        malignant = numbers(of_readers(everything, SEVERAL), "mean_malignancy") > INDETERMINATE
        if fewest < SEVERAL and len(np.unique(malignant)) == 2:
            yield ScoredNodules(SEVERAL, {step: of_readers(table, SEVERAL) for step, table in steps.items()})


def of_readers(nodules: Table, least: int) -> Table:
    """Those that as many readers have scored."""
    return replace(nodules, rows=tuple(row for row in nodules.rows if row.number("n_readers") >= least))


def numbers(nodules: Table, column: str) -> np.ndarray:
    """(N,) of a column."""
    return np.array([row.number(column) for row in nodules.rows])
