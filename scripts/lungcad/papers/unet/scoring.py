# SPDX-License-Identifier: Apache-2.0
"""Scores of masks and measurements against LIDC-IDRI's readers, nodule by nodule.

:class:`MeasurementScorer` writes ``measurements.csv``, one row per nodule, and ``metrics.json``, its figures
(:func:`measurement_figures`).
"""

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from lungcad.atomic import added_files
from lungcad.finding import Finding, FindingMask
from lungcad.geometry import sphere_diameter, to_index, to_world
from lungcad.measure.axes import transverse_axes
from lungcad.papers.unet.crops import INSIDE, NODULE, OUTLINED, OutlinedCrop
from lungcad.training.scoring import Collector

TRUTHS = {"nodule": NODULE, "without_outline": INSIDE, "with_outline": OUTLINED}
"""Readers' masks that a mask is scored against, by their bit: with the outline's pixels where they are at least half
filled, as the network learnt; without them; with all of them, as ``nodules3d`` has it."""

COLUMNS = (
    "nodule", "patient", "luna16_mm", "slice_mm", "volume_mm3", "mean_mm",
    *(f"{what}_{truth}" for truth in TRUTHS for what in ("mm3", "mean_mm", "dice")),
    "true_kind", "kind", "true_calcified", "calcification",
)  # fmt: skip
"""Columns of measurements.csv; volume, mean diameter and Dice for each of the readers' masks."""

CLASSES_MM = ((0.0, 5.0), (5.0, 8.0), (8.0, 12.0), (12.0, np.inf))
"""Size classes, by LUNA16's diameter."""
KINDS = ("non-solid", "part-solid", "solid")
"""Kinds in the order of LIDC-IDRI's texture."""


class MeasurementScorer(Collector):
    """Collector of measured nodules that writes a table and its figures at the end.

    Args:
        output_dir: folder to write to.
        data: description of the nodules, for the figures.
    """

    def start(self) -> None:
        """Forget all nodules."""
        self.rows: list[dict[str, Any]] = []

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add one nodule."""
        self.rows.append(nodule_row(batch["crop"], batch["findings"][0]))

    def write(self) -> None:
        """Write the table and the figures."""
        with added_files(self.folder) as folder:
            with (folder / "measurements.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)
            figures = {"data": self.data} | measurement_figures(self.rows)
            (folder / "metrics.json").write_text(json.dumps(figures, indent=2))


def nodule_row(crop: OutlinedCrop, finding: Finding) -> dict[str, Any]:
    """Row of :data:`COLUMNS`; None for an unknown value. The finding's mask lies in the crop's millimetres."""
    texture = crop.texture.mean() if len(crop.texture) else np.nan
    row = dict.fromkeys(COLUMNS) | {
        "nodule": crop.name, "patient": crop.patient_id, "luna16_mm": crop.diameter_mm,
        "slice_mm": float(crop.spacing_mm[2]), "true_kind": texture_kind(texture),
        "true_calcified": _calcified(crop.calcification),
    }  # fmt: skip
    measured = finding.measurement
    for truth, bit in TRUTHS.items():
        true = crop.voxels(bit)
        row[f"dice_{truth}"] = 0.0 if finding.mask is None else dice_on(true, crop.affine, finding.mask)
        row[f"mm3_{truth}"] = crop.volume_mm3(bit)
        if true.any():
            axes = transverse_axes(true, crop.spacing_mm)
            row[f"mean_mm_{truth}"] = (axes.long_mm + axes.short_mm) / 2
    if measured is not None:
        row |= {"volume_mm3": measured.volume_mm3, "mean_mm": measured.mean_diameter_mm, "kind": measured.kind}
        row["calcification"] = measured.calcification
    return row


def texture_kind(texture: float) -> str | None:
    """Kind by the readers' mean texture: 1 and 2 non-solid, 3 part-solid, 4 and 5 solid, as in LNDb; None for NaN."""
    if np.isnan(texture):
        return None
    return KINDS[int(np.digitize(texture, (2.5, 3.5)))]


def _calcified(calcification: np.ndarray) -> int | None:
    """Whether at least half of the readers see calcium; None without readers."""
    return int((calcification < 6).mean() >= 0.5) if len(calcification) else None


