# SPDX-License-Identifier: Apache-2.0
"""Scores of masks, sizes and malignancy in cases, nodule by nodule, besides the scores of detection.

:class:`JNSCScorer` writes ``segmentation.csv``, one row per nodule that has a mask, ``joint.json``, its figures
(:func:`jnsc_figures`), and ``malignancy.csv``, input of ``lungcad score_malignancy``, to a scored folder.
:func:`jnsc_results` makes a table of several folders' figures.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from lungcad.atomic import added_files
from lungcad.finding import Finding, FindingMask, centers_of
from lungcad.geometry import sphere_diameter, to_index, to_world
from lungcad.lidc.labels import benign_or_malignant
from lungcad.scan.patch import cut_patch
from lungcad.scores.malignancy import Predictions, score_malignancy
from lungcad.tables import markdown_row, read_table, with_interval
from lungcad.training.cases import Case
from lungcad.training.scoring import CaseScorer

SEGMENTATION = "segmentation.csv"
"""File with one row per nodule that has a mask."""

COLUMNS = (
    "case", "nodule", "found", "dice", "volume_mm3", "true_volume_mm3", "diameter_mm", "true_diameter_mm",
    "n_readers", "median_malignancy", "malignancy_probability",
)  # fmt: skip
"""Columns of :data:`SEGMENTATION`."""

MALIGNANCY = "malignancy.csv"
"""File with the malignancy of the nodules found."""

MALIGNANCY_COLUMNS = ("nodule_id", "patient_id", "probability", "label")
"""Columns of :data:`MALIGNANCY`."""

BOOTSTRAPS = 1000
"""Rounds over patients for the intervals."""

RESULTS_HEADER = """
Against the readers' masks, over the nodules found; in brackets 95 % intervals of 1000 bootstraps over patients.
Malignancy once over the nodules found and once, as the paper scores it, over all, the undetected ones taken for benign;
median 3 is left out, malignant is called from 0.5 up. BA: balanced accuracy.

| scored | nodules | found | Dice | volume error | diameter error | BA | AUC | BA, all | AUC, all |
|---|---|---|---|---|---|---|---|---|---|
"""


class JNSCScorer(CaseScorer):
    """Scorer of detection, as :class:`~lungcad.training.scoring.CaseScorer`, and of masks, sizes and malignancy."""

    def start(self) -> None:
        """Forget all findings and nodules."""
        super().start()
        self.rows: list[dict[str, Any]] = []

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the findings and nodules of one case."""
        super().add(batch, output)
        self.rows += nodule_rows(batch["case"], batch["findings"])

    def write(self) -> None:
        """Write the tables and figures of detection, masks, sizes and malignancy."""
        super().write()
        with added_files(self.folder) as folder:
            with (folder / SEGMENTATION).open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)
            with (folder / MALIGNANCY).open("w", newline="") as stream:
                csv.writer(stream).writerows([MALIGNANCY_COLUMNS, *_predictions(self.rows)])
            (folder / "joint.json").write_text(json.dumps({"data": self.data} | jnsc_figures(self.rows), indent=2))


