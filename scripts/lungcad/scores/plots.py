# SPDX-License-Identifier: Apache-2.0
"""The FROC curve as a picture and as a table."""

import csv
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.detection_scores import Curve
from lungcad.froc import FP_PER_SCAN

COLUMNS = ("fp_per_scan", "sensitivity", "low", "high", "threshold")
"""Of the curve's CSV; low and high bound the 95 % band, the threshold is empty where none gives so few."""


def write_curve_csv(path: Path, curve: Curve) -> None:
    """Write a curve with the columns :data:`COLUMNS`, one row per false positive rate."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for values in zip(*(getattr(curve, column) for column in COLUMNS), strict=True):
            rows.writerow(["" if np.isnan(value) else f"{value:.9g}" for value in values])


def draw_curve(path: Path, curve: Curve, figures: Mapping[str, Any]) -> None:
    """Draw a curve with its 95 % band and LUNA16's seven points, as PNG.

    Args:
        path: of the picture.
        curve: from 1/8 to 8 false positives per scan.
        figures: of :func:`lungcad.detection_scores.score_detection`; its CPM stands in the legend.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    low, high = figures["cpm_ci"]
    axes.set_xscale("log", base=2)
    axes.plot(curve.fp_per_scan, curve.sensitivity, color="C0", linewidth=1.8,
              label=f"CPM {figures['cpm']:.3f} (95 % CI {low:.3f} to {high:.3f})")  # fmt: skip
    axes.plot(FP_PER_SCAN, figures["sensitivities"], "o", color="C0", markersize=4.5, clip_on=False,
              label="the CPM's seven points")  # fmt: skip
    axes.fill_between(curve.fp_per_scan, curve.low, curve.high, color="C0", alpha=0.2, linewidth=0,
                      label=f"95 % band, {figures['bootstraps']} bootstraps over scans")  # fmt: skip
    axes.set_xticks(FP_PER_SCAN, [str(Fraction(rate)) for rate in FP_PER_SCAN])
    axes.set_xlim(FP_PER_SCAN[0], FP_PER_SCAN[-1])
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 11))
    axes.set_xlabel("false positives per scan")
    axes.set_ylabel("sensitivity")
    axes.set_title(f"FROC: {figures['nodules']} nodules in {figures['scans']} scans", fontsize=11)
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=True, edgecolor="none")
    figure.savefig(path, format="png", metadata={"Software": None})  # equal input, equal file
