# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022 for one nodule: every boundary of the table, growth, stepping down, features, impossible input."""

import itertools
import math

import pytest

from lungcad.guidelines import KINDS, STATUSES, lung_rads

ORDER = ("1", "2", "3", "4A", "4B", "4X")


@pytest.mark.parametrize(
    ("mean_mm", "status", "category"),
    [
        (5.9, "baseline", "2"), (6.0, "baseline", "3"), (7.9, "baseline", "3"), (8.0, "baseline", "4A"),
        (14.9, "baseline", "4A"), (15.0, "baseline", "4B"), (45, "baseline", "4B"), (0.5, "baseline", "2"),
        (3.9, "new", "2"), (4.0, "new", "3"), (5.9, "new", "3"), (6.0, "new", "4A"), (7.9, "new", "4A"),
        (8.0, "new", "4B"), (15.0, "new", "4B"),
        (2.0, "growing", "4A"), (3.9, "growing", "4A"), (7.9, "growing", "4A"), (8.0, "growing", "4B"),
        (5.9, "stable", "2"), (6.0, "stable", "3"), (8.0, "stable", "4A"), (15.0, "stable", "4B"),
    ],
)  # fmt: skip
def test_solid_by_size_and_status(mean_mm: float, status: str, category: str) -> None:
    assert lung_rads("solid", mean_mm, status=status).category == category


@pytest.mark.parametrize(
    ("mean_mm", "solid_mm", "status", "category"),
    [
        (5.9, None, "baseline", "2"), (5.9, 5.9, "baseline", "2"), (6.0, 5.9, "baseline", "3"),
        (6.0, 0, "baseline", "3"),
        (6.0, 6.0, "baseline", "4A"), (10, 6, "baseline", "4A"), (10, 7.9, "baseline", "4A"), (10, 8, "baseline", "4B"),
        (5, None, "new", "3"), (5, 0, "new", "3"), (5.9, 3.9, "new", "3"), (5.9, 4.0, "new", "4B"),
        (8, 3.9, "new", "4A"), (6.0, 0, "new", "4A"), (8, 4.0, "new", "4B"), (20, 12, "new", "4B"),
        (8, 3.9, "growing", "4A"), (8, 4.0, "growing", "4B"), (5, 2.0, "growing", "4A"), (12, 9, "growing", "4B"),
        (5.9, 3.0, "stable", "2"), (10, 5.9, "stable", "3"), (10, 6, "stable", "4A"), (10, 8, "stable", "4B"),
    ],
)  # fmt: skip
def test_part_solid_by_total_and_solid_part(mean_mm: float, solid_mm: float | None, status: str, category: str) -> None:
    assert lung_rads("part-solid", mean_mm, solid_mm, status).category == category


@pytest.mark.parametrize(
    ("mean_mm", "status", "category"),
    [
        (29.9, "baseline", "2"), (30, "baseline", "3"), (29.9, "new", "2"), (30, "new", "3"), (20, "growing", "2"),
        (29.9, "growing", "2"), (30, "growing", "3"), (30, "stable", "2"), (60, "stable", "2"),
    ],
)  # fmt: skip
def test_non_solid_changes_only_at_30_mm(mean_mm: float, status: str, category: str) -> None:
    assert lung_rads("non-solid", mean_mm, status=status).category == category


@pytest.mark.parametrize(
    ("raw", "category"), [(5.94, "2"), (5.949, "2"), (5.95, "3"), ((6.1 + 5.8) / 2, "3"), (7.949, "3"), (7.95, "4A")]
)
def test_the_mean_counts_to_one_decimal_half_up(raw: float, category: str) -> None:
    assert lung_rads("solid", raw).category == category


def test_a_part_solid_nodule_needs_its_solid_part_where_it_decides() -> None:
    for status in ("baseline", "new", "stable", "growing"):
        result = lung_rads("part-solid", 8, status=status)
        assert result.category is None
        assert result.reason.startswith("not computed: needs solid_mm")
        assert result.label == "not computed" and result.management.startswith("not computed")


