# SPDX-License-Identifier: Apache-2.0
"""Training of the detector of Zhang et al. 2020: cubes with lesions, and the proposals that the classifier learns from.

:class:`NoduleCubes` draws cubes (sections IV.A to IV.C), more of them around hard regions (:func:`hard_regions`);
:class:`BranchTraining` is the network in training, with both branches (section III.E).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lungcad.cpu import autocast, channels_last
from lungcad.errors import InputError
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

    A cube is laid around a nodule or a place in the lungs, which lies anywhere in it except near its faces. With Anchor
    Based Sampling (section IV.C) a share of the cubes is laid around the regions that a whole-scan pass found hard.

    Args:
        cases: cases that cubes come from; cubic voxels.
        cube_size: size of a cube in voxels, multiples of 16; X and Y are equal. At least 64: on maps of 2 x 2 x 2 cells
            this PyTorch's bfloat16 convolutions sometimes give gradients that are not finite.
        window_hu: lowest and highest HU, scaled to 0 and 1.
        length: number of cubes per epoch.
        anchors_mm: anchor diameters per level.
        positive, negative: IoUs of positive and negative anchors, see
            :func:`~lungcad.papers.threedag.anchors.assign_anchors`.
        nodule_share: share of the cubes laid around nodules; the others are laid anywhere in the lungs.
        hard: places (N, 3) of hard regions by case name, see :func:`hard_regions`.
        hard_share: share of the cubes laid around hard regions, before the others are divided.
        margin: least distance of the place that a cube is laid around from the cube's faces, in voxels.
        warp_share: share of the cubes that are turned by any angle, tilted and scaled.
        scanner_share: share of the cubes that are changed as if another scanner had made them.
        seed: seed of all random choices.
    """

    def __init__(self, cases: Sequence[Case], cube_size: Sequence[int], window_hu: Sequence[float], length: int,
                 anchors_mm: Sequence[Sequence[float]], *, positive: float = 0.5, negative: float = 0.02,
                 nodule_share: float = 0.7, hard: Mapping[str, np.ndarray] | None = None, hard_share: float = 0.5,
                 margin: int = 12, warp_share: float = 0.5, scanner_share: float = 0.0, seed: int = 0):  # fmt: skip
        super().__init__(length, seed)
        x, y, z = cube_size
        self.cases, self.size, self.window_hu = list(cases), (x, y, z), window_hu
        self.anchors, _ = anchor_cubes(self.size, anchors_mm)
        self.positive, self.negative = positive, negative
        self.nodules = [(case, nodule.index) for case in self.cases for nodule in case.nodules]
        self.hard = [(case, place) for case in self.cases for place in (hard or {}).get(case.name, ())]
        self.nodule_share, self.hard_share = nodule_share if self.nodules else 0.0, hard_share if self.hard else 0.0
        self.max_shift = np.maximum(np.array(self.size) / 2 - margin, 0)
        self.warp_share, self.scanner_share = warp_share, scanner_share

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Sample with ``image``, ``label`` and ``lesions``.

        ``image`` is (1, X, Y, Z), ``label`` (N, 5) are the targets of the anchors, and ``lesions`` (M, 5) are cubes,
        then 1 for a nodule or 0 for a lesion to ignore.
        """
        rng = self.rng(item)
        case, place = self._draw_place(rng)
        place = place + rng.uniform(-self.max_shift, self.max_shift)
        seen = view(case, place, self.size, rng, self.warp_share, self.scanner_share)
        turn = Turn(rng)

        def cubes(spheres: Sequence[Sphere]) -> np.ndarray:
            voxels = seen.diameters_mm(spheres) / case.spacing_mm[0]
            return np.column_stack([middle_of(self.size) + turn.step(seen.steps(spheres)), voxels])

        nodules, ignored = self._reaching_in(cubes(case.nodules)), self._reaching_in(cubes(case.ignored))
        inside = np.all((nodules[:, :3] > -0.5) & (nodules[:, :3] < np.array(self.size) - 0.5), axis=1)
        ignored = np.concatenate([ignored, nodules[~inside]])  # cut off at the middle or before
        found, left = torch.from_numpy(nodules[inside]).float(), torch.from_numpy(ignored).float()
        kind = torch.tensor([1.0] * len(found) + [0.0] * len(left))
        return {
            "image": torch.from_numpy(turn.volume(scaled(seen.hu, self.window_hu)))[None],
            "label": rpn_target(self.anchors, found, left, self.positive, self.negative),
            "lesions": torch.cat([torch.cat([found, left]), kind[:, None]], dim=1),
        }

    def _draw_place(self, rng: np.random.Generator) -> tuple[Case, np.ndarray]:
        """Random case, and a random place (3,) in it to lay a cube around, as voxel index."""
        if rng.random() < self.hard_share:
            return self.hard[rng.integers(len(self.hard))]
        if rng.random() < self.nodule_share:
            return self.nodules[rng.integers(len(self.nodules))]
        case = self.cases[rng.integers(len(self.cases))]
        lungs = case.lungs
        while True:
            place = rng.integers(lungs.shape)
            if lungs[tuple(place)]:
                return case, place

    def _reaching_in(self, cubes: np.ndarray) -> np.ndarray:
        """Lesions, of (M, 4), that reach into the cube."""
        near = np.abs(cubes[:, :3] - (np.array(self.size) - 1) / 2) - np.array(self.size) / 2
        return cubes[(near < cubes[:, 3:] / 2).all(axis=1)]


def collate_cubes(items: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Batch of samples; ``lesions`` (B, M, 5) are filled up with rows of -1."""
    batch = {name: torch.stack([item[name] for item in items]) for name in ("image", "label")}
    return batch | {"lesions": pad_sequence([item["lesions"] for item in items], True, padding_value=-1.0)}


