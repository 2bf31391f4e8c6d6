# SPDX-License-Identifier: Apache-2.0
"""Both branches of the 3D Aggregated Faster R-CNN in training: which proposals the classifier branch learns from.

Zhang et al. 2020, section III.E. The paper does not state the sampling; this is Faster R-CNN's (its reference 12), with
LUNA16's rule for what is a nodule, and hard proposals first ("losses only focus on the highly suspicious regions").
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lungcad.anchors import IGNORED, anchor_cubes
from lungcad.cpu import autocast, channels_last
from lungcad.cubes import cube_iou
from lungcad.networks.threedag import AggregatedFasterRCNN
from lungcad.proposals import decode_proposals, suppress


class BranchTraining(nn.Module):
    """The network as it is trained: proposals of cubes and, if asked for, the classifier branch's word on some of them.

    Args:
        module: the network, by the name under which torch's wrappers hold theirs.
        anchors_mm: of the network.
        classify: with the classifier branch.
        sampled: proposals per cube for the classifier branch, the nodules' own cubes included.
        most: proposals per cube that go into the non-maximum suppression, the most probable.
        overlap: of the suppression.
        precision: see :func:`~lungcad.cpu.fast_dtype`.

    Shape:
        - x: (B, 1, X, Y, Z)
        - lesions: (B, M, 5), see :class:`~lungcad.training.nodule_cubes.NoduleCubes`
        - out: ``proposals`` (B, N, 5); with ``classify`` also ``judged`` (B, P), log odds, and ``truth`` (B, P), labels
    """

    def __init__(self, module: AggregatedFasterRCNN, anchors_mm: Sequence[Sequence[float]], classify: bool = True,
                 sampled: int = 32, most: int = 512, overlap: float = 0.1, precision: str = "auto"):  # fmt: skip
        super().__init__()
        self.module, self.anchors_mm, self.classify = module, anchors_mm, classify
        self.sampled, self.most, self.overlap, self.precision = sampled, most, overlap, precision

    def forward(self, x: Tensor, lesions: Tensor) -> dict[str, Tensor]:
        """Outputs of both branches, in float32."""
        with autocast(x.device, self.precision):
            pyramid = self.module.pyramid(channels_last(x))
            proposals = self.module.propose(pyramid).float()
            if not self.classify:
                return {"proposals": proposals}
            with torch.no_grad():
                cubes, level, truth = self.sample(proposals, lesions, x.shape[2:])
            judged = self.module.classify(pyramid, cubes, level)
        return {"proposals": proposals, "judged": judged, "truth": truth}

    def sample(self, proposals: Tensor, lesions: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Cubes (B, P, 4), levels (B, P) and labels (B, P) that the classifier branch is asked about."""
        anchors, level = anchor_cubes(size, self.anchors_mm, proposals.device)
        chosen = [self.chosen(one, own, anchors, level) for one, own in zip(proposals, lesions, strict=True)]
        cubes, levels, truth = (torch.stack(part) for part in zip(*chosen, strict=True))
        return cubes, levels, truth

    def chosen(
        self, proposals: Tensor, lesions: Tensor, anchors: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the classifier branch is asked about in one cube.

        Nodules themselves, a little displaced, come first, then proposals that hit them, both together a quarter of
        what is sampled where there are so many, then the most probable false ones.

        Args:
            proposals: (N, 5) of the network.
            lesions: (M, 5).
            anchors, level: (N, 4) and (N,).

        Returns:
            Cubes (P, 4), levels (P,) and labels (P,): 1, 0 or :data:`IGNORED`.
        """
        nodules, ignored = lesions[lesions[:, 4] == 1, :4], lesions[lesions[:, 4] == 0, :4]
        shaken = nodules.clone()
        shaken[:, :3] += (torch.rand_like(nodules[:, :3]) - 0.5) * 0.3 * nodules[:, 3:]
        shaken[:, 3] *= 1 + (torch.rand_like(nodules[:, 3]) - 0.5) * 0.4
        cubes, logit, own = decode_proposals(proposals, anchors, level, threshold=0.0, most=self.most)
        kept = suppress(cubes, logit, self.overlap)
        cubes, own = cubes[kept], own[kept]
        truth = label_proposals(cubes, nodules, ignored)
        hits, false = (truth == 1).nonzero().flatten(), (truth == 0).nonzero().flatten()
        order = torch.cat([hits[: max(self.sampled // 4 - len(nodules), 0)], false])
        best = cube_iou(anchors, nodules).argmax(dim=0) if len(nodules) else level[:0]
        cubes = torch.cat([shaken, cubes[order]])[: self.sampled]
        levels = torch.cat([level[best], own[order]])[: self.sampled]
        labels = torch.cat([torch.ones_like(nodules[:, 0]), truth[order]])[: self.sampled]
        missing = self.sampled - len(cubes)  # so that cubes of a batch fit together
        return (
            torch.cat([cubes, anchors[:missing]]),
            torch.cat([levels, level[:missing]]),
            torch.cat([labels, labels.new_full([missing], IGNORED)]),
        )


def label_proposals(cubes: Tensor, nodules: Tensor, ignored: Tensor, negative: float = 0.02) -> Tensor:
    """Which proposals are nodules: those centred within a nodule's radius, as LUNA16 scores them.

    Args:
        cubes: (P, 4).
        nodules: (M, 4).
        ignored: (K, 4).
        negative: what overlaps any lesion by an IoU of so much or more and hits no nodule is ignored.

    Returns:
        (P,) float: 1, 0 or :data:`IGNORED`.
    """
    hit = (torch.cdist(cubes[:, :3], nodules[:, :3]) < nodules[:, 3] / 2).any(dim=1)
    touches = (cube_iou(cubes, torch.cat([nodules, ignored])) >= negative).any(dim=1)
    return torch.where(hit, 1.0, torch.where(touches, float(IGNORED), 0.0))
