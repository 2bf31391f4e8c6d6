# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from lungcad.scores.detection import score_detection
from lungcad.scores.froc import (  # fmt: skip
    FP_PER_SCAN,
    Froc,
    OperatingPoint,
    ScoredScan,
    match_marks,
    sensitivity_by_diameter,
    true_negative_scans,
)

NONE = np.zeros((0, 4))


def cpm(scans: list[ScoredScan]) -> tuple[float, float, float]:
    """CPM and its interval, as reported."""
    figures, _ = score_detection(scans, bootstraps=300)
    return figures["cpm"], *figures["cpm_ci"]


def spheres(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 4)


def test_marks_hit_strictly_inside_the_radius_and_only_once() -> None:
    nodules = spheres((0, 0, 0, 10), (50, 0, 0, 8))
    marks = np.array([[4.9, 0, 0], [0, 1, 0], [5.0, 0, 0], [50, 4, 0], [80, 0, 0]])
    scan, best = match_marks(nodules, NONE, marks, np.array([0.6, 0.7, 0.9, 0.8, 0.3]))
    # 4.9 and 1 mm hit the first, the better counts; 5.0 mm and 4.0 mm are the radii themselves: both false
    assert best.tolist() == [1, -1]
    assert scan.best_scores.tolist() == [0.7, -np.inf]
    assert sorted(scan.false_scores) == [0.3, 0.8, 0.9]


def test_the_radius_is_strict_also_off_the_axes() -> None:
    # 2^2 + 3^2 + 6^2 = 49 = 7^2: on the surface of a 14 mm nodule, outside; a hair nearer is inside
    nodules = spheres((10, 20, 30, 14))
    for step, hits in ((0.0, 0), (1e-9, 1)):
        scan, _ = match_marks(nodules, NONE, np.array([[12.0, 23.0, 36.0 - step]]), np.array([0.5]))
        assert (int(np.isfinite(scan.best_scores).sum()), len(scan.false_scores)) == (hits, 1 - hits)


def test_a_mark_inside_two_nodules_hits_both() -> None:
    scan, best = match_marks(spheres((0, 0, 0, 10), (6, 0, 0, 10)), NONE, np.array([[3.0, 0, 0]]), np.array([0.5]))
    assert (best.tolist(), scan.best_scores.tolist(), len(scan.false_scores)) == ([0, 0], [0.5, 0.5], 0)


def test_marks_on_ignored_lesions_count_neither_way() -> None:
    scan, _ = match_marks(spheres((0, 0, 0, 10)), spheres((20, 0, 0, 10), (2, 0, 0, 10)),
                    np.array([[21.0, 0, 0], [3.0, 0, 0]]), np.array([0.9, 0.4]))  # fmt: skip
    assert scan.best_scores.tolist() == [0.4]  # also inside an ignored lesion, but a nodule is a nodule
    assert len(scan.false_scores) == 0


def test_scans_without_marks_or_nodules() -> None:
    missed, best = match_marks(spheres((0, 0, 0, 10)), NONE, np.zeros((0, 3)), np.zeros(0))
    assert best.tolist() == [-1]
    assert missed.best_scores.tolist() == [-np.inf]
    healthy, _ = match_marks(NONE, NONE, np.array([[1.0, 2, 3]]), np.array([0.5]))
    assert healthy.best_scores.shape == (0,)
    assert healthy.false_scores.tolist() == [0.5]
    assert Froc([missed, healthy]).sensitivity_at().tolist() == [0.0] * 7


def two_scans() -> list[ScoredScan]:
    """Three nodules, two found; one false mark in each scan."""
    return [
        ScoredScan(np.array([0.9, -np.inf]), np.array([4.0, 12.0]), np.array([0.8])),
        ScoredScan(np.array([0.7]), np.array([5.0]), np.array([0.6])),
    ]


def test_curve_by_hand() -> None:
    # going down:  0.9 hit: 1/3 at 0 | 0.8 false: 1/3 at 1/2 | 0.7 hit: 2/3 at 1/2 | 0.6 false: 2/3 at 1
    third = 1 / 3
    np.testing.assert_allclose(Froc(two_scans()).sensitivity_at(), [third, third, *[2 * third] * 5])
    assert cpm(two_scans())[0] == pytest.approx((2 * third + 5 * 2 * third) / 7)


def test_equal_scores_fall_together() -> None:
    scans = [ScoredScan(np.array([0.5]), np.array([5.0]), np.array([0.5, 0.5]))]
    # one step from (0, 0) to (2 false per scan, all found): a straight line between
    np.testing.assert_allclose(Froc(scans).sensitivity_at(), [0.0625, 0.125, 0.25, 0.5, 1, 1, 1])


def test_the_curve_is_level_beyond_its_last_point_and_infinity_means_all_marks() -> None:
    scans = [ScoredScan(np.array([0.9, 0.2]), np.array([4.0, 4.0]), np.array([0.5]))]
    # 0.9 hit: 1/2 at 0 | 0.5 false: 1/2 at 1 | 0.2 hit: 1 at 1, the upper end of the vertical
    np.testing.assert_allclose(Froc(scans).sensitivity_at((0.0, 0.999, 1.0, 8.0, np.inf)), [0.5, 0.5, 1, 1, 1])


