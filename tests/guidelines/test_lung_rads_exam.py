# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022: the exam, airway nodules and cysts."""

import pytest

from lungcad.guidelines import LungRads, lung_rads, lung_rads_airway, lung_rads_cyst, lung_rads_exam


def test_the_exam_has_the_highest_category_of_its_nodules() -> None:
    nodules = [lung_rads("solid", mean_mm) for mean_mm in (4, 9, 6)]
    result = lung_rads_exam(nodules)
    assert result.category == "4A" and "9.0 mm" in result.reason
    assert result.assumed == ("baseline screening CT",)
    assert lung_rads_exam([*nodules, lung_rads("solid", 9, suspicious=["spiculation"])]).category == "4X"


def test_no_nodule_is_category_1() -> None:
    assert lung_rads_exam([]).category == "1"
    assert lung_rads_exam([lung_rads_cyst("thin", False)]).category == "1"


def test_s_is_a_modifier_and_no_category() -> None:
    result = lung_rads_exam([lung_rads("solid", 9)], significant_other=True)
    assert (result.category, result.label) == ("4A", "4AS")
    assert lung_rads_exam([], significant_other=True).label == "1S"
    assert lung_rads_exam([], priors_pending=True, significant_other=True).label == "0S"


@pytest.mark.parametrize(
    "incomplete", [{"priors_pending": True}, {"lungs_evaluable": False}, {"inflammatory": True}, {"new_nodules": 7}]
)
def test_an_incomplete_exam_is_category_0_and_tells_the_highest_so_far(incomplete: dict) -> None:
    result = lung_rads_exam([lung_rads("solid", 16)], **incomplete)
    assert result.category == "0" and "4B" in result.reason


def test_six_new_nodules_are_not_yet_many() -> None:
    assert lung_rads_exam([lung_rads("solid", 3, status="new")], new_nodules=6).category == "2"


def test_a_nodule_without_category_keeps_the_exam_open() -> None:
    unknown = lung_rads("part-solid", 8)
    result = lung_rads_exam([lung_rads("solid", 9), unknown])
    assert result.category is None
    assert result.reason.startswith("not computed: needs solid_mm") and "at least 4A" in result.reason
    assert lung_rads_exam([unknown]).category is None
    assert lung_rads_exam([unknown, LungRads("4X", "certain")]).category == "4X"


@pytest.mark.parametrize(
    ("location", "status", "category"),
    [
        ("subsegmental", "baseline", "2"), ("subsegmental", "new", "2"), ("subsegmental", "stable", "2"),
        ("subsegmental", "growing", None), ("segmental or more proximal", "baseline", "4A"),
        ("segmental or more proximal", "stable", "4B"), ("segmental or more proximal", "growing", "4B"),
        ("segmental or more proximal", "new", None),
    ],
)  # fmt: skip
def test_an_airway_nodule_gets_the_category_of_the_notes(location: str, status: str, category: str | None) -> None:
    assert lung_rads_airway(location, status).category == category


def test_secretions_and_infections_of_the_airways() -> None:
    assert lung_rads_airway("segmental or more proximal", contains_air=True).category == "2"
    tubular = lung_rads_airway("subsegmental", several_tubular=True)
    assert tubular.category == "0"
    assert lung_rads_exam([tubular, lung_rads("solid", 5)]).category == "0"


@pytest.mark.parametrize(
    ("arguments", "category"),
    [
        ({"wall": "thin"}, None), ({"wall": "thick"}, "4A"), ({"wall": "thin", "multilocular": True}, "4A"),
        ({"wall": "thick", "status": "growing"}, "3"),
        ({"wall": "thick", "status": "stable", "wall_growing": True}, "4B"),
        ({"wall": "thick", "status": "growing", "wall_growing": True}, "4B"),
        ({"wall": "thin", "status": "stable", "became_multilocular": True}, "4A"),
        ({"wall": "thin", "status": "growing", "became_multilocular": True}, "4A"),
        ({"wall": "thin", "status": "growing", "became_multilocular": True, "denser": True}, "4B"),
        ({"wall": "thin", "multilocular": True, "status": "growing"}, "4B"),
        ({"wall": "thick", "multilocular": True, "status": "stable", "denser": True}, "4B"),
        ({"wall": "thick", "status": "stable", "prior_category": "4A", "months": 3}, "3"),
        ({"wall": "thick", "status": "stable", "prior_category": "4A", "months": 2}, "4A"),
        ({"wall": "thick", "status": "stable", "prior_category": "3", "months": 6}, "2"),
        ({"wall": "thick", "status": "stable", "prior_category": "3", "months": 5}, "3"),
        ({"wall": "thick", "status": "stable", "prior_category": "4B", "months": 12}, "4B"),
        ({"wall": "thin", "status": "stable", "denser": True}, None),
    ],
)  # fmt: skip
def test_a_cyst_gets_the_category_of_the_notes(arguments: dict, category: str | None) -> None:
    assert lung_rads_cyst(**{"multilocular": False, **arguments}).category == category


def test_a_thin_cyst_is_not_scored_and_does_not_keep_the_exam_open() -> None:
    thin = lung_rads_cyst("thin", False)
    assert thin.reason.startswith("not scored")
    assert lung_rads_exam([thin, lung_rads("solid", 6)]).category == "3"


@pytest.mark.parametrize(
    "call",
    [
        lambda: lung_rads_airway("trachea"),
        lambda: lung_rads_airway("subsegmental", "old"),
        lambda: lung_rads_airway("subsegmental", several_tubular="no"),
        lambda: lung_rads_cyst("2 mm", False),
        lambda: lung_rads_cyst("thick", None),
        lambda: lung_rads_cyst("thick", False, "baseline", wall_growing=True),
        lambda: lung_rads_cyst("thick", False, "stable", prior_category="9", months=3),
        lambda: lung_rads_exam(["4A"]),
        lambda: lung_rads_exam(lung_rads("solid", 7)),
        lambda: lung_rads_exam([], new_nodules=-1),
        lambda: lung_rads_exam([], new_nodules=1.5),
        lambda: lung_rads_exam([], priors_pending="maybe"),
    ],
)
def test_impossible_input_is_refused(call) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        call()