@pytest.mark.parametrize(
    ("arguments", "category"),
    [
        ({"mean_mm": 9.9}, "2"), ({"mean_mm": 10.0}, "4A"), ({"mean_mm": 9.94}, "2"), ({"mean_mm": 9.95}, "4A"),
        ({"mean_mm": 9.9, "smooth": True, "shape": "triangular"}, "2"), ({"mean_mm": 9.9, "status": "new"}, "2"),
        ({"mean_mm": 9.9, "smooth": False}, "4A"), ({"mean_mm": 9.9, "shape": "round"}, "4A"),
        ({"mean_mm": 9.9, "status": "stable"}, "2"), ({"mean_mm": 7.0, "status": "growing"}, "4A"),
        ({"mean_mm": 7.0, "suspicious": ["spiculation"]}, "4X"),
        ({"mean_mm": 9.9, "kind": "part-solid", "solid_mm": 5}, "3"),
    ],
)  # fmt: skip
def test_juxtapleural_nodules_of_benign_form_are_category_2_below_10_mm(arguments: dict, category: str) -> None:
    assert lung_rads(**{"kind": "solid", "juxtapleural": True, **arguments}).category == category


def test_what_was_taken_for_granted_is_told() -> None:
    assert lung_rads("solid", 7).assumed == ("baseline screening CT",)
    assert any("smooth" in text for text in lung_rads("solid", 9, juxtapleural=True).assumed)
    told = lung_rads("solid", 9, juxtapleural=True, smooth=True, shape="oval", status="new")
    assert told.assumed == ()


@pytest.mark.parametrize("pattern", ["complete", "diffuse", "central", "popcorn", "concentric rings", "laminated"])
def test_benign_calcification_and_fat_are_category_1_at_any_size(pattern: str) -> None:
    assert lung_rads("solid", 20, calcification=pattern).category == "1"
    assert lung_rads("solid", 20, fat=True).category == "1"
    assert lung_rads("solid", 20, calcification="eccentric").category == "4B"


@pytest.mark.parametrize(
    ("prior_mm", "mean_mm", "months", "category"),
    [
        (5.0, 6.6, 12, "4A"), (5.0, 6.5, 12, "3"), (7.0, 9.0, 12, "4B"), (7.0, 9.0, 3, "4B"), (2.0, 3.6, 12, "4A"),
        (5.0, 6.6, 12.4, "4A"), (5.0, 6.6, 12.5, "3"), (7.0, 9.0, 24, "4A"), (5.04, 6.54, 6, "3"), (9.0, 7.0, 6, "3"),
    ],
)  # fmt: skip
def test_growth_is_more_than_1_5_mm_within_12_months(
    prior_mm: float, mean_mm: float, months: float, category: str
) -> None:
    assert lung_rads("solid", mean_mm, prior_mm=prior_mm, months=months).category == category


def test_measured_sizes_decide_against_the_status_that_was_told() -> None:
    assert lung_rads("solid", 6.5, status="growing", prior_mm=5.0, months=12).category == "3"
    assert lung_rads("solid", 6.6, status="stable", prior_mm=5.0, months=12).category == "4A"


def test_growth_over_a_long_interval_stays_open_and_never_steps_down() -> None:
    result = lung_rads("solid", 7.9, prior_mm=6.0, months=18, prior_category="2")
    assert result.category == "3" and "growth not decided" in result.reason
    assert any(text.startswith("not computed: needs an exam at most 12 months before") for text in result.not_computed)
    assert lung_rads("solid", 7.9, status="stable", prior_mm=6.0, months=18, prior_category="2").category == "3"
    assert lung_rads("non-solid", 33, prior_mm=31, months=18).category == "3"
    assert lung_rads("non-solid", 33, prior_mm=31, months=18, slow_growth=True).category == "2"
    assert lung_rads("solid", 7.9, juxtapleural=True, prior_mm=6.0, months=18).category == "3"
    # The reader may know of an exam in between.
    assert lung_rads("solid", 7.9, status="growing", prior_mm=6.0, months=18).category == "4A"


def test_growth_over_a_long_interval_that_some_year_must_hold_is_growth() -> None:
    proven = lung_rads("solid", 12.0, prior_mm=5.0, months=13)  # +7.0 mm in two parts: one has 3.5 mm or more
    assert proven.category == "4B" and proven.not_computed == ()
    assert lung_rads("solid", 6.7, prior_mm=5.0, months=36).category == "3"  # +1.7 mm in three parts


def test_growth_without_an_interval_is_not_computed() -> None:
    result = lung_rads("solid", 7.0, prior_mm=5.0)
    assert result.category is None and result.reason.startswith("not computed: needs months")
    assert lung_rads("solid", 6.4, prior_mm=5.0).category == "3"


