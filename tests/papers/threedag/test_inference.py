# SPDX-License-Identifier: Apache-2.0
"""The 3D Aggregated Faster R-CNN over the lungs of a scan, and what becomes of its detections."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import Inferer
from small_cases import ROOT
from torch import Tensor

from lungcad.checks.bundle import Bundle
from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import anchor_cubes
from lungcad.papers.threedag.inference import (
    LungProposalInferer,
    MirroredInferer,
    ProposalsToFindingsd,
    TwoModelInferer,
)
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.papers.threedag.proposals import decode_proposals, suppress

ANCHORS = ((4, 6), (8, 12), (16, 24))


@pytest.fixture(scope="module", params=[False, True], ids=["3D-AG", "3D-AG-LM"])
def network(request: pytest.FixtureRequest) -> AggregatedFasterRCNN:
    torch.manual_seed(3)
    made = AggregatedFasterRCNN(stem=4, growth=4, channels=8, magnify=request.param)
    for _ in range(3):
        made(torch.rand(2, 1, 32, 32, 32))  # statistics of the batch normalisations
    return made.eval()


def detect(image: Tensor, network: AggregatedFasterRCNN, lungs: Tensor, **options: object) -> Tensor:
    options = {"threshold": 0.3, "context": 8, "precision": "float32"} | options
    return LungProposalInferer(ANCHORS, **options)(image, network, lungs)


def by_place(detections: Tensor) -> Tensor:
    """Detections from left to right: among equally probable ones the last digit decides the order."""
    return detections[detections[:, 0].argsort()]


def lungs_in(image: Tensor, low: int, high: int) -> Tensor:
    lungs = torch.zeros(image.shape[2:], dtype=torch.bool)
    lungs[low:high, low:high, low:high] = True
    return lungs


def test_tiles_change_nothing(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 64, 48, 112)
    lungs = torch.ones(image.shape[2:], dtype=torch.bool)
    whole = detect(image, network, lungs, tile=10**9)
    assert len(whole) > 5
    for tile in (4000, 40000):
        tiled = detect(image, network, lungs, tile=tile)
        torch.testing.assert_close(by_place(tiled), by_place(whole), atol=1e-3, rtol=1e-4)


def test_features_over_a_blank_surrounding_equal_those_of_the_whole_box(network: AggregatedFasterRCNN) -> None:
    box = torch.full((1, 1, 96, 64, 80), 0.6)
    box[:, :, 20:43, 24:40, 30:49] = torch.rand(23, 16, 19)
    box[:, :, 70:76, 18:22, 0:9] = torch.rand(6, 4, 9)  # up to a face
    with torch.inference_mode():
        whole = network.backbone.front(box)
        tiled = LungProposalInferer(ANCHORS, precision="float32", tile=30000)._front(box, network)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-4)


def test_detections_are_those_of_the_network_step_by_step(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 48, 48, 64)
    lungs = torch.ones(image.shape[2:], dtype=torch.bool)
    anchors, level = anchor_cubes(image.shape[2:], ANCHORS)
    with torch.no_grad():
        cubes, logit, level = decode_proposals(network(image)[0].T, anchors, level, 0.3, 10**6)
        inside = ((cubes[:, :3] > -0.5) & (cubes[:, :3] < torch.tensor([47.5, 47.5, 63.5]))).all(dim=1)
        cubes, logit, level = cubes[inside], logit[inside], level[inside]
        kept = suppress(cubes, logit, 0.1)[:20]
        judged = network.classify(network.pyramid(image), cubes[kept][None], level[kept][None])[0]
    expected = torch.cat([cubes[kept], logit[kept, None].sigmoid(), judged[:, None].sigmoid()], dim=1)
    torch.testing.assert_close(detect(image, network, lungs, max_proposals=20), expected, atol=1e-4, rtol=1e-4)


def test_detections_move_with_the_scan_and_lie_in_the_lungs(network: AggregatedFasterRCNN) -> None:
    image = torch.zeros(1, 1, 96, 96, 96)
    image[:, :, 24:56, 24:56, 24:56] = torch.rand(32, 32, 32)
    here = detect(image, network, lungs_in(image, 24, 56))
    moved = detect(image.roll((10, 10, 10), (2, 3, 4)), network, lungs_in(image, 34, 66))
    assert len(here) > 2
    assert ((here[:, :3] >= 23.5) & (here[:, :3] <= 55.5)).all()
    back = moved - torch.tensor([10.0, 10, 10, 0, 0, 0])
    torch.testing.assert_close(by_place(back), by_place(here), atol=1e-3, rtol=1e-4)
    assert (here[:, 4].diff() <= 0).all()


def test_the_classifier_branch_can_be_left_out(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 32, 32, 32)
    both, alone = (detect(image, network, lungs_in(image, 0, 32), classify=c) for c in (True, False))
    torch.testing.assert_close(alone[:, :5], both[:, :5])
    assert alone[:, 5].isnan().all()
    assert both[:, 5].isfinite().all()
    nothing = detect(image, network, lungs_in(image, 0, 32), threshold=1.0)
    assert nothing.shape == (0, 6)


def test_bfloat16_is_near_float32(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 48, 48, 48)
    exact, fast = (detect(image, network, lungs_in(image, 0, 48), precision=p) for p in ("float32", "bfloat16"))
    best = exact[: len(exact) // 2]
    nearest = torch.cdist(best[:, :3], fast[:, :3]).argmin(dim=1)
    assert (best[:, :4] - fast[nearest, :4]).abs().median() < 0.15
    assert (best[:, 4:] - fast[nearest, 4:]).abs().median() < 0.02
    assert not torch.equal(exact[:5], fast[:5])


DETECTIONS = torch.tensor([[10.0, 20, 30, 6, 0.9, 0.3], [40.0, 50, 60, 12, 0.7, 0.95], [1.0, 2, 3, 8, 0.4, 0.5]])


@pytest.mark.parametrize(
    ("branch", "probabilities", "first"),
    [("proposals", [0.9, 0.7, 0.4], 0), ("classifier", [0.95, 0.5, 0.3], 1), ("combined", [0.825, 0.6, 0.45], 1)],
)
def test_each_branch_can_have_the_last_word(branch: str, probabilities: list[float], first: int) -> None:
    affine = np.array([[-2.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    made = ProposalsToFindingsd("pred", [2.0, 2.0, 2.0], branch, max_findings=10)
    findings = made({"pred": DETECTIONS, "grid_affine": affine})["findings"]
    assert [f.nodule_probability for f in findings] == pytest.approx(probabilities, abs=1e-5)
    best = DETECTIONS[first].tolist()
    assert findings[0].center_lps_mm == pytest.approx((5 - 2 * best[0], 6 + 2 * best[1], 7 + 2 * best[2]))
    assert findings[0].diameter_mm == 2 * best[3]
    assert findings[0].detection_score == pytest.approx(best[4])
    assert (
        len(ProposalsToFindingsd("pred", [2.0] * 3, branch, 2)({"pred": DETECTIONS, "grid_affine": affine})["findings"])
        == 2
    )


def test_a_mirrored_pass_is_mirrored_back_and_averaged(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 48, 48, 64)
    lungs = lungs_in(image, 16, 34)
    one = LungProposalInferer(ANCHORS, 0.3, precision="float32")
    both = MirroredInferer(one, (0,))(image, network, lungs)
    assert len(both) > 5
    back = MirroredInferer(one, (0,))(image.flip(2), network, lungs.flip(0)).clone()
    back[:, 0] = 47 - back[:, 0]
    torch.testing.assert_close(by_place(both), by_place(back), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(MirroredInferer(one, ())(image, network, lungs), one(image, network, lungs))
    assert (both[:, 4].diff() <= 0).all()


def test_averages_with_the_mirrored_pass_by_hand(network: AggregatedFasterRCNN) -> None:
    found = torch.tensor([[10.0, 20, 30, 6, 0.8, 0.4], [40.0, 40, 40, 8, 0.3, 0.2]])
    mirrored = torch.tensor([[36.0, 20, 30, 8, 0.4, 0.6], [5.0, 9, 9, 5, 0.9, 0.6]])  # of 48 voxels: x is 11 and 42
    passes = iter([found, mirrored])

    class Twice(Inferer):
        def __call__(self, *args: object) -> Tensor:
            return next(passes)

    merged = MirroredInferer(Twice(), (0,))(torch.zeros(1, 1, 48, 48, 64), network, torch.zeros(48, 48, 64))
    expected = [[10.5, 20, 30, 7, 0.6, 0.5], [42.0, 9, 9, 5, 0.45, 0.3], [40.0, 40, 40, 8, 0.15, 0.1]]
    torch.testing.assert_close(merged, torch.tensor(expected))


def test_of_two_findings_in_one_place_the_likelier_stays() -> None:
    inside = torch.tensor([[10.0, 20, 30, 14, 0.8, 0.8], [14.0, 20, 30, 4, 0.9, 0.6], [24.0, 20, 30, 4, 0.9, 0.1]])
    data = {"pred": inside, "grid_affine": np.eye(4)}
    merged, all_of_them = (ProposalsToFindingsd("pred", [1.0] * 3, "combined", 9, shared)(data)["findings"]
                           for shared in (0.1, 1.0))  # fmt: skip
    assert [f.diameter_mm for f in merged] == [14, 4]
    assert len(all_of_them) == 3


def test_an_unknown_branch_is_refused() -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*unknown branch: both \(expected proposals, classifier, combined"):
        ProposalsToFindingsd("pred", [1.0] * 3, "both", 5)


def test_two_models_are_merged(network: AggregatedFasterRCNN) -> None:
    image = torch.rand(1, 1, 48, 48, 48)
    lungs = lungs_in(image, 16, 34)
    inferer = LungProposalInferer(ANCHORS, threshold=0.3, context=8, precision="float32")
    alone = inferer(image, network, lungs)
    assert len(alone) > 5
    same = TwoModelInferer(inferer, network, "intersection")(image, network, lungs)
    torch.testing.assert_close(same[same[:, 4].argsort(descending=True, stable=True)], alone)
    torch.manual_seed(9)
    other = AggregatedFasterRCNN(stem=4, growth=4, channels=8).eval()
    union, both = (TwoModelInferer(inferer, other, keep)(image, network, lungs) for keep in ("union", "intersection"))
    assert len(union) == len(alone) + len(inferer(image, other, lungs)) - len(both)


def test_the_overlay_of_local_magnification_takes_its_weights() -> None:
    bundle = Bundle(ROOT / "bundles" / "lung_nodule_detection_3dag", None, Path())
    network = bundle.parser("magnify").get_parsed_content("network")  # its hash is checked
    assert any("magnify" in name for name in network.state_dict())
    assert not any("magnify" in name for name in bundle.parser().get_parsed_content("network").state_dict())
