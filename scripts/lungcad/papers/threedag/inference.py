# SPDX-License-Identifier: Apache-2.0
"""Inference of the 3D Aggregated Faster R-CNN: from the lungs of a scan to detections, and from these to findings.

:class:`LungProposalInferer` runs one network with both branches, :class:`TwoModelInferer` merges the detections of two,
and :class:`ProposalsToFindingsd` makes findings of them.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from monai.transforms import MapTransform
from torch import Tensor

from lungcad.cpu import autocast, tune_allocator
from lungcad.errors import InputError
from lungcad.fast_network import make_fast
from lungcad.finding import Finding, as_place
from lungcad.geometry import to_world
from lungcad.papers.inferers import lung_box
from lungcad.papers.threedag.anchors import STRIDES, anchor_cubes, shared_part
from lungcad.papers.threedag.network import FRONT_RECEPTIVE_RADIUS, PREBLOCK_RECEPTIVE_RADIUS, AggregatedFasterRCNN
from lungcad.papers.threedag.proposals import decode_proposals, merge_models, suppress
from lungcad.papers.tiles import any_near, tiled_output
from lungcad.papers.transforms import Data

BRANCHES = ("proposals", "classifier", "combined")
"""Branches that can give the nodule probability; the first two in the order of a detection's columns."""


_BLANK = 48
"""Side in voxels of the block of background whose outputs stand for all background; its middle is far from its faces.
"""