@pytest.mark.parametrize(
    ("sizes", "category"),
    [
        ({"solid_mm": 3.0, "prior_solid_mm": 0}, "4A"), ({"solid_mm": 4.0, "prior_solid_mm": 0}, "4B"),
        ({"solid_mm": 3.9, "prior_solid_mm": 2.3}, "4A"), ({"solid_mm": 5.0, "prior_solid_mm": 3.0}, "4B"),
        ({"solid_mm": 4.5, "prior_solid_mm": 3.0}, "3"), ({"solid_mm": 0, "prior_solid_mm": 2.0}, "3"),
        ({"solid_mm": 4.5, "prior_solid_mm": 3.0, "prior_mm": 6.0}, "3"),
    ],
)  # fmt: skip
def test_a_part_solid_nodule_grows_by_its_solid_part(sizes: dict, category: str) -> None:
    assert lung_rads("part-solid", 10, months=12, **sizes).category == category


def test_the_total_size_of_a_part_solid_nodule_does_not_show_growth() -> None:
    result = lung_rads("part-solid", 10, 5, prior_mm=8, months=6)
    assert result.category is None and "prior_solid_mm" in result.reason
    assert lung_rads("part-solid", 10, prior_solid_mm=2, months=6).category is None


@pytest.mark.parametrize(
    ("prior_category", "months", "category"),
    [
        ("3", 6, "2"), ("3", 5.5, "2"), ("3", 5.4, "3"), ("3", 3, "3"), ("4A", 3, "3"), ("4A", 2.4, "4A"),
        ("4A", 12, "3"),
        ("2", 12, "2"), ("4B", 12, "4B"), ("4X", 12, "4B"), ("3", None, "3"), ("4A", None, "4A"), ("1", 12, "4A"),
    ],
)  # fmt: skip
def test_a_stable_nodule_steps_down(prior_category: str, months: float | None, category: str) -> None:
    result = lung_rads("solid", 9, status="stable", prior_category=prior_category, months=months)
    assert result.category == category


def test_a_step_down_that_lacks_an_input_says_which() -> None:
    assert lung_rads("solid", 9, status="stable").not_computed == (
        "not computed: needs prior_category, which can lower or raise the category of a stable nodule",
    )
    assert lung_rads("solid", 9, status="stable", prior_category="4A").not_computed == (
        "not computed: needs months to step down",
    )


def test_crossing_a_limit_without_growth_goes_by_size() -> None:
    result = lung_rads("solid", 6.2, prior_mm=5.5, months=12, prior_category="2")
    assert result.category == "3" and "higher class of size" in result.reason
    assert lung_rads("solid", 7.0, prior_mm=6.5, months=6, prior_category="3").category == "2"


def test_a_part_solid_nodule_that_grows_around_its_solid_part_does_not_step_down() -> None:
    prior = {"prior_solid_mm": 4.0, "months": 6, "prior_category": "3"}
    grown = lung_rads("part-solid", 14, 4.5, prior_mm=8, **prior)
    assert grown.category == "3" and "the whole nodule grew" in grown.reason
    assert lung_rads("part-solid", 9, 4.5, prior_mm=8, **prior).category == "2"


def test_slow_growth_is_4b_but_not_of_a_non_solid_nodule() -> None:
    assert lung_rads("solid", 7, status="stable", slow_growth=True).category == "4B"
    assert lung_rads("part-solid", 7, 3, status="stable", slow_growth=True).category == "4B"
    assert lung_rads("non-solid", 40, status="stable", slow_growth=True).category == "2"
    assert lung_rads("solid", 8, prior_mm=6, months=24, slow_growth=True).category == "4B"


def test_suspicious_features_make_3_and_4_a_4x_and_leave_2_alone() -> None:
    for mean_mm in (6, 8, 15):
        assert lung_rads("solid", mean_mm, suspicious=["spiculation"]).category == "4X"
    assert lung_rads("solid", 5.9, suspicious=("spiculation", "lymphadenopathy")).category == "2"
    assert lung_rads("non-solid", 20, suspicious=["non-solid doubled within a year"]).category == "2"
    assert lung_rads("solid", 9, status="stable", prior_category="4A", months=3, suspicious=["other"]).category == "4X"


def test_a_category_that_was_raised_at_the_prior_exam_stays_raised() -> None:
    # 8.5 mm, new three months ago (4B then), stable now: 4A by its size alone
    by_size = lung_rads("solid", 8.5, prior_mm=8.5, months=3)
    assert by_size.category == "4A" and "lower or raise" in by_size.not_computed[0]
    assert lung_rads("solid", 8.5, prior_mm=8.5, months=3, prior_category="4B").category == "4B"


