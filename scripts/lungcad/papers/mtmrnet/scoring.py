# SPDX-License-Identifier: Apache-2.0
"""Score what a malignancy bundle says of rated nodules: a table of predictions and MTMR-Net's figures."""

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungcad.atomic import added_files
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.score_predictions import score_predictions
from lungcad.training.collector import Collector
from lungcad.training.rated_nodule import RatedNodule

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
        """Write what was collected."""
        with added_files(self.folder) as folder:
            with (folder / PREDICTIONS).open("w", newline="") as stream:
                csv.writer(stream).writerows([COLUMNS, *self.rows])
            figures = {"data": self.data} | score_predictions(folder / PREDICTIONS)
            (folder / "metrics.json").write_text(json.dumps(figures, indent=2))
        logger.info("%s: AUC %.3f on %d nodules", self.data, figures["auc"], figures["nodules"])


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