def dice_on(true: np.ndarray, affine: np.ndarray, mask: FindingMask) -> float:
    """Dice coefficient of a mask (X, Y, Z) and a finding's mask, which is interpolated linearly to its voxels."""
    size = np.array(mask.mask.shape)
    corners = to_index(affine, to_world(mask.affine, np.array([np.zeros(3), size - 1])))
    low = np.floor(corners.min(axis=0) - 1).astype(int).clip(0)
    high = np.minimum(np.ceil(corners.max(axis=0) + 2).astype(int), true.shape)
    index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    at = np.moveaxis(to_index(mask.affine, to_world(affine, index)), -1, 0)
    resampled = ndimage.map_coordinates(np.pad(mask.mask, 1).astype(np.float32), at + 1, order=1) > 0.5
    box = true[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return float(2 * (box & resampled).sum() / max(true.sum() + resampled.sum(), 1))


def measurement_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of size against each of the readers' masks, over all nodules and by size class (:func:`size_figures`),
    against LUNA16's diameters, and of the agreement of kind and calcification.
    """
    figures: dict[str, Any] = {"nodules": len(rows)}
    for truth in TRUTHS:
        figures[truth] = {"all": size_figures(rows, truth)}
        for low, high in CLASSES_MM:
            name = f"{low:g} to {high:g} mm" if np.isfinite(high) else f"{low:g} mm or more"
            of_size = [row for row in rows if low <= row["luna16_mm"] < high]
            figures[truth][name] = size_figures(of_size, truth)
    found = [row for row in rows if row["volume_mm3"] is not None]
    off = np.array([sphere_diameter(row["volume_mm3"]) - row["luna16_mm"] for row in found])
    if len(found):
        figures["effective_less_luna16_mm"] = {
            "median": round(float(np.median(off)), 2), "median_absolute": round(float(np.median(np.abs(off))), 2),
            "within_1_mm": round(float(np.mean(np.abs(off) <= 1)), 3),
        }  # fmt: skip
    rated = [row for row in rows if row["kind"] and row["true_kind"]]
    table = np.zeros((3, 3), int)
    for row in rated:
        table[KINDS.index(row["true_kind"]), KINDS.index(row["kind"])] += 1
    figures["kind"] = {"nodules": len(rated), "kappa": kappa(table), "true_by_called": table.tolist()}
    called = [row for row in rows if row["calcification"] is not None and row["true_calcified"] is not None]
    hits = np.array([[row["true_calcified"], row["calcification"] != "none"] for row in called], int).reshape(-1, 2)
    counts = [int(((hits[:, 0] == true) & (hits[:, 1] == seen)).sum()) for true in (1, 0) for seen in (1, 0)]
    figures["calcification"] = dict(zip(("hit", "missed", "false", "none"), counts, strict=True))
    return figures


def size_figures(rows: Sequence[Mapping[str, Any]], truth: str) -> dict[str, Any]:
    """Figures of size against one of :data:`TRUTHS`.

    Nodules, those measured, mean Dice (0 without a mask), and of those measured the shares with the mean diameter
    within 1 mm and the volume within 20 %, and median errors, signed and absolute.
    """
    found = [row for row in rows if row["volume_mm3"] is not None and row[f"mm3_{truth}"] > 0]
    if not found:
        return {"nodules": len(rows), "measured": 0}
    names = ("volume_mm3", f"mm3_{truth}", "mean_mm", f"mean_mm_{truth}")
    volume, true, mean, true_mean = (np.array([row[name] for row in found], dtype=float) for name in names)
    error, off = 100 * (volume / true - 1), mean - true_mean
    figures = {
        "mean_dice": np.mean([row[f"dice_{truth}"] for row in rows]), "diameter_within_1_mm": np.mean(np.abs(off) <= 1),
        "volume_within_20_percent": np.mean(np.abs(error) <= 20), "median_volume_error_percent": np.median(error),
        "median_absolute_volume_error_percent": np.median(np.abs(error)), "median_diameter_error_mm": np.median(off),
        "median_absolute_diameter_error_mm": np.median(np.abs(off)),
    }  # fmt: skip
    return {"nodules": len(rows), "measured": len(found)} | {key: round(float(v), 3) for key, v in figures.items()}


def kappa(table: np.ndarray) -> float | None:
    """Cohen's kappa of a table (K, K) of counts; None if all counts are in one class."""
    total = table.sum()
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum()) / max(total, 1) ** 2
    return None if not total or expected == 1 else float((np.trace(table) / total - expected) / (1 - expected))
