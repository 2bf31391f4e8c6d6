# SPDX-License-Identifier: Apache-2.0
"""The FROC curve as a picture and as a table."""

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
        figures: of :func:`lungcad.scores.detection.score_detection`; its CPM stands in the legend.
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


def draw_reliability(path: Path, figures: Mapping[str, Any]) -> None:
    """Draw malignant part against mean probability per bin, over the number of nodules per bin, as PNG.

    Args:
        path: of the picture.
        figures: of :func:`lungcad.scores.malignancy.score_malignancy`.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    table = figures["calibration"]
    filled = [one for one in table if one["nodules"]]
    figure = Figure(figsize=(5.2, 6.2), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="perfectly calibrated")
    above.errorbar(
        [one["mean_probability"] for one in filled], [one["malignant"] / one["nodules"] for one in filled],
        yerr=np.array([_bars(one["malignant"], one["nodules"]) for one in filled]).T,
        fmt="o-", color="C0", linewidth=1.6, markersize=5, elinewidth=1, capsize=2.5, clip_on=False,
        label=f"each bin, with 95 % CI (Wilson)\nECE {figures['ece']:.3f} ({figures['ece_bins']} bins), "
        f"Brier {figures['brier']:.3f}",
    )  # fmt: skip
    above.set_ylabel("part that is malignant")
    above.set_xlim(0, 1)
    above.set_ylim(0, 1)
    above.set_title(f"Reliability: {figures['malignant']} malignant, {figures['benign']} benign nodules", fontsize=11)
    above.legend(loc="upper left", frameon=True, edgecolor="none", fontsize=9)

    left, width = [one["low"] for one in table], [one["high"] - one["low"] for one in table]
    malignant = np.array([one["malignant"] for one in table])
    benign = np.array([one["nodules"] for one in table]) - malignant
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


def _bars(hits: int, total: int) -> tuple[float, float]:
    """Lengths of the interval's two arms."""
    interval = binomtest(hits, total).proportion_ci(method="wilson")
    return max(0.0, hits / total - interval.low), max(0.0, interval.high - hits / total)

PERPLEXITY = 30.0
"""About how many neighbours each nodule keeps: scikit-learn's default, less for fewer than 91 nodules."""

SEED = 0
"""Of the places that t-SNE starts from."""

_NAMES = ("benign", "malignant")
_COLOURS = np.array(["C0", "C3"])  # blue, red


def embed(scores: np.ndarray) -> np.ndarray:
    """Lay out nodules by t-SNE of their standardised scores; equal input, equal places.

    Args:
        scores: (N, K) of K attributes, at least 4 nodules.

    Returns:
        (N, 2) places without a unit.
    """
    perplexity = min(PERPLEXITY, (len(scores) - 1) / 3)
    # random: PCA, the other start, needs two attributes that vary
    model = TSNE(perplexity=perplexity, init="random", random_state=SEED)
    with threadpool_limits(1):  # several threads add up in an order of their own
        return np.asarray(model.fit_transform(StandardScaler().fit_transform(scores)))


def draw_tsne(path: Path, scores: np.ndarray, label: np.ndarray, names: Sequence[str], title: str) -> None:
    """Draw the t-SNE of attribute scores, malignant nodules red and benign ones blue, as PNG.

    Args:
        path: of the picture.
        scores: (N, K) of K attributes.
        label: (N,) 0 benign, 1 malignant.
        names: of the K attributes; they stand under the picture.
        title: stands over it.
    """
    from matplotlib.figure import Figure  # without pyplot there is no display to ask for: always Agg

    x, y = embed(scores).T
    figure = Figure(figsize=(5.2, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # in one call and in the table's order: neither class lies on top of the other
    axes.scatter(x, y, s=16, c=_COLOURS[label], alpha=0.65, linewidths=0)
    for value, (name, colour) in enumerate(zip(_NAMES, _COLOURS, strict=True)):
        axes.scatter([], [], s=24, color=colour, label=f"{name} ({(label == value).sum()})")
    axes.set_xlabel(_lines(names), fontsize=9)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])  # the axes have neither unit nor meaning
    axes.set_yticks([])
    axes.spines[:].set_color("0.8")
    axes.margins(0.04)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, format="png", metadata={"Software": None})  # equal input, equal file


def _lines(names: Sequence[str], most: int = 4) -> str:
    return ",\n".join(", ".join(names[start : start + most]) for start in range(0, len(names), most))