def test_features_below_category_3_are_told_and_a_doubled_non_solid_nodule_asks_a_reader() -> None:
    doubled = lung_rads("non-solid", 25, status="growing", suspicious=["non-solid doubled within a year"])
    assert doubled.category == "2" and "doubled within a year" in doubled.reason
    assert len(doubled.not_computed) == 1 and doubled.not_computed[0].startswith("not computed: needs a reader")
    small = lung_rads("solid", 5, suspicious=["spiculation"])
    assert (small.category, small.not_computed) == ("2", ()) and "spiculation" in small.reason
    assert "other" in lung_rads("solid", 9, juxtapleural=True, suspicious=["other"]).reason
    assert lung_rads("non-solid", 30, suspicious=["non-solid doubled within a year"]).category == "4X"


@pytest.mark.parametrize(
    ("now", "before", "category"),
    [
        # A part-solid nodule that became solid: all of it is solid part, +5.0 and +0.5 mm; 4A is a part below 4 mm.
        (("solid", 7.0, None), ("part-solid", 7.0, 2.0), "4B"), (("solid", 7.0, None), ("part-solid", 7.0, 6.5), "3"),
        (("solid", 3.9, None), ("part-solid", 3.9, 2.3), "4A"), (("solid", 7.0, None), ("part-solid", 7.0, 0), "4B"),
        (("solid", 7.0, None), (None, 7.0, 2.0), "4B"), (("solid", 7.0, None), (None, 7.0, 7.0), "3"),
        # A non-solid one has no solid part before: it is new.
        (("part-solid", 12.0, 5.0), ("non-solid", 12.0, None), "4B"),
        (("part-solid", 12.0, 3.9), ("non-solid", 12.0, None), "4A"),
        (("part-solid", 12.0, 0), ("non-solid", 12.0, None), "3"),
        # Non-solid to solid has no row; at 15 mm and more all rows are 4B.
        (("solid", 7.0, None), ("non-solid", 7.0, None), None), (("solid", 7.0, None), (None, 7.0, 0), None),
        (("solid", 15.0, None), ("non-solid", 15.0, None), "4B"),
        # A solid one was solid part as a whole: -2.0 and +2.0 mm.
        (("part-solid", 7.0, 5.0), ("solid", 7.0, None), "3"), (("part-solid", 12.0, 9.0), ("solid", 7.0, None), "4B"),
        (("part-solid", 7.2, 4.0), ("solid", 5.5, None), None),  # the whole grew by 1.7 mm, its solid part did not
        # Non-solid below 30 mm is 2 whatever its course.
        (("non-solid", 9.0, None), ("solid", 9.0, None), "2"), (("non-solid", 9.0, 0), ("part-solid", 9.0, 4.0), "2"),
        (("non-solid", 30.0, None), ("solid", 30.0, None), None),
    ],
)  # fmt: skip
def test_a_change_of_kind_is_judged_by_the_solid_part(now: tuple, before: tuple, category: str | None) -> None:
    result = lung_rads(*now, prior_kind=before[0], prior_mm=before[1], prior_solid_mm=before[2], months=12)
    assert result.category == category
    changed = f"the kind changed from {before[0]} to {now[0]}"
    if category is None and before[0]:
        assert result.reason.startswith("not computed: the kind changed") and changed in result.reason
    elif before[0]:
        assert changed in result.reason and any(changed in text for text in result.not_computed)


def test_a_change_of_kind_asks_for_what_it_needs() -> None:
    assert "needs prior_solid_mm" in lung_rads("solid", 7, prior_kind="part-solid", prior_mm=7, months=12).reason
    assert "needs solid_mm" in lung_rads("part-solid", 7, prior_kind="non-solid", prior_mm=7, months=12).reason
    assert "needs prior_solid_mm:" in lung_rads("part-solid", 7, 4, prior_mm=7, months=12).reason
    whole = lung_rads("part-solid", 7.2, 4, prior_kind="solid", prior_mm=5.5, months=12).reason
    assert "3 by its solid part, 4A as a solid nodule that grew by 1.7 mm" in whole
    assert "needs prior_mm" in lung_rads("part-solid", 7, 4, "stable", prior_kind="solid").reason
    assert "needs months" in lung_rads("solid", 7, prior_kind="part-solid", prior_mm=7, prior_solid_mm=2).reason
    told = lung_rads("solid", 7, status="growing", prior_kind="part-solid", prior_mm=7)
    assert told.category == "4B" and "as told" in told.reason
    slow = lung_rads("solid", 7, prior_kind="part-solid", prior_mm=7, prior_solid_mm=5, months=24)
    assert slow.category == "3" and any("an exam at most 12 months before" in text for text in slow.not_computed)
    at_pleura = lung_rads("solid", 9, juxtapleural=True, prior_kind="part-solid", prior_mm=9, prior_solid_mm=8.5)
    assert at_pleura.category == "4A"  # not the benign form that has always been solid
    same = lung_rads("solid", 7, prior_mm=7, months=12)
    assert same.assumed == ("solid at the prior exam too",)
    assert lung_rads("solid", 7, prior_mm=7, prior_kind="solid", months=12).assumed == ()


