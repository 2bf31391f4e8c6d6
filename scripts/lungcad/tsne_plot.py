# SPDX-License-Identifier: Apache-2.0
"""Nodules in the plane by their attribute scores, benign and malignant (MTMR-Net, Liu et al. 2019, Figure 5)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

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
