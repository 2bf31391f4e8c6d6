# SPDX-License-Identifier: Apache-2.0
"""Plots of scores as PNG: FROC curve (also as CSV), reliability diagram, t-SNE of attribute scores."""

import csv
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lungcad.scores.detection import Curve
from lungcad.scores.froc import FP_PER_SCAN

COLUMNS = ("fp_per_scan", "sensitivity", "low", "high", "threshold")
"""Columns of the curve's CSV; ``low`` and ``high`` bound the 95 % band, ``threshold`` is empty if all give too many."""

PERPLEXITY = 30.0
"""Effective number of neighbours of a nodule in t-SNE: scikit-learn's default, less for fewer than 91 nodules."""

SEED = 0
"""Seed of t-SNE's random start."""

_CLASS_NAMES = ("benign", "malignant")
_COLOURS = np.array(["C0", "C3"])  # blue, red


def write_curve_csv(path: Path, curve: Curve) -> None:
    """Write a FROC curve as CSV with the columns :data:`COLUMNS`, one row per false positive rate."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for values in zip(*(getattr(curve, column) for column in COLUMNS), strict=True):
            rows.writerow(["" if np.isnan(value) else f"{value:.9g}" for value in values])


def draw_curve(path: Path, curve: Curve, figures: Mapping[str, Any]) -> None:
    """Draw a FROC curve with its 95 % band and LUNA16's seven points, as PNG.

    Args:
        path: path of the picture.
        curve: FROC curve from 1/8 to 8 false positives per scan.
        figures: figures from :func:`lungcad.scores.detection.score_detection`; the CPM is shown in the legend. Where
            no scan has a nodule, the curve shows the score above which marks are as many.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    figure = Figure(figsize=(6.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log", base=2)
    if figures["cpm"] is None:
        axes.step(curve.fp_per_scan, curve.threshold, where="post", color="C0", linewidth=1.8, label="lowest score")
        axes.set_ylabel("lowest score of a mark")
    else:
        _draw_sensitivity(axes, curve, figures)
    axes.set_xticks(FP_PER_SCAN, [str(Fraction(rate)) for rate in FP_PER_SCAN])
    axes.set_xlim(FP_PER_SCAN[0], FP_PER_SCAN[-1])
    axes.set_xlabel("false positives per scan")
    axes.set_title(f"FROC: {figures['nodules']} nodules in {figures['scans']} scans", fontsize=11)
    axes.grid(color="0.88")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=True, edgecolor="none")
    figure.savefig(path, format="png", metadata={"Software": None})  # equal input, equal file


def _draw_sensitivity(axes: Any, curve: Curve, figures: Mapping[str, Any]) -> None:
    """Draw the sensitivity of a FROC curve, its band and the CPM's seven points into axes of matplotlib."""
    low, high = figures["cpm_ci"]
    axes.plot(curve.fp_per_scan, curve.sensitivity, color="C0", linewidth=1.8,
              label=f"CPM {figures['cpm']:.3f} (95 % CI {low:.3f} to {high:.3f})")  # fmt: skip
    axes.plot(FP_PER_SCAN, figures["sensitivities"], "o", color="C0", markersize=4.5, clip_on=False,
              label="the CPM's seven points")  # fmt: skip
    axes.fill_between(curve.fp_per_scan, curve.low, curve.high, color="C0", alpha=0.2, linewidth=0,
                      label=f"95 % band, {figures['bootstraps']} bootstraps over scans")  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 11))
    axes.set_ylabel("sensitivity")


