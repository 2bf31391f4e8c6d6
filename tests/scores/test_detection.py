# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from lungcad.scores.detection import score_detection
from lungcad.scores.froc import FP_PER_SCAN, ScoredScan


def scans() -> list[ScoredScan]:
    """Twenty nodules of 4 and 12 mm in two scans, one of them missed; two scans without a nodule; three false marks."""
    return [
        ScoredScan(np.full(10, 0.9), np.full(10, 4.0), np.array([0.95])),
        ScoredScan(np.array([*[0.6] * 9, -np.inf]), np.full(10, 12.0), np.zeros(0)),
        ScoredScan(np.zeros(0), np.zeros(0), np.array([0.7])),
        ScoredScan(np.zeros(0), np.zeros(0), np.array([0.5])),
    ]


def test_figures_by_hand() -> None:
    figures, _ = score_detection(scans(), bootstraps=20)
    # 0.95 false: 0 at 1/4 | 0.9: 10/20 at 1/4 | 0.7 false: 10/20 at 1/2 | 0.6: 19/20 at 1/2 | 0.5 false: 19/20 at 3/4
    assert figures["sensitivities"] == [0.0, 0.5, *[0.95] * 5]
    assert figures["cpm"] == pytest.approx((0.5 + 5 * 0.95) / 7)
    assert (figures["scans"], figures["nodules"], figures["hits"], figures["missed"]) == (4, 20, 19, 1)
    assert (figures["false_positives"], figures["false_marks_per_scan"], figures["sensitivity"]) == (3, 0.75, 0.95)
    assert figures["found_by_diameter"] == {"3-5 mm": [10, 10], "5-10 mm": [0, 0], ">10 mm": [9, 10]}


def test_operating_points_tell_curve_and_threshold() -> None:
    points = score_detection(scans(), more_fp_per_scan=(0.3, 1.0), bootstraps=20)[0]["operating_points"]
    assert [point["fp_per_scan"] for point in points] == [0.125, 0.25, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert [point["threshold"] for point in points] == [None, 0.9, 0.9, 0.6, 0.5, 0.5, 0.5, 0.5]
    assert points[2]["sensitivity"] == 0.5  # at 0.3, on the level piece from 1/4 to 1/2
    assert (points[2]["fp_per_scan_at_threshold"], points[2]["sensitivity_at_threshold"]) == (0.25, 0.5)
    assert points[2]["found_by_diameter"][">10 mm"] == [0, 10]  # their 0.6 is below 0.9
    assert points[0]["found_by_diameter"]["3-5 mm"] == [0, 10]  # nothing may be reported


def test_true_negative_patients_by_hand() -> None:
    # a sensitivity of 0.95 needs the threshold 0.6; of the two scans without a nodule one has a mark above it (0.7)
    figures = score_detection(scans(), bootstraps=20)[0]["true_negative_patients"]
    assert figures == {
        "at_sensitivity": 0.95, "threshold": 0.6, "scans_without_nodule": 2, "scans_without_mark": 1, "score": 0.5,
    }  # fmt: skip
    missed = [*scans(), ScoredScan(np.array([-np.inf]), np.array([4.0]), np.zeros(0))]  # 19/21 = 0.905 is never 0.95
    assert score_detection(missed, bootstraps=20)[0]["true_negative_patients"]["score"] is None
    assert score_detection(scans()[:2], bootstraps=20)[0]["true_negative_patients"]["score"] is None


def test_intervals_hold_the_figures_and_the_band_holds_the_curve() -> None:
    figures, curve = score_detection(scans() * 10, bootstraps=200)
    pairs = [(figures["cpm"], figures["cpm_ci"]), (figures["sensitivity"], figures["sensitivity_ci"])]
    pairs += zip(figures["sensitivities"], figures["sensitivities_ci"], strict=True)
    for value, (low, high) in pairs:
        assert low <= value <= high
    assert (curve.low <= curve.sensitivity).all() and (curve.sensitivity <= curve.high).all()
    assert (np.diff(curve.sensitivity) >= 0).all() and (curve.high - curve.low).max() > 0.05
    seven = np.isin(curve.fp_per_scan, FP_PER_SCAN)
    assert curve.sensitivity[seven].tolist() == figures["sensitivities"]
    assert np.stack([curve.low, curve.high], axis=1)[seven].tolist() == figures["sensitivities_ci"]
    assert (curve.fp_per_scan[0], curve.fp_per_scan[-1]) == (0.125, 8.0)
    assert np.isnan(curve.threshold[0]) and curve.threshold[-1] == 0.5


def test_a_perfect_detection_has_no_width_and_figures_go_into_json() -> None:
    perfect = [ScoredScan(np.array([0.9]), np.array([6.0]), np.zeros(0))] * 5
    figures, _ = score_detection(perfect, bootstraps=20)
    assert (figures["cpm"], figures["cpm_ci"]) == (1.0, [1.0, 1.0])
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_no_marks_at_all_is_a_result() -> None:
    figures, curve = score_detection([ScoredScan(np.array([-np.inf]), np.array([6.0]), np.zeros(0))], bootstraps=20)
    assert (figures["cpm"], figures["sensitivity"], figures["operating_points"][0]["threshold"]) == (0.0, 0.0, None)
    assert np.isnan(curve.threshold).all()
