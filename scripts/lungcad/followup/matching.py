# SPDX-License-Identifier: Apache-2.0
"""Matching of the findings of two scans by their places: the largest number of pairs, then the nearest."""

from collections.abc import Sequence

import numpy as np

GATE_MM = 6.0
"""Distance in mm, beside half of the larger diameter, up to which two findings can be one nodule."""
FARTHEST_MM = 20.0
"""Largest such distance in mm."""
USUAL_MM = 6.0
"""Diameter in mm of a finding whose diameter is not known."""
_NEVER = 1e6


def match_findings(
    places: np.ndarray, diameters: Sequence[float | None], others: np.ndarray, other_diameters: Sequence[float | None]
) -> list[tuple[int, int]]:
    """Match the findings of two scans.

    A pair costs its distance as a share of the largest allowed one, and half the difference of the diameters'
    logarithms: a doubled diameter costs a third of that distance.

    Args:
        places: (N, 3) places of the first scan's findings, mapped into the other scan, LPS mm.
        diameters: N diameters in mm.
        others: (M, 3) centres of the other scan's findings, LPS mm.
        other_diameters: M diameters in mm.

    Returns:
        Pairs of indices, each index at most once, ordered by the first.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(places) or not len(others):
        return []
    sizes, other_sizes = (
        np.array([USUAL_MM if d is None else d for d in known]) for known in (diameters, other_diameters)
    )
    limit = np.minimum(GATE_MM + np.maximum(sizes[:, None], other_sizes[None]) / 2, FARTHEST_MM)
    distance = np.linalg.norm(places[:, None] - others[None], axis=2)
    cost = distance / limit + 0.5 * np.abs(np.log(sizes[:, None] / other_sizes[None]))
    possible = distance <= limit
    rows, columns = linear_sum_assignment(np.where(possible, cost, _NEVER))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if possible[i, j]]