class LungProposalInferer(Inferer):
    """Detections in the lungs' box (Zhang et al. 2020, sections III.C and IV.A).

    The paper cuts a scan into overlapping cubes and merges their detections. Here the first layers, which see little
    beyond a cell, go over tiles around the lungs, and are known where the image is blank; their outputs, put together,
    equal the whole box's, and all later layers see the whole box. So no detection depends on where a tile ends, and
    none is found twice.

    Args:
        anchors_mm: anchor diameters per level, as in the network.
        threshold: least probability of a proposal.
        max_proposals: number of proposals kept, the most probable.
        overlap: greatest IoU of two detections in the non-maximum suppression, which goes by the proposals' own
            probabilities.
        classify: True to run the classifier branch.
        context: voxels around the lungs' box that the network sees.
        tile: number of voxels of a tile; bounds the memory.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
    """

    def __init__(self, anchors_mm: Sequence[Sequence[float]], threshold: float = 0.269, max_proposals: int = 300,
                 overlap: float = 0.1, classify: bool = True, context: int = 16, tile: int = 1 << 20,
                 precision: str = "auto"):  # fmt: skip
        super().__init__()
        self.anchors_mm, self.threshold, self.max_proposals = anchors_mm, threshold, max_proposals
        self.overlap, self.classify, self.context, self.tile = overlap, classify, context, tile
        self.precision = precision

    @torch.inference_mode()
    def __call__(
        self, inputs: Tensor, network: AggregatedFasterRCNN, lungs: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Detections with the probabilities of both branches.

        Args:
            inputs: (1, 1, X, Y, Z) image, scaled as the network expects it.
            network: network in evaluation mode.
            lungs: (X, Y, Z) bool, the lung mask, not empty; detections outside are dropped.

        Returns:
            Detections (M, 6) float32: x, y, z and diameter in voxels, probability of nodule by the proposal and by the
            classifier branch, the latter NaN if that did not run. Most probable proposals first.
        """
        tune_allocator()
        box, low = lung_box(inputs, lungs, self.context, STRIDES[-1])
        front = self._front(box, network)
        pyramid = make_fast(network.backbone, box.device, self.precision, "from_front")(front)
        proposals = make_fast(network, box.device, self.precision, "propose")(pyramid)[0].float()
        first = torch.tensor(low, device=inputs.device)
        cubes, logit, level = self._detections(proposals, box.shape[2:], lungs, first)
        if self.classify:
            with autocast(inputs.device, self.precision):
                classification = network.classify(pyramid, cubes[None], level[None])[0].float()
        else:
            classification = torch.full_like(logit, torch.nan)
        probability = torch.stack([logit, classification], dim=1).sigmoid()
        return torch.cat([cubes[:, :3] + first, cubes[:, 3:], probability], dim=1)

    def _front(self, box: Tensor, network: AggregatedFasterRCNN) -> Tensor:
        """Output (1, C, X / 4, Y / 4, Z / 4) of the first layers for the box, see :mod:`lungcad.papers.tiles`."""
        blank = box.flatten()[0]  # a corner's value: exact for any, little work where the box is blank beyond the lungs
        filled = any_near(box[0, 0] != blank, 2, 2, 0)  # (X / 2, Y / 2, Z / 2)
        radius, beyond = PREBLOCK_RECEPTIVE_RADIUS, FRONT_RECEPTIVE_RADIUS // 2  # of 2 voxels and of 6
        preblock_cells = any_near(filled, 1 + radius, 1, radius // 2)
        front_cells = any_near(filled, 2 + 2 * beyond, 2, beyond)  # (X / 4, Y / 4, Z / 4)
        if min(box.shape[2:]) < _BLANK:
            preblock_cells, front_cells = torch.ones_like(preblock_cells), torch.ones_like(front_cells)
        x, background = box, blank.expand(1, 1, _BLANK, _BLANK, _BLANK)
        for method, needed, voxels in (
            ("preblock", preblock_cells, self.tile),
            ("first_dense_block", front_cells, self.tile // 8),
        ):
            layers = make_fast(network.backbone, box.device, self.precision, method)
            background = layers(background)
            x = tiled_output(layers, x, needed, background, 2, radius, voxels)
        return x

    def _detections(
        self, proposals: Tensor, size: Sequence[int], lungs: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cubes (M, 4) in voxels of the box, log odds (M,) and levels (M,) of the detections in the lungs.

        Args:
            proposals: (N, 5) output of the network for the box.
            size: voxels of the box, x, y, z.
            lungs: (X, Y, Z) bool, the lung mask of the scan.
            first: (3,) first voxel of the box in the scan.
        """
        anchors, level = anchor_cubes(size, self.anchors_mm, proposals.device)
        cubes, logit, level = decode_proposals(proposals, anchors, level, self.threshold, 10 * self.max_proposals)
        place = (cubes[:, :3] + first).round().long()
        within = ((place >= 0) & (place < torch.tensor(lungs.shape, device=place.device))).all(dim=1)
        within[within.clone()] = lungs[tuple(place[within].t())]
        best = within.nonzero().flatten()
        best = best[suppress(cubes[best], logit[best], self.overlap, self.max_proposals)]
        return cubes[best], logit[best], level[best]


class TwoModelInferer(Inferer):
    """Detections of two networks, merged (Zhang et al. 2020, section IV.D: 3D-AG with and without Local Magnification).

    Args:
        inferer: inferer that runs each network on the scan.
        second: second network, in evaluation mode.
        keep, overlap: how to merge, see :func:`~lungcad.papers.threedag.proposals.merge_models`.
    """

    def __init__(self, inferer: Inferer, second: AggregatedFasterRCNN, keep: str = "union",
                 overlap: float = 0.1):  # fmt: skip
        super().__init__()
        self.inferer, self.second, self.keep, self.overlap = inferer, second, keep, overlap

    def __call__(
        self, inputs: Tensor, network: AggregatedFasterRCNN, lungs: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Merged detections (M, 6); arguments and columns as in :class:`LungProposalInferer`."""
        first, second = (self.inferer(inputs, model, lungs) for model in (network, self.second))
        return merge_models(first, second, self.keep, self.overlap)


class MirroredInferer(Inferer):
    """Detections of one network on the scan and on its mirror image, averaged; not in the paper.

    Detections are paired by IoU; one without a partner has half of its probability.

    Args:
        inferer: inferer that runs the network on the scan.
        axes: axes (0, 1, 2 for x, y, z) along which the second scan is mirrored; empty for the scan alone.
        overlap: IoU that a pair must exceed.
    """

    def __init__(self, inferer: Inferer, axes: Sequence[int] = (0,), overlap: float = 0.1):
        super().__init__()
        self.inferer, self.axes, self.overlap = inferer, tuple(axes), overlap

    @torch.inference_mode()
    def __call__(
        self, inputs: Tensor, network: AggregatedFasterRCNN, lungs: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Averaged detections (M, 6), most probable proposals first; arguments as in :class:`LungProposalInferer`."""
        found = self.inferer(inputs, network, lungs)
        if not self.axes:
            return found
        mirrored = self.inferer(inputs.flip([axis + 2 for axis in self.axes]), network, lungs.flip(self.axes))
        for axis in self.axes:
            mirrored[:, axis] = lungs.shape[axis] - 1 - mirrored[:, axis]
        merged = merge_models(found, mirrored, "union", self.overlap, alone=0.5)
        return merged[merged[:, 4].argsort(descending=True, stable=True)]


class ProposalsToFindingsd(MapTransform):
    """Detections (M, 6) to ``findings``: the detection score is the proposal's, the nodule probability the branch's.

    A second non-maximum suppression goes by the nodule probability and by the share of the smaller cube: one inside
    another that is three times as wide has an IoU of 0.04 only.

    Args:
        keys: key of the detections; see :class:`~lungcad.papers.threedag.inference.LungProposalInferer`.
        spacing_mm: size of the cubic voxels, x, y, z.
        branch: branch that gives the nodule probability: ``proposals``, ``classifier``, or ``combined``, their mean.
        shared: greatest share of the smaller of two findings' cubes that lies in the other; 1 keeps all.
        max_findings: number of findings kept, the most probable.

    Raises:
        InputError: E-CONFIG, an unknown branch.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], branch: str, max_findings: int, shared: float = 1.0):
        super().__init__(keys)
        if branch not in BRANCHES:
            raise InputError("E-CONFIG", f"unknown branch: {branch} (expected {', '.join(BRANCHES)}).")
        self.spacing_mm, self.branch, self.max_findings = spacing_mm[0], branch, max_findings
        self.shared = shared

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            found = d[key].cpu()
            both = found[:, 4:]
            probability = both.mean(dim=1) if self.branch == "combined" else both[:, BRANCHES.index(self.branch)]
            center = to_world(d["grid_affine"], found[:, :3].double().numpy())
            score, diameter = both[:, 0].tolist(), (found[:, 3] * self.spacing_mm).tolist()
            order = suppress(found[:, :4], probability, self.shared, self.max_findings, shared_part)
            d["findings"] = [
                Finding(as_place(center[n]), diameter[n], score[n], float(probability[n])) for n in order.tolist()
            ]
        return d
