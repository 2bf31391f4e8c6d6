# SPDX-License-Identifier: Apache-2.0
"""Scores on DeepLesion (Zhang et al. 2020, sections V.C and V.D, tables V and VI), by LUNA16's rule for a hit.

:class:`LesionScorer` writes ``lesions.json`` to a scored folder, besides the files of every scored folder; table V's
FROC is the ``cpm`` in its ``metrics.json``. An image of the paper is a chunk here.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lungcad.atomic import added_files
from lungcad.finding import centers_of
from lungcad.scores.froc import Froc, ScoredScan, match_marks
from lungcad.training.scoring import CaseScorer

FP_PER_IMAGE = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""False positive rates of table V."""

TABLE_VI_RATE = 4.0
"""False positives per image at which table VI counts the lesions found."""

EDGES_MM = {"<10 mm": 0.0, "10-30 mm": 10.0, ">30 mm": np.nextafter(30.0, np.inf)}
"""Least diameters of table VI's ranges; the paper does not say where 10 and 30 belong, here between."""


def lesion_figures(scans: Sequence[ScoredScan], kinds: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Figures of tables V and VI; None for those that need a lesion where there is none.

    Args:
        scans: chunks with matched marks.
        kinds: types of each chunk's lesions, in their order.

    Returns:
        ``fp_per_image``, ``sensitivities`` at these rates and their ``average``; ``threshold``, the lowest score with
        at most :data:`TABLE_VI_RATE` false marks per image; and at that threshold ``found_by_type`` and
        ``found_by_diameter``, numbers of lesions found and of all.
    """
    names = np.array([kind for of_scan in kinds for kind in of_scan], dtype=str)
    figures: dict[str, Any] = {"fp_per_image": list(FP_PER_IMAGE)}
    if not len(names):
        return figures | dict.fromkeys(("sensitivities", "average", "threshold", "found_by_type", "found_by_diameter"))
    froc = Froc(scans)
    sensitivities = froc.sensitivity_at(FP_PER_IMAGE)
    threshold = froc.operating_point(TABLE_VI_RATE).threshold
    found = np.concatenate([scan.best_scores for scan in scans]) >= (np.inf if threshold is None else threshold)
    diameters = np.concatenate([scan.diameters_mm for scan in scans])
    ranges = {
        name: (diameters >= low) & (diameters < high)
        for name, (low, high) in zip(EDGES_MM, pairwise([*EDGES_MM.values(), np.inf]), strict=True)
    }
    return figures | {
        "sensitivities": sensitivities.tolist(),
        "average": float(sensitivities.mean()),
        "threshold": threshold,
        "found_by_type": {kind: _counts(found[names == kind]) for kind in sorted(set(names.tolist()))},
        "found_by_diameter": {name: _counts(found[chosen]) for name, chosen in ranges.items()},
    }


def _counts(found: np.ndarray) -> list[int]:
    """Number of lesions found and of all."""
    return [int(found.sum()), len(found)]


class LesionScorer(CaseScorer):
    """Scorer of detection, as :class:`~lungcad.training.scoring.CaseScorer`, and of lesions by type and diameter."""

    def start(self) -> None:
        """Forget all findings."""
        super().start()
        self.kinds: dict[str, list[str]] = {}

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the findings and lesions of one chunk."""
        super().add(batch, output)
        self.kinds[batch["case"].name] = [lesion.name for lesion in batch["case"].nodules]

    def write(self) -> None:
        """Write the files of a scored folder and the figures of the lesions."""
        super().write()
        scans = []
        for name, findings in self.findings.items():
            scores = np.array([finding.score for finding in findings], dtype=float)
            scans.append(match_marks(self.nodules[name], self.excluded[name], centers_of(findings), scores)[0])
        figures = {"data": self.data} | lesion_figures(scans, [self.kinds[name] for name in self.findings])
        with added_files(self.folder) as folder:
            (folder / "lesions.json").write_text(json.dumps(figures, indent=2))
