# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from lungcad.finding import Finding
from lungcad.papers.peaks import IndexMap
from lungcad.papers.yao2018.inference import AssumeDiametersd, ClassifiedFindingsd, ProbabilityVolumeToFindingsd

SPACING = (1.0, 1.0, 1.0)
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
AFFINE[:3, 3] = (-10.0, 5.0, 100.0)
HALF = IndexMap((2, 2, 2), (2, 2, 2))


def ball(center: tuple[float, float, float], radius_mm: float) -> torch.Tensor:
    """Distance from the surface in mm, inside positive, on cells of 2 mm."""
    place = np.moveaxis(np.indices((40, 40, 40)), 0, -1)
    return torch.from_numpy(radius_mm - 2 * np.linalg.norm(place - np.array(center), axis=-1)).float()


def step(**options: float) -> ProbabilityVolumeToFindingsd:
    given = {"threshold": 0.8, "radius_mm": 6.0, "max_candidates": 10, "shift_mm": 6.0} | options
    return ProbabilityVolumeToFindingsd("pred", SPACING, HALF, **given)


def data(logit: torch.Tensor) -> dict:
    return {"pred": logit[None, None], "lungs": torch.ones(80, 80, 80, dtype=torch.bool), "grid_affine": AFFINE}


@pytest.mark.parametrize("diameter", [4.0, 9.0, 22.0])
def test_a_ball_comes_back_with_place_and_diameter(diameter: float) -> None:
    finding, = step()(data(2 * ball((20, 18, 22), diameter / 2)))["findings"]
    expected = (2 * 20 + 0.5 - 10, 2 * 18 + 0.5 + 5, 2 * 22 + 0.5 + 100)
    np.testing.assert_allclose(finding.center_lps_mm, expected, atol=0.2)
    assert finding.diameter_mm == pytest.approx(diameter, abs=1.6)  # less than a cell
    assert finding.detection_score > 0.8
    assert finding.nodule_probability is None


def test_peaks_below_the_threshold_and_outside_the_lungs_are_none() -> None:
    two = torch.maximum(ball((10, 10, 10), 4.0), ball((30, 30, 30), 4.0)) - 3.0  # at most sigmoid(1) = 0.73
    assert step()(data(two))["findings"] == []
    assert len(step(threshold=0.7)(data(two))["findings"]) == 2
    inside = data(two)
    inside["lungs"][:40] = False
    finding, = step(threshold=0.7)(inside)["findings"]
    assert finding.center_lps_mm[0] > 40


def test_temperature_tells_sure_peaks_apart_and_changes_neither_threshold_nor_order() -> None:
    sure = 40 * torch.maximum(ball((10, 10, 10), 4.0), ball((30, 30, 30), 5.0))
    plain, cooled = (step(temperature=value)(data(sure))["findings"] for value in (1.0, 100.0))
    assert [f.detection_score for f in plain] == [1.0, 1.0]
    assert [f.center_lps_mm for f in plain] == [f.center_lps_mm for f in cooled]
    assert [f.detection_score for f in cooled] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1.6))])
    unsure = ball((20, 20, 20), 1.5) - 0.3  # sigmoid(1.2) = 0.77
    assert step(temperature=10.0)(data(unsure))["findings"] == []


def test_a_nodule_half_outside_the_lung_mask_keeps_its_size() -> None:
    cut = data(2 * ball((20, 20, 20), 8.0))
    cut["lungs"][:40] = False  # the mask begins at its middle
    finding, = step()(cut)["findings"]
    assert finding.diameter_mm == pytest.approx(16.0, rel=0.1)


def test_touching_nodules_share_their_region() -> None:
    apart = 2 * torch.maximum(ball((16, 20, 20), 6.0), ball((22, 20, 20), 6.5))
    first, second = step()(data(apart))["findings"]
    assert {round(first.diameter_mm), round(second.diameter_mm)} <= {11, 12, 13}
    assert abs(first.center_lps_mm[0] - second.center_lps_mm[0]) == pytest.approx(12, abs=2)


def test_unknown_diameters_are_tried_and_known_ones_kept() -> None:
    findings = [Finding((1.0, 2.0, 3.0), 7.0), Finding((9.0, 9.0, 9.0))]
    result = AssumeDiametersd((0.5, 0.5, 0.5), [4.0, 12.0])({"findings": findings})
    assert [f.diameter_mm for f in result["findings"]] == [7.0, 4.0, 12.0]
    assert result["diameters"].tolist() == [14.0, 8.0, 24.0]
    assert AssumeDiametersd(SPACING, [4.0])({"findings": []})["diameters"].shape == (0,)


def test_of_trials_at_one_place_the_most_probable_is_left() -> None:
    here, there = (0.0, 0.0, 0.0), (50.0, 0.0, 0.0)
    findings = [Finding(here, 4.0, 0.9), Finding(here, 12.0, 0.9), Finding(there, 5.0, 0.8)]
    log_probability = torch.tensor([[0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]).log()
    result = ClassifiedFindingsd("pred", 0.1)({"pred": log_probability, "findings": findings})["findings"]
    assert [(f.diameter_mm, f.detection_score) for f in result] == [(12.0, 0.9), (5.0, 0.8)]
    assert [f.nodule_probability for f in result] == pytest.approx([0.8, 0.3])
    assert len(ClassifiedFindingsd("pred", 0.5)({"pred": log_probability, "findings": findings})["findings"]) == 1
    assert ClassifiedFindingsd("pred", 0.5)({"pred": torch.zeros(0), "findings": []})["findings"] == []
