# SPDX-License-Identifier: Apache-2.0
"""Doubling times, growth by each guideline's rule, rounding, and published errors of measurement."""

import math

import pytest

from lungcad.guidelines import (
    beyond_error,
    bts_growth,
    fleischner_growth,
    lung_rads,
    lung_rads_growth,
    lung_rads_growth_history,
    mean_diameter_mm,
    sphere_diameter_mm,
    sphere_volume_mm3,
    volume_change_interval,
    volume_change_percent,
    volume_doubling_days,
    volume_repeatability,
)
from lungcad.guidelines.measurement_error import own_volume_cv
from lungcad.guidelines.measuring import rounded


@pytest.mark.parametrize(
    ("volume_1", "volume_2", "days", "expected"),
    [(100, 125, 90, 279.6), (100, 125, 365, 1133.8), (100, 200, 400, 400.0), (113, 268, 365, 293.0)],
)
def test_doubling_time_vectors(volume_1: float, volume_2: float, days: float, expected: float) -> None:
    assert volume_doubling_days(volume_1, volume_2, days) == pytest.approx(expected, abs=0.05)


def test_a_nodule_that_does_not_grow_has_no_doubling_time_and_never_a_negative_one() -> None:
    assert volume_doubling_days(100, 100, 90) is None
    assert volume_doubling_days(100, 60, 90) is None


def test_doubling_time_does_not_depend_on_units_and_shrinks_with_growth() -> None:
    base = volume_doubling_days(100, 150, 90)
    assert volume_doubling_days(0.1, 0.15, 90) == pytest.approx(base)
    assert volume_doubling_days(100, 150, 180) == pytest.approx(2 * base)
    times = [volume_doubling_days(100, volume, 90) for volume in range(101, 400)]
    assert times == sorted(times, reverse=True)


def test_the_smallest_growth_has_a_finite_or_no_doubling_time() -> None:
    found = volume_doubling_days(100, math.nextafter(100, 200), 90)
    assert found is None or (found > 0 and math.isfinite(found))


@pytest.mark.parametrize(
    "values",
    [
        (0, 100, 90), (-1, 100, 90), (100, 0, 90), (100, 200, 0), (100, 200, -1), (math.nan, 100, 90),
        (100, math.inf, 90), (True, 100, 90), (100, "200", 90), (None, 100, 90),
    ],
)  # fmt: skip
def test_impossible_volumes_and_days_are_refused(values: tuple) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        volume_doubling_days(*values)


@pytest.mark.parametrize(
    ("prior_mm", "mean_mm", "months", "growing"),
    [
        (5.0, 6.6, 12, True), (5.0, 6.5, 12, False), (5.0, 6.6, 12.4, True), (5.0, 6.6, 12.5, None),
        (5.0, 6.6, 24, None),
        (5.0, 8.0, 24, None), (5.0, 8.1, 24, True), (5.0, 12.0, 13, True), (5.0, 6.7, 36, None), (5.0, 9.5, 36, None),
        (5.0, 9.6, 36, True), (5.0, 8.1, 24.4, True), (5.0, 8.1, 24.5, None),
        (5.0, 6.4, 24, False), (5.0, 6.6, None, None), (5.0, 4.0, None, False),
        (5.04, 6.55, 6, True),
    ],
)  # fmt: skip
def test_growth_by_lung_rads(prior_mm: float, mean_mm: float, months: float | None, growing: bool | None) -> None:
    found = lung_rads_growth(prior_mm, mean_mm, months)
    assert found.growing is growing
    assert found.reason.startswith("not computed: needs") == (growing is None)


@pytest.mark.parametrize(
    ("sizes", "status", "slow"),
    [
        ([(0, 5), (12, 6.6)], "growing", False),
        ([(0, 5), (12, 6.4), (24, 7.8)], "stable", True),
        ([(0, 5), (12, 5.7), (24, 6.5)], "stable", False),
        ([(0, 5), (12, 6.0), (18, 7.0), (24, 7.9)], "growing", False),
        ([(0, 5), (24, 8)], None, False),  # on average 1.5 mm a year, which is not more than 1.5
        ([(0, 5), (24, 8.1)], "growing", False),
        ([(0, 5), (13, 12)], "growing", False),
        ([(0, 5), (18, 7), (24, 7.2)], None, True),  # the year before the last exam began without one
        ([(0, 5), (18, 7), (30, 7.2)], "stable", True),
        ([(0, 5), (20, 6.5), (26, 6.5)], "stable", False),  # +1.5 mm in all
        ([(0, 5), (24, 7), (48, 7.2)], "stable", True),
        ([(0, 8), (6, 5), (12, 5.2)], "stable", False),
        ([(-24, 5), (-12, 6.4), (0, 7.8)], "stable", True),
    ],
)
def test_growth_over_several_exams(sizes: list, status: str | None, slow: bool) -> None:
    found = lung_rads_growth_history(sizes)
    assert (found.status, found.slow_growth) == (status, slow)
    assert found.reason.startswith("not computed: needs an exam in between") == (status is None)


def test_a_history_feeds_the_category() -> None:
    history = lung_rads_growth_history([(0, 5), (12, 6.4), (24, 7.8)])
    assert lung_rads("solid", 7.8, status=history.status, slow_growth=history.slow_growth).category == "4B"
    undecided = lung_rads_growth_history([(0, 5.0), (24, 8.0)])
    result = lung_rads("solid", 8.0, status=undecided.status, prior_category="3", months=24)
    assert result.category == "4A" and result.not_computed  # by its size, and no step down


