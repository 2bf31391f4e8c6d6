# SPDX-License-Identifier: Apache-2.0
"""Anchor Based Sampling: where a detector goes wrong on whole training scans (Zhang et al. 2020, section IV.C)."""

from collections.abc import Sequence

import numpy as np

from lungcad.finding import centers_of
from lungcad.geometry import to_index
from lungcad.training.case import Case
from lungcad.training.evaluation import read_candidates
from lungcad.training.patches import clear_of_lesions


def hard_regions(cases: Sequence[Case], candidates: str | None, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Places that easily confuse the model, for a training to look at more often.

    Args:
        cases: to train on.
        candidates: file with what the detector found in them, or in some of them; None for no hard region.
        threshold: a false finding is hard from this score on, a nodule without a finding of so much is hard too.

    Returns:
        By case name continuous voxel indices (N, 3).
    """
    if candidates is None:
        return {}
    found = read_candidates(candidates)
    hard = {}
    for case in cases:
        if case.name not in found:  # not searched
            continue
        sure = [f for f in found[case.name] if (f.score or 0.0) >= threshold]
        places = to_index(case.to_mm, centers_of(sure))
        missed = [
            nodule.index for nodule in case.nodules
            if not (case.distance_mm(places, [nodule])[:, 0] < nodule.diameter_mm / 2).any()
        ]  # fmt: skip
        hard[case.name] = np.concatenate([places[clear_of_lesions(case, places)], np.array(missed).reshape(-1, 3)])
    return hard
