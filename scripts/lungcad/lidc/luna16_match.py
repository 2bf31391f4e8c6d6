# SPDX-License-Identifier: Apache-2.0
"""Compare nodules found in the readings with LUNA16's reference nodules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from lungcad.lidc.nodules import LidcNodule

SAME_MM = 0.01
"""A nodule here is LUNA16's where z and diameter differ by less."""

LEAST_READERS = 3
"""Of a reference nodule of LUNA16."""


@dataclass(frozen=True)
class Luna16Match:
    """The nodules of at least three readers beside LUNA16's reference.

    Attributes:
        series: how many were compared.
        reference: nodules of LUNA16 in them.
        equal: how many of them have as many nodules here as there.
        different: (series, nodules here, there, touching nodules here) of the others.
        same: reference nodules found here with z and diameter within :data:`SAME_MM`.
        same_plain: so many by the plain mean of the readings.
        error_mm: mean absolute difference of the plain mean's diameter, over nodules paired within their series.
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
    """Compare nodules with LUNA16's reference, series by series, by z and diameter: neither needs the image's origin.

    Args:
        nodules: of all readers; those of fewer than three are left out.
        series: UIDs of LUNA16's series.
        reference: (N, 4) x, y, z, diameter in mm by series.
    """
    own = defaultdict(list)
    for one in nodules:
        if one.n_readers >= LEAST_READERS:
            own[one.series_uid].append(one)
    different, same, same_plain, errors = [], 0, 0, []
    for uid in series:
        theirs = reference.get(uid, np.zeros((0, 4)))[:, 2:]
        if len(own[uid]) != len(theirs):
            different.append((uid, len(own[uid]), len(theirs), sum(one.touching for one in own[uid])))
        if not own[uid] or not len(theirs):
            continue
        chained = np.array([one.luna16[2:] for one in own[uid]])
        plain = np.array([(one.centre[2], one.diameter_mm) for one in own[uid]])
        gap = np.abs(theirs[:, None] - chained[None])  # (N, M, 2)
        same += int((gap.max(axis=2) < SAME_MM).any(axis=1).sum())
        same_plain += int((np.abs(theirs[:, None] - plain[None]).max(axis=2) < SAME_MM).any(axis=1).sum())
        first, second = linear_sum_assignment(gap.sum(axis=2))
        errors += np.abs(theirs[first, 1] - plain[second, 1]).tolist()
    error = float(np.mean(errors)) if errors else float("nan")
    count = sum(len(reference.get(uid, ())) for uid in series)
    return Luna16Match(len(series), count, len(series) - len(different), different, same, same_plain, error)