@pytest.mark.parametrize(
    "sizes", [[], [(0, 5)], [(12, 5), (0, 6)], [(0, 5), (0, 6)], [(0, 5), (6, -1)], [(0, 5), (6, 6, 6)]]
)
def test_impossible_histories_are_refused(sizes: list) -> None:
    with pytest.raises(ValueError, match="must"):
        lung_rads_growth_history(sizes)


@pytest.mark.parametrize(
    ("prior_mm", "mean_mm", "growing"),
    [(5, 7, True), (5, 6.9, False), (5.4, 6.6, False), (5.6, 7.4, False), (7, 5, False)],
)
def test_growth_by_fleischner_is_taken_before_rounding(prior_mm: float, mean_mm: float, growing: bool) -> None:
    assert fleischner_growth(prior_mm, mean_mm).growing is growing


@pytest.mark.parametrize(
    ("volume_1", "volume_2", "growing"), [(100, 125, True), (100, 124.9, False), (100, 80, False), (0.1, 0.125, True)]
)
def test_growth_by_bts(volume_1: float, volume_2: float, growing: bool) -> None:
    assert bts_growth(volume_1, volume_2).growing is growing


def test_the_rules_disagree_about_half_a_millimetre_of_growth() -> None:
    before, after = sphere_volume_mm3(6.0), sphere_volume_mm3(6.47)
    assert bts_growth(before, after).growing is True
    assert lung_rads_growth(6.0, 6.47, 12).growing is False
    assert fleischner_growth(6.0, 6.47).growing is False


@pytest.mark.parametrize(("diameter", "volume"), [(4, 34), (6, 113), (8, 268), (10, 524), (15, 1767), (30, 14137)])
def test_volumes_of_lung_rads_are_spheres_of_its_diameters(diameter: float, volume: float) -> None:
    assert rounded(sphere_volume_mm3(diameter), 0) == volume
    assert sphere_diameter_mm(sphere_volume_mm3(diameter)) == pytest.approx(diameter)


@pytest.mark.parametrize(("volume", "diameter"), [(100, 5.76), (250, 7.82), (80, 5.35), (300, 8.31)])
def test_volumes_of_the_other_guidelines_are_not(volume: float, diameter: float) -> None:
    assert sphere_diameter_mm(volume) == pytest.approx(diameter, abs=0.005)


@pytest.mark.parametrize(
    ("long_mm", "short_mm", "expected"),
    [(6.1, 5.8, 6.0), (6.04, 5.84, 5.9), (6, 5.7, 5.9), (10, 10, 10), (7.25, 6.94, 7.1)],
)
def test_both_axes_and_their_mean_have_one_decimal(long_mm: float, short_mm: float, expected: float) -> None:
    assert mean_diameter_mm(long_mm, short_mm) == expected


def test_a_short_axis_is_not_longer_than_the_long_one() -> None:
    with pytest.raises(ValueError, match="short_mm"):
        mean_diameter_mm(5, 6)


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(8.5, 0, 9), (7.5, 0, 8), (5.95, 1, 6.0), (0.25, 1, 0.3), (5.949999999999999, 1, 6.0)],
)
def test_halves_are_rounded_up(value: float, decimals: int, expected: float) -> None:
    assert rounded(value, decimals) == expected


def test_published_repeatability_depends_on_kind_and_size() -> None:
    assert volume_repeatability("solid", 7.9).highest == 25.6
    assert volume_repeatability("solid", 8).highest == 17.1
    assert volume_repeatability("part-solid", 20) is volume_repeatability("non-solid", 5)
    assert volume_repeatability("non-solid", 5).lowest == -35.4


def test_a_change_counts_only_beyond_the_error() -> None:
    small, large = volume_repeatability("solid", 6), volume_repeatability("solid", 10)
    assert not beyond_error(100, 120, small)
    assert beyond_error(100, 120, large)
    assert beyond_error(100, 60, small)
    assert not beyond_error(100, 100, large)
    assert volume_change_percent(100, 120) == pytest.approx(20)


def test_the_interval_of_a_change_by_hand() -> None:
    # 1.96 sqrt((100 0.1)^2 + (150 0.1)^2) = 35.33
    assert volume_change_interval(100, 150, 0.1, 0.1) == pytest.approx((14.67, 85.33), abs=0.01)
    assert volume_change_interval(100, 150, 0, 0) == (50, 50)
    with pytest.raises(ValueError, match="cv_1"):
        volume_change_interval(100, 150, -0.1, 0.1)
    with pytest.raises(ValueError, match="kind"):
        volume_repeatability("calcified", 5)


def test_the_package_needs_no_torch() -> None:
    import subprocess
    import sys
    from pathlib import Path

    code = "import sys, lungcad.guidelines; sys.exit('torch' in sys.modules)"
    scripts = Path(__file__).resolve().parents[2] / "scripts"
    subprocess.run([sys.executable, "-c", code], cwd=scripts, check=True)


def test_own_coefficient_of_variation_falls_with_the_size() -> None:
    assert [own_volume_cv(size) for size in (3.0, 4.0, 8.0, 30.0)] == [0.033, 0.033, 0.026, 0.013]
    assert own_volume_cv(5.5) == pytest.approx((0.028 + 0.026) / 2)
    assert own_volume_cv(9.0) == pytest.approx((0.026 + 0.013) / 2)
    with pytest.raises(ValueError, match="diameter_mm"):
        own_volume_cv(0.0)
