# SPDX-License-Identifier: Apache-2.0
"""The reliability diagram: are nodules with a probability of 0.8 malignant in 8 of 10 cases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest


def draw_reliability(path: Path, figures: Mapping[str, Any]) -> None:
    """Draw malignant part against mean probability per bin, over the number of nodules per bin, as PNG.

    Args:
        path: of the picture.
        figures: of :func:`lungcad.malignancy_scores.score_malignancy`.
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
