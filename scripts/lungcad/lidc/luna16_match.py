# SPDX-License-Identifier: Apache-2.0
"""Comparison of nodules from the readings with LUNA16's reference nodules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from lungcad.lidc.nodules import LidcNodule

SAME_MM = 0.01
"""Difference of z and of diameter in mm below which a nodule is LUNA16's."""

MIN_READERS = 3
"""Least number of readers of a reference nodule of LUNA16."""


@dataclass(frozen=True)
class Luna16Match:
    """Agreement of nodules of at least three readers with LUNA16's reference.

    Attributes:
        series: number of series compared.
        reference: number of LUNA16's reference nodules in them.
        equal: number of series with as many nodules as in LUNA16.
        different: for each other series its UID, our nodules, LUNA16's nodules, and our touching nodules.
        same: number of reference nodules with one of ours within :data:`SAME_MM` in z and diameter.
        same_plain: the same number, but with our readings averaged by the plain mean.
        error_mm: mean absolute difference of diameter in mm for the plain mean, over nodules paired within a series.
    """

    series: int
    reference: int
    equal: int
    different: list[tuple[str, int, int, int]]
    same: int
    same_plain: int
    error_mm: float


def match_luna16(
    nodules: Sequence[LidcNodule], series: Sequence[str], reference: Mapping[str, np.ndarray]
) -> Luna16Match:
    """Compare nodules with LUNA16's reference, series by series.

    Nodules are compared by z and diameter, since neither needs the image's origin.

    Args:
        nodules: all nodules; those of fewer than three readers are left out.
        series: UIDs of LUNA16's series.
        reference: (N, 4) x, y, z, diameter in mm by series.
    """
    by_series = defaultdict(list)
    for nodule in nodules:
        if nodule.n_readers >= MIN_READERS:
            by_series[nodule.series_uid].append(nodule)
    different, same, same_plain, errors = [], 0, 0, []
    for uid in series:
        found, listed = by_series[uid], reference.get(uid, np.zeros((0, 4)))[:, 2:]
        if len(found) != len(listed):
            different.append((uid, len(found), len(listed), sum(nodule.touching for nodule in found)))
        if not found or not len(listed):
            continue
        chained = np.array([nodule.luna16[2:] for nodule in found])
        plain = np.array([(nodule.centre[2], nodule.diameter_mm) for nodule in found])
        gap = np.abs(listed[:, None] - chained[None])  # (N, M, 2)
        same += int((gap.max(axis=2) < SAME_MM).any(axis=1).sum())
        same_plain += int((np.abs(listed[:, None] - plain[None]).max(axis=2) < SAME_MM).any(axis=1).sum())
        first, second = linear_sum_assignment(gap.sum(axis=2))
        errors += np.abs(listed[first, 1] - plain[second, 1]).tolist()
    error = float(np.mean(errors)) if errors else float("nan")
    count = sum(len(reference.get(uid, ())) for uid in series)
    return Luna16Match(len(series), count, len(series) - len(different), different, same, same_plain, error)