def nodule_rows(case: Case, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Rows of :data:`COLUMNS`, one for each nodule of a case that has a mask; None for an unknown value.

    A nodule is found by the best finding centred within its radius, LUNA16's rule.
    """
    rows = []
    places = to_index(case.to_mm, centers_of(findings))
    scores = np.array([f.score for f in findings], dtype=float)
    masks = case.masks
    for number, nodule in enumerate(case.nodules, start=1):
        true = np.zeros(0) if masks is None else masks == number
        if not true.any():
            continue
        volume = float(true.sum() * abs(np.linalg.det(case.to_mm[:3, :3])))
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
            "case": case.name, "nodule": nodule.name, "found": 0, "dice": 0.0, "true_volume_mm3": volume,
            "true_diameter_mm": sphere_diameter(volume), "n_readers": len(nodule.malignancy),
            "median_malignancy": median(nodule.malignancy) if nodule.malignancy else None,
        }  # fmt: skip
        near = np.flatnonzero(case.distance_mm(places, [nodule])[:, 0] < nodule.diameter_mm / 2)
        if len(near):
            best = findings[near[np.nan_to_num(scores[near], nan=-1).argmax()]]
            row |= {
                "found": 1, "dice": None if best.mask is None else dice(true, best.mask, case.to_mm),
                "volume_mm3": best.volume_mm3, "diameter_mm": best.diameter_mm,
                "malignancy_probability": best.malignancy_probability,
            }  # fmt: skip
        rows.append(row)
    return rows


def dice(true: np.ndarray, mask: FindingMask, to_mm: np.ndarray) -> float:
    """Dice coefficient of two masks: twice the shared voxels divided by the sum of both, on the grid of the readers.

    Args:
        true: (X, Y, Z) bool, mask of the readers.
        mask: mask of a finding; on another grid, its values nearest to the readers' voxels are taken.
        to_mm: (4, 4), index of ``true`` to mm.
    """
    corners = np.array(list(product(*((-0.5, side - 0.5) for side in mask.mask.shape))))
    span = to_index(to_mm, to_world(mask.affine, corners))
    first = np.floor(span.min(axis=0)).astype(int)
    x, y, z = np.ceil(span.max(axis=0)).astype(int) - first + 1
    voxels = np.moveaxis(np.indices((x, y, z)), 0, -1) + first
    nearest = to_index(mask.affine, to_world(to_mm, voxels))
    found = map_coordinates(mask.mask, np.moveaxis(nearest, -1, 0), order=0, mode="grid-constant", cval=False)
    readers_mask = cut_patch(true, first + (np.array(found.shape) - 1) / 2, (x, y, z), False)
    return float(2 * (readers_mask & found).sum() / (true.sum() + found.sum()))


def read_rows(folders: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Read the rows of several scored folders; an empty cell becomes None."""
    rows = []
    for folder in folders:
        for line in read_table(Path(folder) / SEGMENTATION, COLUMNS).rows:
            cells: dict[str, Any] = {column: line.cells[column] or None for column in COLUMNS}
            rows.append(cells | {c: line.number(c) for c in COLUMNS[2:] if cells[c] is not None})
    return rows


def jnsc_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of rows of :data:`COLUMNS`, with 95 % intervals from a bootstrap over patients.

    Dice over the nodules found and over all, a missed one counting 0; absolute and signed errors of volume and diameter
    against the readers' masks over the nodules found; malignancy over the nodules found and, as the paper scores it,
    over all, the undetected ones taken for benign (section V.B). Median malignancy 3 is left out.
    """
    patient = np.unique([_patient(row) for row in rows], return_inverse=True)[1]
    values = {
        "dice": [row["dice"] if row["found"] else None for row in rows],
        "dice_with_missed": [row["dice"] for row in rows],
        "volume_error_percent": [_error(row, "volume_mm3", relative=True) for row in rows],
        "diameter_error_mm": [_error(row, "diameter_mm") for row in rows],
        "signed_volume_error_percent": [_signed_error(row, "volume_mm3", relative=True) for row in rows],
        "signed_diameter_error_mm": [_signed_error(row, "diameter_mm") for row in rows],
    }
    figures: dict[str, Any] = {"nodules": len(rows), "found": sum(int(row["found"]) for row in rows)}
    for name, column in values.items():
        figures |= _summary(name, np.array(column, dtype=float), patient)
    found = np.array([row["malignancy_probability"] is not None for row in rows], dtype=bool)
    figures["malignancy_of_found"] = _malignancy(rows, patient, found)
    missed = np.array([not row["found"] for row in rows], dtype=bool)
    figures["malignancy_undetected_benign"] = _malignancy(rows, patient, found | missed) if found.any() else None
    return figures


def _error(row: dict[str, Any], name: str, relative: bool = False) -> float | None:
    """Absolute error of a value against the readers' masks, in its unit or in percent; None for an unknown value."""
    error = _signed_error(row, name, relative)
    return None if error is None else abs(error)


def _signed_error(row: dict[str, Any], name: str, relative: bool = False) -> float | None:
    """Error of a value, above 0 for one that is too large; see :func:`_error`."""
    if row[name] is None:
        return None
    error = row[name] - row[f"true_{name}"]
    return float(100 * error / row[f"true_{name}"] if relative else error)


def _summary(name: str, value: np.ndarray, patient: np.ndarray) -> dict[str, Any]:
    """Mean and median of the finite values, and a 95 % interval of the mean."""
    finite = np.isfinite(value)
    if not finite.any():
        return {f"mean_{name}": None, f"median_{name}": None, f"mean_{name}_ci": None}
    value, patients, rng = value[finite], np.unique(patient[finite], return_inverse=True)[1], np.random.default_rng(0)
    count = int(patients.max()) + 1
    total, size = np.bincount(patients, value), np.bincount(patients)
    draws = rng.integers(count, size=(BOOTSTRAPS, count))
    means = total[draws].sum(axis=1) / size[draws].sum(axis=1)
    return {
        f"mean_{name}": float(value.mean()), f"median_{name}": float(np.median(value)),
        f"mean_{name}_ci": np.percentile(means, (2.5, 97.5)).tolist(),
    }  # fmt: skip


def _malignancy(rows: Sequence[dict[str, Any]], patient: np.ndarray, included: np.ndarray) -> dict[str, Any] | None:
    """Balanced accuracy, AUC and other figures of the included rows (N,) bool; None unless both classes occur."""
    labels = {n: _label(rows[n]) for n in np.flatnonzero(included).tolist()}
    labelled = [n for n, label in labels.items() if label is not None]
    label = np.array([labels[n] for n in labelled])
    if len(np.unique(label)) != 2:
        return None
    probability = np.array([rows[n]["malignancy_probability"] or 0.0 for n in labelled])
    numbers = np.unique(patient[labelled], return_inverse=True)[1]
    figures = score_malignancy(Predictions(label, probability, numbers, {}))
    return {key: figures[key] for key in figures if key not in ("calibration", "attribute_errors", "ece_bins")}


def _predictions(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Rows of :data:`MALIGNANCY_COLUMNS` for the nodules found that are benign or malignant."""
    return [
        [f"{row['case']}/{row['nodule']}", _patient(row), row["malignancy_probability"], _label(row)]
        for row in rows if row["malignancy_probability"] is not None and _label(row) is not None
    ]  # fmt: skip


def _label(row: dict[str, Any]) -> int | None:
    """Label of a nodule: 0 benign, 1 malignant, None for neither or unrated."""
    score = row["median_malignancy"]
    return None if score is None else benign_or_malignant(score)


def _patient(row: dict[str, Any]) -> str:
    """Patient of a nodule: the beginning of its name, or of the case's if it has none."""
    return str(row["nodule"] or row["case"]).split("_")[0]


def jnsc_results(scored: Mapping[str, Sequence[str | Path]]) -> str:
    """Markdown table with one row for each name; the nodules of a name's folders count together.

    Args:
        scored: scored folders by name.
    """
    return RESULTS_HEADER + "".join(_row(name, jnsc_figures(read_rows(folders))) for name, folders in scored.items())


def _row(name: str, figures: Mapping[str, Any]) -> str:
    """Row of the table for one name."""
    found, everything = figures["malignancy_of_found"], figures["malignancy_undetected_benign"]
    return markdown_row(
        name.replace("_", " "), figures["nodules"], figures["found"],
        _figure(figures, "mean_dice", ".3f"), _figure(figures, "mean_volume_error_percent", ".0f", " %"),
        _figure(figures, "mean_diameter_error_mm", ".2f", " mm"),
        _figure(found, "balanced_accuracy", ".3f"), _figure(found, "auc", ".3f"),
        _figure(everything, "balanced_accuracy", ".3f"), _figure(everything, "auc", ".3f"),
    )  # fmt: skip


def _figure(figures: Mapping[str, Any] | None, key: str, form: str, unit: str = "") -> str:
    """Figure with its interval, or a dash if it is unknown."""
    if figures is None or figures[key] is None:
        return "-"
    return with_interval(figures[key], figures[f"{key}_ci"], form, unit)