def prepare_cubes(batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple:
    """MONAI's ``prepare_batch``: image, label, and the lesions for :class:`BranchTraining`."""
    image, label, lesions = (
        batch[name].to(device, non_blocking=non_blocking) for name in ("image", "label", "lesions")
    )
    return image, label, (lesions,), {}


class BranchTraining(nn.Module):
    """Network in training: proposals of cubes and, with the classifier branch, the classification of sampled proposals.

    Args:
        module: network, under the attribute name of torch's wrappers.
        anchors_mm: anchor diameters per level, as in the network.
        classify: True to train the classifier branch too.
        samples: number of proposals per cube for the classifier branch, the nodules' own cubes included.
        max_proposals: number of proposals per cube that go into the non-maximum suppression, the most probable.
        overlap: greatest IoU of two proposals after the suppression.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.

    Shape:
        - x: (B, 1, X, Y, Z)
        - lesions: (B, M, 5), see :class:`~lungcad.papers.threedag.training.NoduleCubes`
        - out: ``proposals`` (B, N, 5); with ``classify`` also ``classification`` (B, P), log odds, and ``truth``
          (B, P), labels
    """

    skips_parameters = True
    """True: a step without a sample for a branch leaves the branch's parameters without a gradient."""

    def __init__(self, module: AggregatedFasterRCNN, anchors_mm: Sequence[Sequence[float]], classify: bool = True,
                 samples: int = 32, max_proposals: int = 512, overlap: float = 0.1,
                 precision: str = "auto"):  # fmt: skip
        super().__init__()
        self.module, self.anchors_mm, self.classify = module, anchors_mm, classify
        self.samples, self.max_proposals, self.overlap, self.precision = samples, max_proposals, overlap, precision

    def forward(self, x: Tensor, lesions: Tensor) -> dict[str, Tensor]:
        """Outputs of both branches, in float32."""
        with autocast(x.device, self.precision):
            pyramid = self.module.pyramid(channels_last(x))
            proposals = self.module.propose(pyramid).float()
            if not self.classify:
                return {"proposals": proposals}
            with torch.no_grad():
                cubes, level, truth = self.sample_batch(proposals, lesions, x.shape[2:])
            classification = self.module.classify(pyramid, cubes, level)
        return {"proposals": proposals, "classification": classification, "truth": truth}

    def sample_batch(self, proposals: Tensor, lesions: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Cubes (B, P, 4), levels (B, P) and labels (B, P) of the classifier branch's samples.

        Args:
            proposals: (B, N, 5) output of the network.
            lesions: (B, M, 5) lesions.
            size: voxels of a cube, x, y, z.
        """
        anchors, level = anchor_cubes(size, self.anchors_mm, proposals.device)
        samples = [self.sample_cube(*pair, anchors, level) for pair in zip(proposals, lesions, strict=True)]
        cubes, levels, truth = (torch.stack(part) for part in zip(*samples, strict=True))
        return cubes, levels, truth

    def sample_cube(
        self, proposals: Tensor, lesions: Tensor, anchors: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Samples of the classifier branch from one cube.

        The nodules themselves, a little displaced, come first, then proposals that hit them, until a quarter of the
        samples is filled, then the most probable false proposals.

        Args:
            proposals: (N, 5) output of the network for the cube.
            lesions: (M, 5) lesions in the cube.
            anchors, level: (N, 4) and (N,), see :func:`~lungcad.papers.threedag.anchors.anchor_cubes`.

        Returns:
            Cubes (P, 4), levels (P,) and labels (P,): 1, 0 or :data:`IGNORED`.
        """
        nodules, ignored = lesions[lesions[:, 4] == 1, :4], lesions[lesions[:, 4] == 0, :4]
        shaken = nodules.clone()
        shaken[:, :3] += (torch.rand_like(nodules[:, :3]) - 0.5) * 0.3 * nodules[:, 3:]
        shaken[:, 3] *= 1 + (torch.rand_like(nodules[:, 3]) - 0.5) * 0.4
        cubes, logit, levels = decode_proposals(proposals, anchors, level, 0.0, self.max_proposals)
        kept = suppress(cubes, logit, self.overlap)
        cubes, levels = cubes[kept], levels[kept]
        truth = label_proposals(cubes, nodules, ignored)
        hits, false = (truth == 1).nonzero().flatten(), (truth == 0).nonzero().flatten()
        order = torch.cat([hits[: max(self.samples // 4 - len(nodules), 0)], false])
        best = cube_iou(anchors, nodules).argmax(dim=0) if len(nodules) else level[:0]
        cubes = torch.cat([shaken, cubes[order]])[: self.samples]
        levels = torch.cat([level[best], levels[order]])[: self.samples]
        labels = torch.cat([torch.ones_like(nodules[:, 0]), truth[order]])[: self.samples]
        missing = self.samples - len(cubes)  # so that cubes of a batch fit together
        return (
            torch.cat([cubes, anchors[:missing]]),
            torch.cat([levels, level[:missing]]),
            torch.cat([labels, labels.new_full([missing], IGNORED)]),
        )


def label_proposals(cubes: Tensor, nodules: Tensor, ignored: Tensor, negative: float = 0.02) -> Tensor:
    """Labels of proposals: 1 for a proposal centred within a nodule's radius, as LUNA16 scores it.

    Args:
        cubes: (P, 4) proposals.
        nodules: (M, 4) cubes of the nodules.
        ignored: (K, 4) cubes of the lesions that are neither nodule nor background.
        negative: IoU with any lesion from which on a proposal that hits no nodule is ignored.

    Returns:
        Labels (P,) float: 1, 0 or :data:`IGNORED`.
    """
    hit = (torch.cdist(cubes[:, :3], nodules[:, :3]) < nodules[:, 3] / 2).any(dim=1)
    touches = (cube_iou(cubes, torch.cat([nodules, ignored])) >= negative).any(dim=1)
    return torch.where(hit, 1.0, torch.where(touches, float(IGNORED), 0.0))


def hard_regions(cases: Sequence[Case], candidates: str | None, threshold: float = 0.5) -> dict[str, np.ndarray]:
    """Hard regions, which a training with Anchor Based Sampling (section IV.C) looks at more often.

    A place is hard if the detector has a false finding of high score there, or misses a nodule.

    Args:
        cases: cases to train on.
        candidates: file with the detector's findings in the cases, or in some of them: a case that was not searched has
            no hard region. None for no hard region at all.
        threshold: score from which on a false finding is hard, and below which a finding does not count for a nodule.

    Returns:
        Places (N, 3) as continuous voxel indices, by case name.

    Raises:
        InputError: E-CANDIDATES, the file cannot be read, or is of other cases.
    """
    if candidates is None:
        return {}
    found = read_candidates(candidates)
    if not any(case.name in found for case in cases):
        text = f"candidates of none of the {len(cases)} cases (expected of some)."
        raise InputError("E-CANDIDATES", text, "Run evaluate.json on the same cases.")
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