def random_scans(number: int, levels: int) -> list[ScoredScan]:
    """Scans of 0 to 3 nodules, a fifth of them missed, and 0 to 9 false marks; scores on few levels, so with ties."""
    rng = np.random.default_rng(7)
    scans = []
    for _ in range(number):
        hits = rng.integers(1, levels, rng.integers(4)) / levels
        hits[rng.random(len(hits)) < 0.2] = -np.inf
        scans.append(ScoredScan(hits, np.full(len(hits), 6.0), rng.integers(0, levels, rng.integers(10)) / levels))
    return scans


@pytest.mark.parametrize("levels", [5, 1000])
def test_equals_the_curve_that_luna16_makes_of_an_roc(levels: int) -> None:
    scans = random_scans(60, levels)
    hits, false = np.concatenate([s.best_scores for s in scans]), np.concatenate([s.false_scores for s in scans])
    found = hits[np.isfinite(hits)]
    truth = np.r_[np.ones(len(found)), np.zeros(len(false))]
    false_rate, true_rate, _ = roc_curve(truth, np.r_[found, false])
    expected = np.interp(FP_PER_SCAN, false_rate * len(false) / len(scans), true_rate * len(found) / len(hits))
    np.testing.assert_allclose(Froc(scans).sensitivity_at(), expected, rtol=1e-12)


def test_a_bootstrap_round_scores_the_scans_it_drew() -> None:
    scans, bootstraps = random_scans(25, 6), 20
    rng = np.random.default_rng(3)
    drawn = [[scans[n] for n in rng.integers(len(scans), size=len(scans))] for _ in range(bootstraps)]
    expected = [Froc(some).sensitivity_at() for some in drawn]
    np.testing.assert_allclose(Froc(scans).bootstrap(bootstraps=bootstraps, seed=3), expected, rtol=1e-12)


def test_bootstrap_rounds_without_a_nodule_are_drawn_again() -> None:
    # of two scans one has a nodule, found: a quarter of all draws is empty, every other one has sensitivity 1
    scans = [ScoredScan(np.array([0.9]), np.array([5.0]), np.zeros(0)), ScoredScan(*[np.zeros(0)] * 3)]
    assert Froc(scans).bootstrap(bootstraps=50).tolist() == [[1.0] * 7] * 50


def test_operating_points_by_hand() -> None:
    froc = Froc(two_scans())
    # down to 0.9: nothing false | to 0.7: 1 false in 2 scans, 2 of 3 found | to 0.6: 2 false in 2 scans
    assert froc.operating_point(0.49) == OperatingPoint(0.9, 0.0, 1 / 3)
    assert froc.operating_point(0.5) == OperatingPoint(0.7, 0.5, 2 / 3)
    assert froc.operating_point(1.0) == froc.operating_point(8.0) == OperatingPoint(0.6, 1.0, 2 / 3)
    # two false marks share the best score: below 2 per scan nothing may be reported
    tied = Froc([ScoredScan(np.array([0.9]), np.array([5.0]), np.array([0.9, 0.9]))])
    assert tied.operating_point(1.9) == OperatingPoint(None, 0.0, 0.0)
    assert tied.operating_point(2.0) == OperatingPoint(0.9, 2.0, 1.0)


def test_reaching_a_sensitivity_by_hand() -> None:
    froc = Froc(two_scans())
    assert froc.point_of_sensitivity(0.3) == OperatingPoint(0.9, 0.0, 1 / 3)
    assert froc.point_of_sensitivity(2 / 3) == OperatingPoint(0.7, 0.5, 2 / 3)
    assert froc.point_of_sensitivity(0.7) is None  # one of three is missed


def test_true_negative_scans_by_hand() -> None:
    def healthy(*false: float) -> ScoredScan:
        return ScoredScan(np.zeros(0), np.zeros(0), np.array(false))

    # of 4 scans without a nodule two stay clear of marks from 0.5 up; 0.5 itself is a mark; two_scans have nodules
    scans = [*two_scans(), healthy(), healthy(0.4, 0.49), healthy(0.5), healthy(0.1, 0.9)]
    assert true_negative_scans(scans, 0.5) == (2, 4)
    assert true_negative_scans(two_scans(), 0.5) == (0, 0)


def test_interval_holds_the_value_and_narrows_with_more_scans() -> None:
    few = cpm(two_scans() * 2)
    many = cpm(two_scans() * 30)
    for value, low, high in (few, many):
        assert low <= value <= high
    assert many[0] == pytest.approx(few[0])
    assert many[2] - many[1] < (few[2] - few[1]) / 2
    assert cpm(two_scans()) == cpm(two_scans())


def test_nothing_to_score_is_an_error() -> None:
    healthy = ScoredScan(np.zeros(0), np.zeros(0), np.array([0.3]))
    for scans in ([], [healthy]):
        with pytest.raises(ValueError, match="no nodule"):
            Froc(scans).sensitivity_at()


def test_sensitivity_is_counted_by_range_of_diameters() -> None:
    assert sensitivity_by_diameter(two_scans()) == {"3-5 mm": [1, 1], "5-10 mm": [1, 1], ">10 mm": [0, 1]}
    assert sensitivity_by_diameter(two_scans(), threshold=0.8)["5-10 mm"] == [0, 1]
    tiny = ScoredScan(np.array([0.5]), np.array([2.9]), np.zeros(0))  # counted apart, so that the parts add up
    assert sensitivity_by_diameter([*two_scans(), tiny])["<3 mm"] == [1, 1]
