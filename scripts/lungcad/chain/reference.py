# SPDX-License-Identifier: Apache-2.0
"""Fast path beside its reference, dense inference in float32: how far the findings of a scan differ."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from lungcad.chain.stage import BundleStage
from lungcad.finding import Finding
from lungcad.papers.peaks import IndexMap, searched_outputs
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

SAME_NODULE_MM = 5.0
"""Largest distance in mm of findings of two paths that are taken for the same nodule."""


class DenseInferer(Inferer):
    """Reference for the fast path: the plain network in float32, on every tile with an output that is searched.

    Args:
        tissue_threshold: lowest intensity that is searched, see :func:`~lungcad.papers.peaks.searched_outputs`.
        tile: size of a tile in outputs.
    """

    def __init__(self, tissue_threshold: float, tile: tuple[int, int, int] = (32, 32, 32)):
        super().__init__()
        self.tissue_threshold, self.tile = tissue_threshold, tile

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: nn.Module, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds (1, 1, X', Y', Z'), as LungFCNInferer gives them; -inf where nothing is searched."""
        index_map = IndexMap()
        searched = searched_outputs(inputs[0, 0], lungs, index_map, self.tissue_threshold)
        score = torch.full(searched.shape, -torch.inf, device=inputs.device)
        for first in product(*(range(0, n, t) for n, t in zip(searched.shape, self.tile, strict=True))):
            tile = tuple(slice(a, min(a + t, n)) for a, t, n in zip(first, self.tile, searched.shape, strict=True))
            if searched[tile].any():
                size = index_map.inputs(tuple(side.stop - side.start for side in tile))
                start = [a * s for a, s in zip(first, index_map.stride, strict=True)]
                x, y, z = (slice(a, a + n) for a, n in zip(start, size, strict=True))
                logits = network(inputs[:, :, x, y, z])
                score[tile] = logits[0, 1] - logits[0, 0]
        return score.masked_fill(~searched, -torch.inf)[None, None]


def compare_findings(fast: list[Finding], reference: list[Finding], min_probability: float) -> dict[str, Any]:
    """Compare the findings of the fast path with those of the reference.

    Args:
        fast, reference: findings of either path.
        min_probability: lowest nodule probability of a finding that is compared.

    Returns:
        Numbers of findings and of those without a partner, and the largest differences of partners.
    """

    def compared(finding: Finding) -> bool:
        return (finding.nodule_probability or 0.0) >= min_probability

    partners = [(finding, _nearest(finding, reference)) for finding in fast if compared(finding)]
    partners += [(finding, _nearest(finding, fast)) for finding in reference if compared(finding)]
    pairs = [(a, b) for a, b in partners if b is not None]
    distance = [float(np.linalg.norm(np.subtract(a.center_lps_mm, b.center_lps_mm))) for a, b in pairs]
    change = [abs((a.nodule_probability or 0.0) - (b.nodule_probability or 0.0)) for a, b in pairs]
    return {
        "least_probability": min_probability,
        "findings_fast": sum(map(compared, fast)),
        "findings_reference": sum(map(compared, reference)),
        "without_partner": len(partners) - len(pairs),
        "largest_center_distance_mm": max(distance, default=0.0),
        "largest_probability_difference": max(change, default=0.0),
    }


def _nearest(finding: Finding, others: list[Finding]) -> Finding | None:
    """Nearest of other findings, None where it is farther than :data:`SAME_NODULE_MM`."""

    def distance(other: Finding) -> float:
        return float(np.linalg.norm(np.subtract(finding.center_lps_mm, other.center_lps_mm)))

    nearest = min(others, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= SAME_NODULE_MM else None


def fast_against_reference(roots: Mapping[str, Path], volume: Volume, device: torch.device) -> dict[str, Any]:
    """Compare detection and reduction as configured with dense inference in float32, see :func:`compare_findings`.

    ``roots`` are the folders of the bundles for the stages ``detect`` and ``reduce``.
    """
    scan = Scan(volume)
    found = []
    for exact in (False, True):
        detect, reduce = (
            BundleStage(roots[stage], device, {"precision": "float32"} if exact else None)
            for stage in ("detect", "reduce")
        )
        if exact:
            detect.inferer = DenseInferer(detect.inferer.tissue_threshold)
        found.append(reduce(scan, detect(scan)))
    return compare_findings(found[0], found[1], min(reduce.thresholds.values()))
