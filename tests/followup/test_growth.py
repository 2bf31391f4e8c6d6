# SPDX-License-Identifier: Apache-2.0
"""Growth of one nodule, and what forbids it."""

from dataclasses import replace

import numpy as np
import pytest
from made_pair import sphere

from lungcad import Finding, Volume
from lungcad.followup.category import lesion_category
from lungcad.followup.exam import Header
from lungcad.followup.growth import change_between, growth_refusals, judge, own_variation, too_coarse
from lungcad.results.words import shown_mean_mm


def scan(slice_mm: float) -> Volume:
    return Volume(np.zeros((4, 4, 4)), np.diag([0.7, 0.7, slice_mm, 1.0]), "a")


def grown(percent: float, diameter: float = 10.0, kind: str | None = "solid") -> tuple[str, str]:
    prior = replace(sphere(diameter), kind=kind)
    current = replace(sphere(diameter * float(np.cbrt(1 + percent / 100))), kind=kind)
    return judge(prior, current, change_between(prior, current, 365))


@pytest.mark.parametrize(
    ("percent", "status"), [(0, "stable"), (10, "stable"), (24, "stable"), (26, "growing"), (60, "growing"),
                            (-10, "stable"), (-30, "shrinking")],
)  # fmt: skip
def test_growth_is_25_percent_and_beyond_the_error(percent: float, status: str) -> None:
    assert grown(percent)[0] == status


def test_small_and_subsolid_nodules_need_more() -> None:
    assert grown(25.3, diameter=6.0)[0] == "stable"  # de Hoop: 25.6 % below 8 mm
    assert grown(26.0, diameter=6.0)[0] == "growing"
    assert grown(28.0, kind="non-solid")[0] == "stable"  # Scholten: 28.6 %
    assert grown(28.0, kind=None)[0] == "stable"  # not known: the larger error
    assert grown(29.0, kind="part-solid")[0] == "growing"


def test_numbers_by_hand() -> None:
    change = change_between(sphere(10.0), sphere(10.0 * 2 ** (1 / 3)), 400)
    assert change.volume_percent == pytest.approx(100)
    assert change.mean_diameter_mm == pytest.approx(2.599, abs=1e-3)
    assert change.doubling_days == pytest.approx(400)
    assert change.error_percent == (-17.1, 17.1) and "de Hoop" in change.error_source
    assert [rule.split(":")[0] for rule in change.rules][1] == "+2.6 mm in mean diameter"
    assert change.interval_mm3 is None
    assert change_between(sphere(10.0), sphere(9.0), 400).doubling_days is None
    assert change_between(sphere(10.0), sphere(12.0), None).doubling_days is None


def test_our_own_variation_can_hide_a_growth() -> None:
    prior, current = sphere(10.0), sphere(10.0 * 1.3 ** (1 / 3))
    wide = change_between(prior, current, 365, lambda diameter: 0.2)
    # 1.96 * sqrt(0.2 ** 2 + (1.3 * 0.2) ** 2) = 0.643 of the prior volume, more than 0.3
    assert wide.interval_mm3 == pytest.approx(np.array([0.3 - 0.643, 0.3 + 0.643]) * prior.volume_mm3, rel=1e-2)
    assert judge(prior, current, wide)[0] == "stable"
    assert judge(prior, current, change_between(prior, current, 365, lambda diameter: 0.05))[0] == "growing"


def test_thick_or_different_slices_and_kernels_forbid_growth() -> None:
    same = Header(kernel="B30f", thickness_mm=1.0)
    assert growth_refusals(scan(1.0), scan(1.25), same, same) == []
    assert growth_refusals(scan(2.5), scan(2.5), Header(), same) == []  # what is not known is not different
    assert "prior scan are 3 mm" in growth_refusals(scan(3.0), scan(3.0), same, same)[0]
    assert "1 mm apart in the prior and 2 mm" in growth_refusals(scan(1.0), scan(2.0), same, same)[0]
    assert "1 mm thick" in growth_refusals(scan(1.0), scan(1.0), same, replace(same, thickness_mm=2.0))[0]
    assert growth_refusals(scan(1.0), scan(1.0), same, replace(same, kernel="B70f")) == [
        "kernel B30f in the prior and B70f in the current scan"
    ]


def test_thick_slices_cannot_exclude_what_is_below_two_of_them() -> None:
    thick = Header(thickness_mm=5.0)
    assert too_coarse(scan(2.5), Header(thickness_mm=2.5), 1.0) == too_coarse(scan(1.0), Header(), None) == ""
    assert too_coarse(scan(2.5000004), Header(), 1.0) == "" and too_coarse(scan(3.0), Header(), 6.0) == ""
    assert "3 mm are too thick to exclude a nodule of 5.9 mm" in too_coarse(scan(3.0), Header(), 5.9)
    assert "slices of 5 mm" in too_coarse(scan(1.0), thick, 9.9) and too_coarse(scan(1.0), thick, 10.0) == ""
    assert "unknown size" in too_coarse(scan(5.0), Header(), None)


def test_page_growth_and_category_round_alike() -> None:
    """Axes whose raw means differ by 1.5 mm and a bit: both rules say the same, to the decimal that is shown."""
    for long in np.arange(5.0, 5.4, 0.04):
        for more in np.arange(1.4, 1.7, 0.02):
            before, now = (
                replace(sphere(5.0), long_axis_mm=a, short_axis_mm=b, mean_diameter_mm=(a + b) / 2)
                for a, b in ((long, long - 0.37), (long + more, long + more - 0.61))
            )
            change = change_between(before, now, 365)
            found = lesion_category("stable", Finding((0, 0, 0), measurement=before),
                                    Finding((0, 0, 0), measurement=now), 365, (1.0, 1.0))  # fmt: skip
            assert found is not None and change.rules[0] in found.reason
            shown = [shown_mean_mm({"long_axis_mm": one.long_axis_mm, "short_axis_mm": one.short_axis_mm})
                     for one in (before, now)]  # fmt: skip
            assert change.mean_diameter_mm == pytest.approx(shown[1] - shown[0])


def test_our_own_variation_is_known_for_thin_slices_alone() -> None:
    variation = own_variation(scan(1.0), scan(1.25))
    assert variation is not None and 0 < variation(10.0) < variation(4.0) < 0.2
    assert own_variation(scan(1.0), scan(2.0)) is None
