# SPDX-License-Identifier: Apache-2.0
"""BTS 2015: first CT and follow-up, boundaries, what is not computed, impossible input."""

import math

import pytest

from lungcad.guidelines import brock, bts, bts_follow_up


@pytest.mark.parametrize(
    ("max_mm", "starts"),
    [
        (4.99, "no follow-up"),
        (5, "CT at 12"),
        (5.99, "CT at 12"),
        (6, "CT at 3"),
        (7.99, "CT at 3"),
        (8, "not computed"),
    ],
)
def test_solid_by_longest_diameter_without_rounding(max_mm: float, starts: str) -> None:
    result = bts("solid", max_mm)
    assert result.recommendation.startswith(starts) and result.measured_by == "diameter"


@pytest.mark.parametrize(
    ("volume_mm3", "starts"),
    [(79.9, "no follow-up"), (80, "CT at 3"), (299.9, "CT at 3"), (300, "not computed: needs brock")],
)
def test_a_volume_is_preferred(volume_mm3: float, starts: str) -> None:
    result = bts("solid", 5.5, volume_mm3)
    assert result.recommendation.startswith(starts) and result.measured_by == "volume"


@pytest.mark.parametrize(
    ("risk", "herder", "starts"),
    [
        (0.0999, None, "CT surveillance"), (0.10, None, "PET-CT, then Herder"), (0.5, 0.0999, "CT surveillance"),
        (0.5, 0.10, "consider biopsy"), (0.5, 0.70, "consider biopsy"), (0.5, 0.701, "consider excision"),
    ],
)  # fmt: skip
def test_large_solid_nodules_go_by_risk(risk: float, herder: float | None, starts: str) -> None:
    text = bts("solid", 9, brock=risk, herder=herder).recommendation
    assert text.startswith(starts)
    assert ("not computed: needs herder" in text) == (risk >= 0.1 and herder is None)


def test_brock_feeds_bts() -> None:
    low = brock(8, 62, False, False, False, "solid", False, 1, False)
    high = brock(20, 70, False, False, False, "solid", True, 1, True)
    assert bts("solid", 8, brock=low).recommendation.startswith("CT surveillance")
    assert bts("solid", 20, brock=high).recommendation.startswith("PET-CT")


@pytest.mark.parametrize("kind", ["part-solid", "non-solid"])
def test_subsolid_at_first_ct(kind: str) -> None:
    assert bts(kind, 4.9).recommendation == "no follow-up"
    assert bts(kind, 5).recommendation == "thin-section CT at 3 months"
    assert bts(kind, 25).recommendation == "thin-section CT at 3 months"


def test_benign_nodules_need_no_follow_up() -> None:
    for pattern in ("diffuse", "central", "laminated", "popcorn"):
        assert bts("solid", 20, calcification=pattern).recommendation == "no follow-up"
    assert bts("solid", 20, fat=True).recommendation == "no follow-up"
    assert bts("solid", 20, calcification="stippled").recommendation == "not computed: needs brock"
    assert "fat" in bts("solid", 20, calcification="stippled", fat=True).reason


def test_typical_perifissural_nodules_below_10_mm_need_no_follow_up() -> None:
    assert bts("solid", 9.9, typical_perifissural=True).recommendation == "no follow-up"
    assert bts("solid", 10, typical_perifissural=True).recommendation == "not computed: needs brock"
    assert bts("solid", None, 200, typical_perifissural=True).recommendation == "not computed: needs max_mm"
    assert bts("part-solid", 9.9, typical_perifissural=True).recommendation == "thin-section CT at 3 months"


def test_a_small_new_nodule_is_followed() -> None:
    text = bts("solid", 4, new=True).recommendation
    assert text.startswith("follow-up") and "not computed" in text


@pytest.mark.parametrize(
    ("volume_2", "days", "months", "starts"),
    [
        (124.9, 90, 3, "CT at 12 months"), (125, 90, 3, "further work-up"), (90, 90, 3, "CT at 12 months"),
        (124.9, 365, 12, "discharge"), (200, 400, 13, "further work-up"), (200, 401, 13, "not computed"),
        (200, 600, 20, "not computed"), (200, 601, 20, "consider discharge"), (126, 300, 10, "CT at 12 months"),
        (125, 365, 12, "consider discharge"),
    ],
)  # fmt: skip
def test_solid_nodules_under_surveillance_by_volume(volume_2: float, days: float, months: float, starts: str) -> None:
    result = bts_follow_up("solid", 100, volume_2, days, months_since_baseline=months)
    assert result.recommendation.startswith(starts) and result.measured_by == "volume"


def test_diameters_need_two_years() -> None:
    def text(months: float) -> str:
        stable = bts_follow_up("solid", None, None, 90, months_since_baseline=months, stable_by_diameter=True)
        return stable.recommendation

    assert text(3) == "CT at 12 months"
    assert text(12) == "CT at 24 months"
    assert text(24) == "discharge: stable for 2 years by diameter"
    missing = bts_follow_up("solid", None, None, 90, months_since_baseline=3)
    assert missing.recommendation == "not computed: needs volume_1, volume_2"


def test_subsolid_nodules_under_surveillance() -> None:
    def text(**more: object) -> str:
        arguments = {"volume_1": 100.0, "volume_2": 110.0, "days": 90, "months_since_baseline": 3, **more}
        return bts_follow_up("part-solid", **arguments).recommendation  # type: ignore[arg-type]

    assert "resection" in text(volume_2=125.0)
    assert "resection" in text(altered=True)
    assert "resection" in text(volume_1=None, volume_2=None, altered=True)
    assert text() == "not computed: needs brock"
    assert text(brock=0.0999).startswith("CT at 1, 2 and 4 years")
    assert text(brock=0.1).startswith("discuss CT surveillance, biopsy or resection")


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_mm": None}, {"max_mm": -1}, {"max_mm": math.nan}, {"max_mm": True}, {"kind": "GGN"}, {"volume_mm3": 0},
        {"brock": 1.2}, {"brock": -0.1}, {"brock": True}, {"herder": 70}, {"calcification": "much"}, {"fat": "a bit"},
        {"new": "yes"}, {"typical_perifissural": "yes"},
    ],
)  # fmt: skip
def test_impossible_input_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        bts(**{"kind": "solid", "max_mm": 4, **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"volume_1": None}, {"volume_2": -1}, {"days": 0}, {"days": -90}, {"months_since_baseline": math.nan},
        {"kind": "?"}, {"altered": "a little"}, {"kind": "part-solid", "brock": 7},
    ],
)  # fmt: skip
def test_impossible_follow_up_is_refused(arguments: dict) -> None:
    usual = {"kind": "solid", "volume_1": 100, "volume_2": 110, "days": 90, "months_since_baseline": 3}
    with pytest.raises(ValueError, match=r"must"):
        bts_follow_up(**{**usual, **arguments})
