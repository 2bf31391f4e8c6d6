# SPDX-License-Identifier: Apache-2.0
"""Cubes of voxels with the lesions in them, for the detector of Zhang et al. 2020 (sections IV.A to IV.C)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lungcad.cpu import autocast, channels_last
from lungcad.finding import centers_of
from lungcad.geometry import to_index
from lungcad.papers.threedag.anchors import IGNORED, anchor_cubes, cube_iou, rpn_target
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.papers.threedag.proposals import decode_proposals, suppress
from lungcad.training.cases import Case, Sphere
from lungcad.training.evaluation import read_candidates
from lungcad.training.sampling import RandomSamples, clear_of_lesions, scaled
from lungcad.training.views import Turn, middle_of, view


class NoduleCubes(RandomSamples):
    """Random cubes, most of them with a nodule; every item is a function of (seed, epoch, index).

    A cube is laid around a nodule or a place in the lungs, which lies anywhere in it but near its faces. With Anchor
    Based Sampling (section IV.C) a share of the cubes is laid around the regions that a whole-scan pass found hard.

    Args:
        cases: where cubes come from; cubic voxels.
        cube_size: voxels, multiples of 16; X and Y are equal. From 64 on: of maps of 2 x 2 x 2 cells this PyTorch's
            bfloat16 convolutions sometimes give gradients that are not finite.
        window_hu: scaled to [0, 1].
        length: cubes per epoch.
        anchors_mm, positive, negative: of :func:`~lungcad.papers.threedag.anchors.rpn_target`.
        nodule_share: share of the cubes laid around nodules, the rest is laid anywhere in the lungs.
        hard: per case name the places (N, 3) of hard regions (:func:`lungcad.papers.threedag.training.hard_regions`).
        hard_share: share of the cubes laid around those, before the others are divided.
        margin: the place around which a cube is laid is at least so many voxels inside.
        warp_share: share of the cubes that are turned by any angle, tilted and scaled.
        seed: of everything random.
    """

    def __init__(self, cases: Sequence[Case], cube_size: Sequence[int], window_hu: Sequence[float], length: int,
                 anchors_mm: Sequence[Sequence[float]], *, positive: float = 0.5, negative: float = 0.02,
                 nodule_share: float = 0.7, hard: Mapping[str, np.ndarray] | None = None, hard_share: float = 0.5,
                 margin: int = 12, warp_share: float = 0.5, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = cube_size
        self.cases, self.size, self.window_hu = list(cases), (x, y, z), window_hu
        self.anchors, _ = anchor_cubes(self.size, anchors_mm)
        self.positive, self.negative = positive, negative
        self.nodules = [(case, nodule.index) for case in self.cases for nodule in case.nodules]
        self.hard = [(case, place) for case in self.cases for place in (hard or {}).get(case.name, ())]
        self.nodule_share, self.hard_share = nodule_share if self.nodules else 0.0, hard_share if self.hard else 0.0
        self.reach = np.maximum(np.array(self.size) / 2 - margin, 0)
        self.warp_share = warp_share

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """``image`` (1, X, Y, Z), ``label`` (N, 5) of the anchors, ``lesions`` (M, 5): cubes, then 1 for a nodule."""
        rng = self.rng(item)
        case, place = self._place(rng)
        place = place + rng.uniform(-self.reach, self.reach)
        seen = view(case, place, self.size, rng, self.warp_share)
        turn = Turn(rng)

        def cubes(spheres: Sequence[Sphere]) -> np.ndarray:
            voxels = seen.diameters_mm(spheres) / case.spacing_mm[0]
            return np.column_stack([middle_of(self.size) + turn.step(seen.steps(spheres)), voxels])

        nodules, ignored = self._within(cubes(case.nodules)), self._within(cubes(case.ignored))
        inside = np.all((nodules[:, :3] > -0.5) & (nodules[:, :3] < np.array(self.size) - 0.5), axis=1)
        ignored = np.concatenate([ignored, nodules[~inside]])  # cut off at the middle or before
        found, left = torch.from_numpy(nodules[inside]).float(), torch.from_numpy(ignored).float()
        kind = torch.tensor([1.0] * len(found) + [0.0] * len(left))
        return {
            "image": torch.from_numpy(turn.volume(scaled(seen.hu, self.window_hu)))[None],
            "label": rpn_target(self.anchors, found, left, self.positive, self.negative),
            "lesions": torch.cat([torch.cat([found, left]), kind[:, None]], dim=1),
        }

    def _place(self, rng: np.random.Generator) -> tuple[Case, np.ndarray]:
        """A case, and the place (3,) in it around which a cube is laid."""
        if rng.random() < self.hard_share:
            return self.hard[rng.integers(len(self.hard))]
        if rng.random() < self.nodule_share:
            return self.nodules[rng.integers(len(self.nodules))]
        case = self.cases[rng.integers(len(self.cases))]
        while True:
            place = rng.integers(case.lungs.shape)
            if case.lungs[tuple(place)]:
                return case, place

    def _within(self, cubes: np.ndarray) -> np.ndarray:
        """Of lesions (M, 4) those that reach into the cube."""
        near = np.abs(cubes[:, :3] - (np.array(self.size) - 1) / 2) - np.array(self.size) / 2
        return cubes[(near < cubes[:, 3:] / 2).all(axis=1)]


def collate_cubes(items: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """A batch; ``lesions`` (B, M, 5) are filled up with rows of -1."""
    batch = {name: torch.stack([item[name] for item in items]) for name in ("image", "label")}
    return batch | {"lesions": pad_sequence([item["lesions"] for item in items], True, padding_value=-1.0)}


def prepare_cubes(batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple:
    """MONAI's prepare_batch: image, label, and the lesions for the inferer."""
    image, label, lesions = (
        batch[name].to(device, non_blocking=non_blocking) for name in ("image", "label", "lesions")
    )
    return image, label, (lesions,), {}


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
        - lesions: (B, M, 5), see :class:`~lungcad.papers.threedag.training.NoduleCubes`
        - out: ``proposals`` (B, N, 5); with ``classify`` also ``judged`` (B, P), log odds, and ``truth`` (B, P), labels
    """

    skips_parameters = True
    """A step without a sample for a branch leaves its parameters without a gradient."""

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


def hard_regions(cases: Sequence[Case], candidates: str | None, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Places that easily confuse the model, for a training to look at more often.

    Args:
        cases: to train on.
        candidates: file with what the detector found in them; None for no hard region.
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
