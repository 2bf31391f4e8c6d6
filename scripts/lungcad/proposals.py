# SPDX-License-Identifier: Apache-2.0
"""From proposals to detections: decoding, 3D non-maximum suppression, two branches' scores, two models' findings.

Zhang et al. 2020, sections III.C, IV.D and IV.F. Cubes are those of :mod:`lungcad.cubes`. Cubes of several windows
become those of one scan by adding each window's first voxel to their centres and suppressing all of them together.
"""

import torch
from torch import Tensor

from lungcad.cubes import cube_iou, decode
from lungcad.errors import InputError

MERGES = ("union", "intersection")


def decode_proposals(
    output: Tensor, anchors: Tensor, level: Tensor, threshold: float = 0.269, most: int = 1000
) -> tuple[Tensor, Tensor, Tensor]:
    """Proposals worth looking at.

    Args:
        output: (N, 5) of the network, for one image.
        anchors, level: (N, 4) and (N,) of :func:`lungcad.anchors.anchor_cubes`.
        threshold: least probability; 0.269 = sigmoid(-1) in the paper (section IV.F).
        most: at most so many, the most probable.

    Returns:
        Cubes (M, 4), log odds (M,) and levels (M,), most probable first.
    """
    logit = output[:, 0]
    likely = (logit >= torch.tensor(threshold, dtype=torch.float64).logit()).nonzero().flatten()
    best = likely[logit[likely].argsort(descending=True, stable=True)[:most]]
    return decode(output[best, 1:], anchors[best]), logit[best], level[best]


def suppress(cubes: Tensor, score: Tensor, overlap: float = 0.1) -> Tensor:
    """3D non-maximum suppression: of cubes whose IoU is above ``overlap`` the one of highest score stays.

    Args:
        cubes: (N, 4).
        score: (N,).
        overlap: greatest IoU of two that both stay.

    Returns:
        Indices (M,) kept, highest score first.
    """
    left = score.argsort(descending=True, stable=True)
    keep = [left[:0]]
    while len(left):
        best, left = left[:1], left[1:]
        keep.append(best)
        left = left[cube_iou(cubes[best], cubes[left])[0] <= overlap]
    return torch.cat(keep)


def combined_probability(proposal_logit: Tensor, classifier_logit: Tensor) -> Tensor:
    """Final score: the mean of both branches' probabilities (section III.C), of the shape of the log odds."""
    return (proposal_logit.sigmoid() + classifier_logit.sigmoid()) / 2


def merge_models(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], keep: str = "union", overlap: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Findings of two models as one list (table III).

    Findings that overlap are paired, greatest IoU first, each with at most one of the other model, and a pair becomes
    the mean of its cubes and of its scores. What is left alone is kept by the union and dropped by the intersection.

    Args:
        first, second: cubes (N, 4) and scores (N,) of each model, after non-maximum suppression.
        keep: ``union`` or ``intersection``.
        overlap: pairs have an IoU above this.

    Returns:
        Cubes (M, 4) and scores (M,), highest first.

    Raises:
        InputError: E-CONFIG, any other ``keep``.
    """
    if keep not in MERGES:
        raise InputError("E-CONFIG", f"unknown merge: {keep} (expected {' or '.join(MERGES)}).")
    one, other = (torch.cat([cubes, score[:, None]], dim=1) for cubes, score in (first, second))  # (N, 5), (M, 5)
    rows, columns = _pairs(cube_iou(one[:, :4], other[:, :4]), overlap)
    merged = [(one[rows] + other[columns]) / 2]
    if keep == "union":
        merged += [_without(one, rows), _without(other, columns)]
    every = torch.cat(merged)
    every = every[every[:, 4].argsort(descending=True, stable=True)]
    return every[:, :4], every[:, 4]


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