def test_a_course_that_is_not_known_gives_the_size_and_asks() -> None:
    result = lung_rads("solid", 7.0, status=None, prior_category="2")
    assert result.category == "3" and "needs an exam at most 12 months before" in result.not_computed[0]


def test_a_nodule_proven_benign_is_category_2() -> None:
    assert lung_rads("solid", 20, proven_benign=True).category == "2"


def test_every_category_has_management_and_a_published_probability() -> None:
    for mean_mm, months, probability in ((5, "12", "<1 %"), (6, "6", "1-2 %"), (8, "3", "5-15 %"), (15, "", ">15 %")):
        result = lung_rads("solid", mean_mm)
        assert f"{months}" in result.management and result.probability == probability


@pytest.mark.parametrize("status", STATUSES)
def test_a_larger_solid_nodule_is_never_less_suspicious(status: str) -> None:
    ranks = [ORDER.index(str(lung_rads("solid", tenth / 10, status=status).category)) for tenth in range(1, 400)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("status", STATUSES)
def test_a_larger_solid_part_is_never_less_suspicious(status: str) -> None:
    for mean_mm in (5.0, 6.0, 20.0):
        sizes = [tenth / 10 for tenth in range(0, int(10 * mean_mm) + 1)]
        found = [lung_rads("part-solid", mean_mm, solid_mm, status).category for solid_mm in sizes]
        ranks = [ORDER.index(str(category)) for category in found]
        assert ranks == sorted(ranks)


def test_growing_and_new_are_never_less_suspicious_than_baseline() -> None:
    for kind, tenth in itertools.product(KINDS, range(1, 400, 3)):
        solid_mm = tenth / 20 if kind == "part-solid" else None
        rank = {
            status: ORDER.index(str(lung_rads(kind, tenth / 10, solid_mm, status).category))
            for status in ("baseline", "new", "growing")
        }
        assert rank["baseline"] <= rank["new"]
        assert rank["baseline"] <= rank["growing"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean_mm": -1}, {"mean_mm": 0}, {"mean_mm": math.nan}, {"mean_mm": math.inf}, {"mean_mm": True},
        {"mean_mm": "7"}, {"mean_mm": None}, {"mean_mm": 1000}, {"kind": "ground glass"}, {"kind": None}, {"kind": 3},
        {"solid_mm": 8}, {"solid_mm": 3}, {"kind": "part-solid", "solid_mm": 8}, {"kind": "part-solid", "solid_mm": -1},
        {"kind": "part-solid", "solid_mm": True}, {"kind": "non-solid", "solid_mm": 2}, {"status": "old"},
        {"juxtapleural": "yes"}, {"smooth": 2}, {"shape": "square"}, {"calcification": "some"}, {"fat": "no"},
        {"prior_mm": -2, "months": 3}, {"prior_mm": 5, "months": 0}, {"prior_mm": 5, "months": -3},
        {"months": math.nan},
        {"prior_mm": 5, "status": "new"}, {"prior_category": "3"}, {"prior_category": "5", "status": "stable"},
        {"prior_category": "3", "status": "new"}, {"suspicious": "spiculation"}, {"suspicious": ["big"]},
        {"suspicious": True}, {"slow_growth": True}, {"slow_growth": True, "status": "new"}, {"proven_benign": "?"},
        {"prior_kind": "solid"}, {"prior_kind": "solid", "status": "new"}, {"prior_kind": "mixed", "prior_mm": 5},
        {"prior_kind": "non-solid", "prior_mm": 5, "prior_solid_mm": 2},
        {"prior_kind": "solid", "prior_mm": 5, "prior_solid_mm": 2},
        {"kind": "part-solid", "prior_mm": 4, "prior_solid_mm": 5}, {"kind": "part-solid", "prior_solid_mm": -1},
    ],
)  # fmt: skip
def test_impossible_input_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"must|needs|has no|absent|leave|kind"):
        lung_rads(**{"kind": "solid", "mean_mm": 7, **arguments})
