# SPDX-License-Identifier: Apache-2.0
"""From proposals to detections: decoding, 3D non-maximum suppression, two models' detections as one list.

Zhang et al. 2020, sections IV.D and IV.F. Cubes are those of :mod:`lungcad.papers.threedag.anchors`.
"""

import numpy as np
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import cube_iou, decode

MERGES = ("union", "intersection")


def decode_proposals(
    output: Tensor, anchors: Tensor, level: Tensor, threshold: float = 0.269, most: int = 1000
) -> tuple[Tensor, Tensor, Tensor]:
    """Proposals worth looking at.

    Args:
        output: (N, 5) of the network, for one image.
        anchors, level: (N, 4) and (N,) of :func:`lungcad.papers.threedag.anchors.anchor_cubes`.
        threshold: least probability; 0.269 = sigmoid(-1) in the paper (section IV.F).
        most: at most so many, the most probable.

    Returns:
        Cubes (M, 4), log odds (M,) and levels (M,), most probable first.
    """
    logit = output[:, 0]
    likely = (logit >= torch.tensor(threshold, dtype=torch.float64).logit()).nonzero().flatten()
    best = likely[logit[likely].argsort(descending=True, stable=True)[:most]]
    return decode(output[best, 1:], anchors[best]), logit[best], level[best]


def suppress(cubes: Tensor, score: Tensor, overlap: float = 0.1, most: int = -1) -> Tensor:
    """3D non-maximum suppression: of cubes whose IoU is above ``overlap`` the one of highest score stays.

    All IoUs are computed at once: MONAI's function, which does it cube by cube, took a quarter of a training step.

    Args:
        cubes: (N, 4).
        score: (N,).
        overlap: greatest IoU of two that both stay.
        most: stop after so many; -1 for all.

    Returns:
        Indices (M,) kept, highest score first.
    """
    order = score.argsort(descending=True, stable=True)
    same = (cube_iou(cubes[order], cubes[order]) > overlap).cpu().numpy()
    kept: list[int] = []
    gone = np.zeros(len(order), dtype=bool)
    for number, others in enumerate(same):
        if not gone[number] and len(kept) != most:
            kept.append(number)
            gone |= others
    return order[kept]


def merge_models(first: Tensor, second: Tensor, keep: str = "union", overlap: float = 0.1) -> Tensor:
    """Detections of two models as one list (table III).

    Detections that overlap are paired, greatest IoU first, each with at most one of the other model, and a pair becomes
    the mean of both. What is left alone is kept by the union and dropped by the intersection.

    Args:
        first, second: (N, 4 + K) of each model after non-maximum suppression: cubes and K probabilities.
        keep: ``union`` or ``intersection``.
        overlap: pairs have an IoU above this.

    Returns:
        (M, 4 + K); pairs, then those left alone.

    Raises:
        InputError: E-CONFIG, any other ``keep``.
    """
    if keep not in MERGES:
        raise InputError("E-CONFIG", f"unknown merge: {keep} (expected {' or '.join(MERGES)}).")
    rows, columns = _pairs(cube_iou(first[:, :4], second[:, :4]), overlap)
    merged = [(first[rows] + second[columns]) / 2]
    if keep == "union":
        merged += [_without(first, rows), _without(second, columns)]
    return torch.cat(merged)


def _pairs(iou: Tensor, overlap: float) -> tuple[list[int], list[int]]:
    """Rows and columns of the greatest values above ``overlap``, each row and column once."""
    rows: list[int] = []
    columns: list[int] = []
    index = (iou > overlap).nonzero()
    for row, column in index[iou[index[:, 0], index[:, 1]].argsort(descending=True, stable=True)].tolist():
        if row not in rows and column not in columns:
            rows.append(row)
            columns.append(column)
    return rows, columns


def _without(table: Tensor, rows: list[int]) -> Tensor:
    """The rows that are not among ``rows``."""
    left = torch.ones(len(table), dtype=torch.bool, device=table.device)
    left[rows] = False
    return table[left]
