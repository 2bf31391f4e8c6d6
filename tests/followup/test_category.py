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


def test_a_nodule_at_the_pleura_stays_2() -> None:
    touching = replace(nodule(9.0), location=Location("left", "upper", 0.0, True))
    found = lesion_category("stable", nodule(9.0), touching, 365, THIN)
    assert found is not None and found.category == "2"


def test_the_highest_counts_for_the_exam_and_what_is_gone_has_none() -> None:
    assert lesion_category("resolved", nodule(9.0), None, 365, THIN) is None
    assert exam_category([None], 0) is None
    found = exam_category([LungRads("2", "small"), None, LungRads("4A", "large")], 1)
    assert found is not None and found.category == "4A"
    many = exam_category([LungRads("2", "small")] * 7, 7)
    assert many is not None and many.category == "0" and "7 new nodules" in many.reason


def test_words_begin_with_the_condition() -> None:
    words = category_words(LungRads("3", "solid, 6.0 mm", not_computed=("not computed: needs prior_category",)))
    assert words.startswith("If both are screening CTs") and "proposed Lung-RADS 3" in words and "Open:" in words
    assert category_words(LungRads(None, "not computed: needs months")) == "Lung-RADS: not computed: needs months."
