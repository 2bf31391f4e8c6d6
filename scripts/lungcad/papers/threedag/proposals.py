# SPDX-License-Identifier: Apache-2.0
"""Proposals as detections: decoding, 3D non-maximum suppression, two models' detections as one list.

Zhang et al. 2020, sections IV.D and IV.F. :mod:`lungcad.papers.threedag.anchors` defines cubes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import cube_iou, decode_offsets

MERGES = ("union", "intersection")
"""Ways to merge the detections of two models; see :func:`merge_models`."""


def decode_proposals(
    output: Tensor, anchors: Tensor, level: Tensor, threshold: float = 0.269, max_proposals: int = 1000
) -> tuple[Tensor, Tensor, Tensor]:
    """Most probable proposals as cubes.

    Args:
        output: (N, 5) output of the network for one image.
        anchors, level: (N, 4) and (N,), see :func:`lungcad.papers.threedag.anchors.anchor_cubes`.
        threshold: least probability of a proposal; 0.269 = sigmoid(-1) in the paper (section IV.F).
        max_proposals: number of proposals kept, the most probable.

    Returns:
        Cubes (M, 4), log odds (M,) and levels (M,), most probable first.
    """
    logit = output[:, 0]
    likely = (logit >= torch.tensor(threshold, dtype=torch.float64).logit()).nonzero().flatten()
    best = likely[logit[likely].argsort(descending=True, stable=True)[:max_proposals]]
    return decode_offsets(output[best, 1:], anchors[best]), logit[best], level[best]


def suppress(
    cubes: Tensor, score: Tensor, overlap: float = 0.1, max_kept: int = -1,
    measure: Callable[[Tensor, Tensor], Tensor] = cube_iou,
) -> Tensor:  # fmt: skip
    """3D non-maximum suppression: of cubes that overlap by more than ``overlap`` the one of highest score stays.

    All IoUs are computed at once: MONAI's function, which does it cube by cube, took a quarter of a training step.

    Args:
        cubes: (N, 4) cubes.
        score: (N,) scores.
        overlap: greatest overlap of two cubes that both stay.
        max_kept: number of cubes kept, the highest scores; -1 for all.
        measure: overlaps (N, N) of cubes with cubes: IoU, or :func:`~lungcad.papers.threedag.anchors.shared_part`.

    Returns:
        Indices (M,) of the cubes kept, highest score first.
    """
    order = score.argsort(descending=True, stable=True)
    same = (measure(cubes[order], cubes[order]) > overlap).cpu().numpy()
    kept: list[int] = []
    gone = np.zeros(len(order), dtype=bool)
    for number, others in enumerate(same):
        if not gone[number] and len(kept) != max_kept:
            kept.append(number)
            gone |= others
    return order[kept]


def merge_models(
    first: Tensor, second: Tensor, keep: str = "union", overlap: float = 0.1, alone: float = 1.0
) -> Tensor:
    """Detections of two models as one list (table III).

    Detections that overlap are paired, greatest IoU first, each with at most one of the other model, and a pair becomes
    the mean of both. Detections without a partner are kept by the union and dropped by the intersection.

    Args:
        first, second: (N, 4 + K) detections of each model after non-maximum suppression: cubes and K probabilities.
        keep: ``union`` or ``intersection``.
        overlap: IoU that a pair must exceed.
        alone: factor of the probabilities of a detection without a partner, in the union.

    Returns:
        Detections (M, 4 + K): pairs, then those without a partner.

    Raises:
        InputError: E-CONFIG, any other ``keep``.
    """
    if keep not in MERGES:
        raise InputError("E-CONFIG", f"unknown merge: {keep} (expected {' or '.join(MERGES)}).")
    rows, columns = _overlapping_pairs(cube_iou(first[:, :4], second[:, :4]), overlap)
    merged = [(first[rows] + second[columns]) / 2]
    if keep == "union":
        factor = torch.tensor([1.0] * 4 + [alone] * (first.shape[1] - 4), device=first.device)
        merged += [_drop_rows(first, rows) * factor, _drop_rows(second, columns) * factor]
    return torch.cat(merged)


def _overlapping_pairs(iou: Tensor, overlap: float) -> tuple[list[int], list[int]]:
    """Rows and columns of the greatest values above ``overlap``, each row and each column at most once."""
    rows: list[int] = []
    columns: list[int] = []
    index = (iou > overlap).nonzero()
    for row, column in index[iou[index[:, 0], index[:, 1]].argsort(descending=True, stable=True)].tolist():
        if row not in rows and column not in columns:
            rows.append(row)
            columns.append(column)
    return rows, columns


def _drop_rows(table: Tensor, rows: list[int]) -> Tensor:
    """Table (N, K) without the given rows."""
    left = torch.ones(len(table), dtype=torch.bool, device=table.device)
    left[rows] = False
    return table[left]