def draw_reliability(path: Path, figures: Mapping[str, Any]) -> None:
    """Draw a reliability diagram, share of malignant nodules by mean probability, over a histogram, as PNG.

    Args:
        path: path of the picture.
        figures: figures from :func:`lungcad.scores.malignancy.score_malignancy`.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    table = figures["calibration"]
    filled = [row for row in table if row["nodules"]]
    figure = Figure(figsize=(5.2, 6.2), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="perfectly calibrated")
    above.errorbar(
        [row["mean_probability"] for row in filled], [row["malignant"] / row["nodules"] for row in filled],
        yerr=np.array([_error_bars(row["malignant"], row["nodules"]) for row in filled]).T,
        fmt="o-", color="C0", linewidth=1.6, markersize=5, elinewidth=1, capsize=2.5, clip_on=False,
        label=f"each bin, with 95 % CI (Wilson)\nECE {figures['ece']:.3f} ({figures['ece_bins']} bins), "
        f"Brier {figures['brier']:.3f}",
    )  # fmt: skip
    above.set_ylabel("part that is malignant")
    above.set_xlim(0, 1)
    above.set_ylim(0, 1)
    above.set_title(f"Reliability: {figures['malignant']} malignant, {figures['benign']} benign nodules", fontsize=11)
    above.legend(loc="upper left", frameon=True, edgecolor="none", fontsize=9)

    left, width = [row["low"] for row in table], [row["high"] - row["low"] for row in table]
    malignant = np.array([row["malignant"] for row in table])
    benign = np.array([row["nodules"] for row in table]) - malignant
    below.bar(left, benign, width, align="edge", color="0.75", edgecolor="white", label="benign")
    below.bar(left, malignant, width, benign, align="edge", color="C3", alpha=0.8, edgecolor="white", label="malignant")
    below.set_xlabel("predicted probability of malignancy")
    below.set_ylabel("nodules")
    below.legend(loc="upper center", ncols=2, frameon=False, fontsize=9)
    below.margins(y=0.35)  # room for the legend
    for axes in (above, below):
        axes.grid(color="0.88")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", metadata={"Software": None})  # equal input, equal file


def _error_bars(count: int, total: int) -> tuple[float, float]:
    """Distances from a proportion to the lower and upper end of its 95 % Wilson interval."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return max(0.0, count / total - interval.low), max(0.0, interval.high - count / total)


def embed(scores: np.ndarray) -> np.ndarray:
    """Embed nodules in the plane by t-SNE of their standardised scores; equal input gives equal output.

    Args:
        scores: (N, K) scores of K attributes, at least 4 nodules.

    Returns:
        (N, 2) positions without a unit.
    """
    perplexity = min(PERPLEXITY, (len(scores) - 1) / 3)
    # random: PCA, the other start, needs two attributes that vary
    model = TSNE(perplexity=perplexity, init="random", random_state=SEED)
    with threadpool_limits(1):  # several threads add up in an order of their own
        return np.asarray(model.fit_transform(StandardScaler().fit_transform(scores)))


def draw_tsne(path: Path, scores: np.ndarray, label: np.ndarray, names: Sequence[str], title: str) -> None:
    """Draw the t-SNE of attribute scores, malignant nodules red and benign ones blue, as PNG.

    Args:
        path: path of the picture.
        scores: (N, K) scores of K attributes.
        label: (N,) 0 benign, 1 malignant.
        names: names of the K attributes, written under the picture.
        title: title of the picture.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    x, y = embed(scores).T
    figure = Figure(figsize=(5.2, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # in one call and in the table's order: neither class lies on top of the other
    axes.scatter(x, y, s=16, c=_COLOURS[label], alpha=0.65, linewidths=0)
    for value, (name, colour) in enumerate(zip(_CLASS_NAMES, _COLOURS, strict=True)):
        axes.scatter([], [], s=24, color=colour, label=f"{name} ({(label == value).sum()})")
    axes.set_xlabel(_lines(names), fontsize=9)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])  # the axes have neither unit nor meaning
    axes.set_yticks([])
    axes.spines[:].set_color("0.8")
    axes.margins(0.04)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, format="png", metadata={"Software": None})  # equal input, equal file


def _lines(names: Sequence[str], per_line: int = 4) -> str:
    """Names separated by commas, a few per line."""
    return ",\n".join(", ".join(names[start : start + per_line]) for start in range(0, len(names), per_line))
