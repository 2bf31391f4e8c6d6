# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transform of Zhang et al. 2020: detections of both branches to findings."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.transforms import MapTransform

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import to_world
from lungcad.transforms import Data

BRANCHES = ("proposals", "classifier", "combined")
"""Whose probability counts; the first two in the order of a detection's columns."""


class ProposalsToFindingsd(MapTransform):
    """Detections (M, 6) to ``findings``: the detection score is the proposal's, the nodule probability the branch's.

    Args:
        keys: of the detections; see :class:`~lungcad.proposal_inferer.LungProposalInferer`.
        spacing_mm: of the cubic voxels.
        branch: whose probability counts: ``proposals``, ``classifier``, or ``combined``, the mean of both.
        most: findings at most.

    Raises:
        InputError: E-CONFIG, an unknown branch.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], branch: str, most: int):
        super().__init__(keys)
        if branch not in BRANCHES:
            raise InputError("E-CONFIG", f"unknown branch: {branch} (expected {', '.join(BRANCHES)}).")
        self.spacing_mm, self.branch, self.most = spacing_mm[0], branch, most

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            found = d[key].cpu()
            both = found[:, 4:]
            probability = both.mean(dim=1) if self.branch == "combined" else both[:, BRANCHES.index(self.branch)]
            center = to_world(d["grid_affine"], found[:, :3].double().numpy())
            score, diameter = both[:, 0].tolist(), (found[:, 3] * self.spacing_mm).tolist()
            order = probability.argsort(descending=True, stable=True)[: self.most]
            d["findings"] = [
                Finding((float(center[n, 0]), float(center[n, 1]), float(center[n, 2])), diameter[n], score[n],
                        float(probability[n]))
                for n in order.tolist()
            ]  # fmt: skip
        return d
