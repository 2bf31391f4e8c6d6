# SPDX-License-Identifier: Apache-2.0
"""Which of several nodules leads by Fleischner 2017."""

import pytest

from lungcad.guidelines import fleischner, fleischner_leading

GLASS_20, GLASS_5 = ("non-solid", 20.0, None), ("non-solid", 5.0, None)
PART_12_9, PART_12_4, PART_12 = ("part-solid", 12.0, 9.0), ("part-solid", 12.0, 4.0), ("part-solid", 12.0, None)
SOLID_5, SOLID_7, SOLID_9 = ("solid", 5.0, None), ("solid", 7.0, None), ("solid", 9.0, None)


@pytest.mark.parametrize(
    ("nodules", "index", "multiple"),
    [
        ([GLASS_20, PART_12_9], 1, True),
        ([SOLID_7, PART_12_4], 1, False),  # CT after 3 to 6 months, not 6 to 12
        ([SOLID_9, PART_12_4], 0, False),
        ([SOLID_9, PART_12_9, ("solid", 11.0, None)], 2, True),
        ([SOLID_7, GLASS_20], 1, False),  # both after 6 to 12 months: the larger
        ([GLASS_5, SOLID_7], 1, False),
        ([SOLID_5, GLASS_5], 0, False),
        ([("solid", 5.4, None), GLASS_5, GLASS_5], 1, True),  # several subsolid ones: CT after 3 to 6 months
        ([SOLID_5, ("solid", 5.3, None)], 1, True),
        ([SOLID_9], 0, False),
        ([("solid", 20.0, None), ("non-solid", 31.0, None)], 1, False),
        ([PART_12_4, ("part-solid", 8.0, 5.0)], 1, True),  # the larger solid part
    ],
)
def test_the_most_suspicious_nodule_leads(nodules: list, index: int, multiple: bool) -> None:
    found = fleischner_leading(nodules)
    assert (found.index, found.multiple, found.not_computed) == (index, multiple, ())
    assert nodules[index][0] in found.reason


def test_the_order_of_the_list_does_not_matter() -> None:
    nodules = [SOLID_5, GLASS_20, PART_12_4, SOLID_7, PART_12_9, GLASS_5]
    for shift in range(len(nodules)):
        turned = nodules[shift:] + nodules[:shift]
        assert turned[fleischner_leading(turned).index] == PART_12_9


def test_an_unknown_solid_part_that_could_lead_is_asked_for() -> None:
    found = fleischner_leading([PART_12, SOLID_9])
    assert (found.index, found.not_computed) == (1, ("not computed: needs solid_mm of nodule 1",))
    assert fleischner_leading([PART_12, ("solid", 13.0, None)]).not_computed == ()
    assert fleischner_leading([PART_12, GLASS_20]).index == 0


def test_its_result_feeds_the_recommendation() -> None:
    nodules = [GLASS_20, PART_12_9]
    found = fleischner_leading(nodules)
    kind, mean_mm, solid_mm = nodules[found.index]
    text = fleischner(kind, mean_mm, None, found.multiple, solid_mm=solid_mm).recommendation
    assert text.startswith("CT at 3-6 months")


@pytest.mark.parametrize(
    "nodules", [[], [("solid", 5.0)], ["solid"], [("mixed", 5.0, None)], [("solid", -1.0, None)], [("non-solid", 9, 2)]]
)
def test_impossible_input_is_refused(nodules: list) -> None:
    with pytest.raises(ValueError, match=r"must|kind"):
        fleischner_leading(nodules)
