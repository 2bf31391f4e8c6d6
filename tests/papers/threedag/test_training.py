# SPDX-License-Identifier: Apache-2.0
"""Training of the 3D Aggregated Faster R-CNN: cubes, what the classifier branch is asked about, hard regions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lungcad.finding import Finding
from lungcad.papers.threedag.anchors import IGNORED, anchor_cubes, decode_offsets
from lungcad.papers.threedag.loss import BranchLoss, RPNLoss
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.papers.threedag.training import (
    BranchTraining,
    NoduleCubes,
    collate_cubes,
    hard_regions,
    label_proposals,
    prepare_cubes,
)
from lungcad.training.cases import Case, Sphere
from lungcad.training.parallel import unwrapped

ANCHORS = ((4.0, 6.0), (8.0, 12.0), (16.0, 24.0))
WINDOW = (-1200.0, 600.0)
NODULE, IGNORED_LESION = Sphere(np.array([40.0, 44.0, 36.0]), 9.0), Sphere(np.array([40.0, 44.0, 50.0]), 7.0)


@pytest.fixture
def case() -> Case:
    """Even lung with a ball for a nodule and a dimmer one for a lesion that is ignored."""
    place = np.moveaxis(np.indices((96, 96, 80)), 0, -1)
    hu = np.full(place.shape[:3], -800, np.int16)
    for sphere, value in ((NODULE, 600), (IGNORED_LESION, -300)):
        hu[np.linalg.norm(place - sphere.index, axis=-1) < sphere.diameter_mm / 2] = value
    return Case("c", hu, np.ones(hu.shape, bool), (1.0, 1.0, 1.0), [NODULE], [IGNORED_LESION])


def cubes(case: Case, length: int = 12, **options: object) -> NoduleCubes:
    return NoduleCubes([case], (48, 48, 48), WINDOW, length, ANCHORS, **{"nodule_share": 1.0, "margin": 10} | options)


def centre_of(image: Tensor, low: float, high: float) -> Tensor:
    """Centre of gravity of the voxels within a range."""
    return ((image[0] > low) & (image[0] < high)).nonzero().float().mean(dim=0)


def test_cubes_of_another_scanner_have_values_of_their_own(case: Case) -> None:
    plain, changed = (cubes(case, warp_share=0.0, scanner_share=share)[0]["image"] for share in (0.0, 1.0))
    assert len(plain.unique()) < 5
    assert len(changed.unique()) > 100  # noise


@pytest.mark.parametrize("warp_share", [0.0, 1.0])
def test_lesions_are_where_the_image_shows_them(case: Case, warp_share: float) -> None:
    data = cubes(case, warp_share=warp_share)
    seen = 0
    for n in range(len(data)):
        image, lesions = data[n]["image"], data[n]["lesions"]
        nodules = lesions[lesions[:, 4] == 1]
        assert len(nodules) == 1
        inside = ((nodules[0, :3] > 6) & (nodules[0, :3] < 41)).all()
        if inside:
            seen += 1
            torch.testing.assert_close(centre_of(image, 0.7, 1.1), nodules[0, :3], atol=0.5, rtol=0)
            volume = float((image > 0.7).sum())
            assert float(nodules[0, 3]) == pytest.approx((6 / np.pi * volume) ** (1 / 3), rel=0.15)
    assert seen > 5


def test_targets_of_the_anchors_decode_to_the_nodule(case: Case) -> None:
    anchors, _ = anchor_cubes((48, 48, 48), ANCHORS)
    for n in range(6):
        item = cubes(case)[n]
        found = item["label"][:, 0] == 1
        assert found.any()
        nodule = item["lesions"][item["lesions"][:, 4] == 1][:, :4]
        decoded = decode_offsets(item["label"][found, 1:], anchors[found])
        torch.testing.assert_close(decoded, nodule.expand(int(found.sum()), 4),
                                   atol=1e-3, rtol=1e-4)  # fmt: skip


def test_a_nodule_that_is_mostly_outside_is_ignored(case: Case) -> None:
    case.nodules.append(Sphere(np.array([90.0, 90.0, 70.0]), 6.0))
    data = cubes(case, length=60, margin=-6, warp_share=0.0)  # places may lie 6 voxels outside
    kinds = [set(item["lesions"][:, 4].tolist()) for item in map(data.__getitem__, range(60))]
    assert {0.0} in kinds
    for n in range(60):
        lesions = data[n]["lesions"]
        centres = lesions[lesions[:, 4] == 1, :3]
        assert ((centres > -0.5) & (centres < 47.5)).all()


def test_cubes_lie_around_nodules_lungs_and_hard_regions_by_their_shares(case: Case) -> None:
    case.lungs[:, :, :60] = False
    hard = {"c": np.array([[20.0, 20.0, 10.0]])}
    options = {"nodule_share": 0.5, "hard": hard, "hard_share": 0.5, "length": 200}
    places = [cubes(case, **options)._draw_place(np.random.default_rng(n))[1] for n in range(200)]
    at_hard = sum(bool((place == hard["c"][0]).all()) for place in places)
    at_nodule = sum(bool((place == NODULE.index).all()) for place in places)
    others = [place for place in places if place[2] >= 60]
    assert at_hard + at_nodule + len(others) == 200
    assert 80 <= at_hard <= 120
    assert 35 <= at_nodule <= 65


def test_a_batch_fills_up_lesions(case: Case) -> None:
    far = Case("d", case.hu, case.lungs, case.spacing_mm)
    items = [cubes(case)[0], NoduleCubes([far], (48, 48, 48), WINDOW, 1, ANCHORS)[0]]
    batch = collate_cubes(items)
    assert batch["lesions"].shape == (2, len(items[0]["lesions"]), 5)
    assert (batch["lesions"][1] == -1).all()
    image, label, (lesions,), _ = prepare_cubes(batch, torch.device("cpu"), False)
    assert (image.shape, label.shape) == ((2, 1, 48, 48, 48), (2, len(anchor_cubes((48,) * 3, ANCHORS)[0]), 5))
    assert lesions is batch["lesions"]


def test_proposals_are_nodules_by_lunas_rule() -> None:
    nodules, ignored = torch.tensor([[20.0, 20, 20, 10]]), torch.tensor([[40.0, 40, 40, 8]])
    proposals = torch.tensor([
        [24.9, 20, 20, 3],  # centre within the radius
        [25.1, 20, 20, 10],  # not, but it overlaps
        [40.0, 41, 40, 8],  # an ignored lesion
        [60.0, 60, 60, 8],
    ])  # fmt: skip
    assert label_proposals(proposals, nodules, ignored).tolist() == [1, IGNORED, IGNORED, 0]
    assert label_proposals(proposals, nodules[:0], ignored[:0]).tolist() == [0, 0, 0, 0]


def network() -> AggregatedFasterRCNN:
    torch.manual_seed(0)
    return AggregatedFasterRCNN(stem=2, growth=2, channels=4)


def test_the_classifier_branch_is_asked_about_nodules_hits_and_the_surest_false_proposals() -> None:
    training = BranchTraining(network(), ANCHORS, samples=8, max_proposals=50)
    anchors, level = anchor_cubes((32, 32, 32), ANCHORS)
    proposals = torch.zeros(len(anchors), 5)
    proposals[:, 0] = -5.0
    nearest = torch.cdist(anchors[level == 0, :3], torch.tensor([[10.0, 10, 10]])).argmin()
    far = [1, 301, 501]  # anchors of the first level in its first, middle and last cells
    proposals[nearest, 0] = 3.0
    for n, logit in zip(far, (1.0, 2.0, 0.5), strict=True):
        proposals[n, 0] = logit
    lesions = torch.tensor([[10.0, 10, 10, 9, 1], [-1.0, -1, -1, -1, -1]])
    cubes, levels, truth = training.sample_cube(proposals, lesions, anchors, level)
    assert truth[:2].tolist() == [1, 1]
    assert (cubes[0, :3] - 10).abs().max() < 0.15 * 9 + 1e-4
    assert 0.8 * 9 - 1e-3 <= float(cubes[0, 3]) <= 1.2 * 9 + 1e-3
    assert int(levels[0]) == 1  # anchors of 8 mm
    torch.testing.assert_close(cubes[1], anchors[nearest])
    false = cubes[2:][truth[2:] == 0]
    torch.testing.assert_close(false[:3], anchors[[301, 1, 501]])
    assert len(cubes) == len(levels) == len(truth) == 8
    assert int((truth == 1).sum()) == 2  # one to three
    none = training.sample_cube(proposals, lesions[1:], anchors, level)
    assert (none[2] <= 0).all()


@pytest.mark.parametrize("kind", ["proposals", "joint", "alternating"])
def test_each_way_of_training_moves_its_branch(case: Case, kind: str) -> None:
    training = BranchTraining(network(), ANCHORS, classify=kind != "proposals", precision="float32")
    batch = collate_cubes([cubes(case)[n] for n in range(2)])
    loss = BranchLoss(RPNLoss(), kind)
    moved = []
    for _ in range(2):
        training.zero_grad()
        loss(training(batch["image"], batch["lesions"]), batch["label"]).backward()
        parts = (training.module.heads, training.module.classifier)
        moved.append([any(p.grad is not None and p.grad.any() for p in part.parameters()) for part in parts])
    expected = {
        "proposals": [[True, False]] * 2, "joint": [[True, True]] * 2, "alternating": [[True, False], [False, True]],
    }  # fmt: skip
    assert moved == expected[kind]
    assert int(loss.steps) == 2
    assert int(loss.proposals.steps) == {"proposals": 2, "joint": 2, "alternating": 1}[kind]


def test_the_weights_saved_are_those_of_the_network_itself() -> None:
    inner = network()
    assert unwrapped(BranchTraining(inner, ANCHORS)) is inner


def test_hard_regions_are_sure_false_findings_and_missed_nodules(case: Case, tmp_path: Path) -> None:
    case.nodules.append(Sphere(np.array([70.0, 70.0, 60.0]), 6.0))
    found = [
        Finding((40.0, 45.0, 36.0), 9.0, 0.9, 0.9),  # a nodule
        Finding((20.0, 20.0, 20.0), 5.0, 0.8, 0.8),  # false
        Finding((20.0, 70.0, 20.0), 5.0, 0.8, 0.3),  # false, but not sure
        Finding((40.0, 44.0, 50.0), 5.0, 0.9, 0.9),  # an ignored lesion
    ]
    path = tmp_path / "candidates.json"
    path.write_text(json.dumps({"c": [finding.as_dict() for finding in found]}))
    assert hard_regions([case], str(path))["c"].tolist() == [[20, 20, 20], [70, 70, 60]]
    assert hard_regions([case], None) == {}
    unsearched = Case("d", case.hu, case.lungs, case.spacing_mm, case.nodules)
    assert list(hard_regions([case, unsearched], str(path))) == ["c"]
