# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS category of a nodule after comparison, with its condition; never for what is not comparable."""

from dataclasses import replace

import pytest
from made_pair import sphere

from lungcad import Finding
from lungcad.followup.category import category_words, exam_category, lesion_category
from lungcad.guidelines import LungRads
from lungcad.measurement import Location

THIN = (1.0, 1.0)


def nodule(mean_mm: float, **changes: object) -> Finding:
    size = replace(sphere(mean_mm), long_axis_mm=mean_mm, short_axis_mm=mean_mm, **changes)
    return Finding((0.0, 0.0, 0.0), mean_mm, measurement=size)


@pytest.mark.parametrize(("status", "prior", "now", "days", "category"), [
    ("growing", 5.0, 6.6, 365, "4A"), ("stable", 5.0, 6.5, 365, "3"), ("growing", 7.0, 9.0, 180, "4B"),
    ("growing", 5.0, 6.7, 1095, "3"),  # over three years: by its size
    ("stable", 5.0, 5.0, None, "2"), ("new", None, 3.9, 365, "2"), ("new", None, 6.0, None, "4A"),
    ("growing", 5.0, 6.0, 90, "3"),  # 73 % in volume, but +1.0 mm: no growth by Lung-RADS, and a higher class of size
])  # fmt: skip
def test_category_by_lung_rads_own_rule(
    status: str, prior: float | None, now: float, days: float | None, category: str
) -> None:
    found = lesion_category(status, None if prior is None else nodule(prior), nodule(now), days, THIN)
    assert found is not None and found.category == category


def test_what_is_missing_is_said() -> None:
    open_ones = {
        "comparison": lesion_category("not comparable", nodule(5.0), nodule(9.0), 365, THIN),
        "months": lesion_category("growing", nodule(5.0), nodule(9.0), None, THIN),
        "current": lesion_category("stable", nodule(5.0), replace(nodule(9.0), measurement=None), 365, THIN),
        "prior": lesion_category("stable", nodule(5.0, doubts=("moved",)), nodule(5.0), 365, THIN),
        "kind": lesion_category("new", None, nodule(9.0, kind=None), 365, THIN),
    }
    for word, found in open_ones.items():
        assert found is not None and found.category is None and "not computed" in found.reason and word in found.reason


@pytest.mark.parametrize(("status", "prior", "category"), [("new", None, "4B"), ("stable", 9.0, "4A")])
def test_contact_with_the_pleura_alone_lowers_no_category_but_asks(
    status: str, prior: float | None, category: str
) -> None:
    touching = replace(nodule(9.0), location=Location("left", "upper", 0.0, True))
    found = lesion_category(status, prior and nodule(prior), touching, 365, THIN)
    question = "needs margin and shape of the nodule: category 2 if smooth and oval, lentiform or triangular"
    assert found is not None and found.category == category and f"not computed: {question}" in found.not_computed
    assert "Open: " in category_words(found) and "margin and shape of the nodule" in category_words(found)
    growing = lesion_category("growing", nodule(7.0), touching, 365, THIN)  # benign ones do not grow
    assert growing is not None and (growing.category, growing.not_computed) == ("4B", ())


def test_the_highest_counts_for_the_exam_and_what_is_gone_has_none() -> None:
    assert lesion_category("resolved", nodule(9.0), None, 365, THIN) is None
    assert exam_category([None], 0) is None
    found = exam_category([LungRads("2", "small"), None, LungRads("4A", "large")], 1)
    assert found is not None and found.category == "4A"
    many = exam_category([LungRads("2", "small")] * 7, 7)
    assert many is not None and many.category == "0" and "7 new nodules" in many.reason


def test_a_change_of_kind_is_judged_by_it() -> None:
    core = nodule(12.0, kind="part-solid", solid_mm=5.0)
    grown = lesion_category("stable", nodule(12.0, kind="non-solid"), core, 365, THIN)
    assert grown is not None and grown.category == "4B" and "kind changed from non-solid to part-solid" in grown.reason
    turned = lesion_category("stable", nodule(7.0, kind="non-solid"), nodule(7.0), 365, THIN)
    assert turned is not None and turned.category is None and "no row" in turned.reason


def test_nodules_that_lack_the_same_are_named_together() -> None:
    lacking = [lesion_category("not comparable", nodule(9.0), nodule(9.0), 365, THIN)] * 2
    found = exam_category([*lacking, None, lesion_category("new", None, nodule(7.0), 365, THIN)], 1)
    assert found is not None
    assert found.reason == "not computed: needs a comparison of nodules 1, 2 with the prior scan; at least 4A"
    settled = exam_category([*lacking, None, lesion_category("new", None, nodule(8.0), 365, THIN)], 1)
    assert settled is not None and settled.category == "4B"  # no comparison could raise it


def test_lungs_that_the_current_scan_cuts_off_leave_the_category_at_0() -> None:
    found = exam_category([None, LungRads("4B", "large")], 0, whole_lungs=False)
    assert found is not None and found.category == "0"
    assert "part of the lungs cannot be judged" in found.reason and "4B (nodule 2, large)" in found.reason


def test_the_category_of_the_scan_names_the_nodules_that_it_rests_on() -> None:
    doubt = "the nodule touches the pleura, where its border is uncertain"
    sure, doubted = nodule(7.0), nodule(7.0, doubts=(doubt,))
    each = [lesion_category("new", None, sure, 365, THIN), lesion_category("new", None, doubted, 365, THIN),
            lesion_category("not comparable", sure, sure, 365, THIN), None,
            lesion_category("stable", doubted, doubted, 365, THIN)]  # fmt: skip
    found = exam_category(each, 2)
    assert found is not None and found.category is None
    assert found.reason == "not computed: needs a comparison of nodule 3 with the prior scan; at least 4A"
    assert found.assumed == (f"nodules 2, 5 as measured, although {doubt}",)
    (asked,) = found.not_computed
    assert asked.startswith("not computed: needs the category at the prior CT")
    one = exam_category(each[1:2], 1)
    assert one is not None and one.reason.startswith("nodule 1, solid, 7.0 mm, new") and "nodule 1 as" in one.assumed[0]
    months = exam_category([lesion_category("growing", nodule(5.0), nodule(9.0), None, THIN)], 0)
    assert months is not None and "between the exams (nodule 1, +4.0 mm" in months.reason


def test_words_begin_with_the_condition() -> None:
    words = category_words(LungRads("3", "solid, 6.0 mm", not_computed=("not computed: needs prior_category",)))
    assert words.startswith("If both are screening CTs") and "proposed Lung-RADS 3" in words and "Open:" in words
    assert category_words(LungRads(None, "not computed: needs months")) == "Lung-RADS: not computed: needs months."
