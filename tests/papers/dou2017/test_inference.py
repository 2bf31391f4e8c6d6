# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from lungcad.finding import Finding
from lungcad.papers.dou2017.inference import DecodeHybridd, LikelyCandidatesd, decode_targets, encode_targets

PATCH_MM = np.array([60.0, 60.0, 48.0])
DIAGONAL_MM = np.sqrt(60.0**2 + 60.0**2 + 48.0**2)


def test_equation_2_by_hand() -> None:
    center, proposal = np.array([25.0, 20.0, 18.0]), np.array([10.0, 20.0, 30.0])
    target = encode_targets(center, np.array(DIAGONAL_MM / np.e**2), proposal, PATCH_MM)
    # 2 (25 - 10) / 60, 2 (20 - 20) / 60, 2 (18 - 30) / 48, log(e^-2)
    np.testing.assert_allclose(target, [0.5, 0.0, -0.5, -2.0], atol=1e-12)


def test_a_nodule_at_the_patchs_side_is_one() -> None:
    target = encode_targets(PATCH_MM / 2, np.array(DIAGONAL_MM), np.zeros(3), PATCH_MM)
    np.testing.assert_allclose(target, [1.0, 1.0, 1.0, 0.0], atol=1e-12)


def test_decode_undoes_encode() -> None:
    rng = np.random.default_rng(0)
    center, proposal, diameter = rng.normal(0, 100, (7, 3)), rng.normal(0, 100, (7, 3)), rng.uniform(3, 30, 7)
    found, size = decode_targets(encode_targets(center, diameter, proposal, PATCH_MM), proposal, PATCH_MM)
    np.testing.assert_allclose(found, center)
    np.testing.assert_allclose(size, diameter)


def test_nothing_decodes_to_nothing() -> None:
    center, diameter = decode_targets(np.zeros((0, 4)), np.zeros((0, 3)), PATCH_MM)
    assert center.shape == (0, 3)
    assert diameter.shape == (0,)


def found(*scores: float, diameter_mm: float | None = 8.0) -> list[Finding]:
    return [Finding((20.0 * n, 0.0, 0.0), diameter_mm, s, s) for n, s in enumerate(scores)]


def decoded(data: dict[str, Any], logits: list[float], **knobs: Any) -> list[Finding]:
    # a shift of 0.2 along x is 6 mm, T_d of -2 a diameter of 13.1 mm
    outputs = torch.tensor([[0.0, v, 0.2, 0.0, 0.0, -2.0] for v in logits])
    transform = DecodeHybridd("pred", (1.0, 1.0, 2.0), (60, 60, 24), 0.05, **knobs)
    proposals = np.array([f.center_lps_mm for f in data["findings"]]).reshape(-1, 3) / [1.0, 1.0, 2.0]
    result = transform(data | {"pred": outputs, "proposals": proposals, "grid_affine": np.diag([1.0, 1.0, 2.0, 1.0])})
    findings: list[Finding] = result["findings"]
    return findings


def test_unlikely_candidates_keep_what_they_had() -> None:
    data = LikelyCandidatesd("findings", 0.2)({"findings": found(0.9, 0.1, 0.5, 0.01)})
    assert [f.score for f in data["findings"]] == [0.9, 0.5]
    result = decoded(data, [-2.0, 2.0])
    assert [f.center_lps_mm[0] for f in result] == pytest.approx([46.0, 6.0, 20.0])  # the third candidate is ahead now
    np.testing.assert_allclose([f.score for f in result], [expit(2), expit(-2), 0.1])  # 0.01 is below the threshold
    assert result[2].diameter_mm == 8.0


def test_all_candidates_are_looked_at_from_zero_on() -> None:
    data = LikelyCandidatesd("findings", 0.0)({"findings": [Finding((0.0, 0.0, 0.0)), *found(0.0, 1.0)]})
    assert len(data["findings"]) == 3
    assert data["unlikely"] == []


def test_a_candidates_own_place_and_diameter_stay_unless_refined() -> None:
    candidates = [found(0.9)[0], found(0.9, 0.9, diameter_mm=None)[1]]
    known, unknown = decoded({"findings": candidates}, [3.0, 2.0], refine=False)
    assert (known.center_lps_mm, known.diameter_mm) == ((0.0, 0.0, 0.0), 8.0)
    assert unknown.center_lps_mm == pytest.approx((26.0, 0.0, 0.0))
    assert unknown.diameter_mm == pytest.approx(DIAGONAL_MM / np.e**2)
