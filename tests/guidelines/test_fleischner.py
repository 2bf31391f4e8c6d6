# SPDX-License-Identifier: Apache-2.0
"""Fleischner 2017: every cell of the table, rounding to whole mm, volume, whom it does not cover, impossible input."""

import math

import pytest

from lungcad.guidelines import fleischner


@pytest.mark.parametrize(
    ("mean_mm", "category"),
    [(5.4, "<6 mm"), (5.49, "<6 mm"), (5.5, "6-8 mm"), (5.9, "6-8 mm"), (6, "6-8 mm"), (8.4, "6-8 mm"), (8.5, ">8 mm")],
)
def test_sizes_are_rounded_to_whole_mm_half_up(mean_mm: float, category: str) -> None:
    assert fleischner("solid", mean_mm, "low", False).category == category


@pytest.mark.parametrize(
    ("volume_mm3", "category"),
    [(99.4, "<6 mm"), (99.5, "6-8 mm"), (100, "6-8 mm"), (250, "6-8 mm"), (250.4, "6-8 mm"), (250.5, ">8 mm")],
)
def test_a_volume_decides_instead_of_the_diameter_and_says_so(volume_mm3: float, category: str) -> None:
    result = fleischner("solid", 12, "low", False, volume_mm3=volume_mm3)
    assert (result.category, result.measured_by) == (category, "volume")
    assert fleischner("solid", 12, "low", False).measured_by == "diameter"


@pytest.mark.parametrize(
    ("mean_mm", "risk", "multiple", "recommendation"),
    [
        (5, "low", False, "no routine follow-up"),
        (5, "high", False, "optional CT at 12 months"),
        (7, "low", False, "CT at 6-12 months, then consider CT at 18-24 months"),
        (7, "high", False, "CT at 6-12 months, then CT at 18-24 months"),
        (9, "low", False, "consider CT at 3 months, PET/CT or tissue sampling"),
        (9, "high", False, "consider CT at 3 months, PET/CT or tissue sampling"),
        (5, "low", True, "no routine follow-up"),
        (5, "high", True, "optional CT at 12 months"),
        (7, "low", True, "CT at 3-6 months, then consider CT at 18-24 months"),
        (7, "high", True, "CT at 3-6 months, then CT at 18-24 months"),
        (9, "low", True, "CT at 3-6 months, then consider CT at 18-24 months"),
        (9, "high", True, "CT at 3-6 months, then CT at 18-24 months"),
    ],
)
def test_a_solid_nodule_gets_the_row_of_the_table(
    mean_mm: float, risk: str, multiple: bool, recommendation: str
) -> None:
    result = fleischner("solid", mean_mm, risk, multiple)
    assert result.recommendation == recommendation
    assert "solid" in result.reason and risk in result.reason and f"{mean_mm} mm" in result.reason


@pytest.mark.parametrize("risk", ["low", "high"])
def test_single_non_solid(risk: str) -> None:
    for mean_mm in (6, 8, 20):
        text = fleischner("non-solid", mean_mm, risk, False).recommendation
        assert text == "CT at 6-12 months to confirm that it persists, then CT every 2 years until 5 years"
    small = fleischner("non-solid", 5, risk, False).recommendation
    assert small.startswith("no routine follow-up")
    assert ("2 and 4 years" in small) == (risk == "high")


@pytest.mark.parametrize("solid_mm", [None, 2, 5.4, 5.5, 8.4, 8.5, 10])
def test_a_part_solid_nodule_is_first_confirmed_whatever_its_solid_part(solid_mm: float | None) -> None:
    text = fleischner("part-solid", 12, "high", False, solid_mm=solid_mm).recommendation
    assert text.startswith("CT at 3-6 months to confirm")
    assert ("every year for 5 years" in text) == (solid_mm is None or solid_mm < 5.5)
    assert ("highly suspicious" in text) == (solid_mm is None or solid_mm >= 5.5)
    assert ("PET/CT" in text) == (solid_mm is not None and solid_mm >= 8.5)
    assert ("not computed: needs solid_mm" in text) == (solid_mm is None)


def test_suspicious_form_of_a_part_solid_nodule_asks_for_more() -> None:
    assert "PET/CT" in fleischner("part-solid", 9, "low", False, solid_mm=3, suspicious=True).recommendation
    assert fleischner("part-solid", 5, "low", False, suspicious=True).recommendation == "no routine follow-up"


@pytest.mark.parametrize("kind", ["part-solid", "non-solid"])
def test_multiple_subsolid_nodules_get_the_row_of_the_table(kind: str) -> None:
    small = fleischner(kind, 5, "low", True).recommendation
    assert small == "CT at 3-6 months; if stable, consider CT at 2 and 4 years"
    assert "most suspicious nodule" in fleischner(kind, 6, "low", True).recommendation


def test_an_unknown_risk_is_asked_for_only_where_it_matters() -> None:
    assert fleischner("solid", 7, None, False).recommendation == "not computed: needs risk"
    assert fleischner("solid", 9, None, False).recommendation.startswith("consider CT at 3 months")
    assert fleischner("non-solid", 9, None, False).recommendation.startswith("CT at 6-12 months")
    assert fleischner("non-solid", 5, None, False).recommendation == "not computed: needs risk"
    assert fleischner("non-solid", 5, None, True).recommendation.startswith("CT at 3-6 months")


def test_a_mass_is_outside_the_guideline() -> None:
    for kind in ("solid", "part-solid", "non-solid"):
        assert not fleischner(kind, 30.4, "low", False).recommendation.startswith("not applicable")
        assert "a mass" in fleischner(kind, 30.5, "low", False).recommendation


@pytest.mark.parametrize(
    "outside", [{"age": 34}, {"known_cancer": True}, {"immunosuppressed": True}, {"screening": True}]
)
def test_the_guideline_does_not_cover_everyone(outside: dict) -> None:
    assert fleischner("solid", 9, "high", False, **outside).recommendation.startswith("not applicable: ")


def test_35_years_are_covered_and_typical_perifissural_nodules_need_nothing() -> None:
    assert fleischner("solid", 9, "high", False, age=35).recommendation.startswith("consider")
    text = fleischner("solid", 9, "high", False, typical_perifissural=True).recommendation
    assert text.startswith("no routine follow-up")


def test_the_longest_diameter_of_a_solid_part_may_exceed_the_mean_of_the_whole() -> None:
    # 12 by 6 mm: mean 9 mm, solid part 10 mm long.
    assert "PET/CT" in fleischner("part-solid", 9, "low", False, solid_mm=10).recommendation


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean_mm": -1}, {"mean_mm": math.nan}, {"mean_mm": True}, {"mean_mm": 0}, {"mean_mm": "7"}, {"kind": "mixed"},
        {"risk": "medium"}, {"risk": 1}, {"multiple": "two"}, {"multiple": None}, {"multiple": 3}, {"volume_mm3": 0},
        {"volume_mm3": -5}, {"solid_mm": 3}, {"kind": "part-solid", "solid_mm": 14},
        {"kind": "non-solid", "solid_mm": 3},
        {"kind": "part-solid", "solid_mm": math.nan}, {"age": -3}, {"age": True}, {"known_cancer": "no"},
        {"typical_perifissural": "no"}, {"suspicious": None}, {"screening": 5},
    ],
)  # fmt: skip
def test_impossible_input_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"must|needs|kind"):
        fleischner(**{"kind": "solid", "mean_mm": 7, "risk": "low", "multiple": False, **arguments})
