# SPDX-License-Identifier: Apache-2.0
"""Text for the radiology report: short, and complete on what a category rests on."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from report_case import RUN, ball_volume, measured_ball, sized_nodule

from lungcad import Finding
from lungcad.guidelines import fleischner, lung_rads
from lungcad.guidelines.inputs import needs
from lungcad.results.nodules_json import nodules_document, reported_entries
from lungcad.results.proposals.plain_words import open_questions, plain_words
from lungcad.results.result import Result
from lungcad.results.ris_text import ris_text


def text_of(*findings: Finding, **changes: Any) -> str:
    document = nodules_document(Result(ball_volume(), findings, **RUN | changes))
    return ris_text(document, reported_entries(document))


def test_text_for_the_radiology_report() -> None:
    text = text_of(measured_ball(), Finding((1.0, 30.0, 5.0), 6.125, 0.4, 0.75))
    for part in ("48 CT slices 2.5 mm apart", "2 marks", "(1) solid 20.0 x 16.0 mm, mean 18.0 mm, 4189 mm3, upper "
                 "third of the left lung, image 11", "(2) about 6 mm (not measured), image 22",
                 "proposed Lung-RADS 4B (", "not a medical device"):  # fmt: skip
        assert part in text, part
    assert text.isascii()


@pytest.mark.parametrize("findings", [
    (), (Finding((1.0, 30.0, 5.0), 6.0, 0.4, 0.75),), (measured_ball(),),
    tuple(Finding((1.0 * n, 30.0, 5.0), 6.0, 0.4, 0.75) for n in range(9)),
])  # fmt: skip
def test_text_has_three_to_five_sentences(findings: tuple[Finding, ...]) -> None:
    text = text_of(*findings)
    assert 3 <= text.count(". ") + 1 <= 5 and text.endswith(".")
    assert ("No mark" in text) == (not findings) and ("and 6 more" in text) == (len(findings) == 9)


def test_the_finding_that_decides_is_named_first_and_unsure_ones_next() -> None:
    small = [sized_nodule(4.0, score=0.95 - 0.01 * n) for n in range(4)]
    unsure = sized_nodule(5.0, score=0.8, doubts=("moved",))
    text = text_of(*small, sized_nodule(16.0, score=0.7), unsure)  # by probability: 1 to 4, the unsure, the large
    assert re.findall(r"\((\d)\) solid", text) == ["6", "5", "1"] and "and 3 more in the report" in text


def test_what_is_taken_for_granted_is_said_once() -> None:
    doubt = "the nodule touches the pleura, where its border is uncertain"
    text = text_of(sized_nodule(9.0, doubts=(doubt,), calcification="central"))
    calcified = "calcification (central) of finding 1 not taken into account"
    assert f"taken for granted: {calcified}; finding 1 as measured, although {doubt}." in text
    assert "baseline), without" not in text and "none was missed" not in text  # the condition and the end say it
    by_chance = text_of(sized_nodule(9.0), indication="incidental")
    assert "35 years or older, no known cancer, no immunosuppression" in by_chance and "as told" not in by_chance


def test_marks_without_a_probability_are_not_called_probable() -> None:
    text = text_of(sized_nodule(9.0), sized_nodule(8.0, score=None))
    assert "2 marks with a nodule probability of 0.5 or more, or an unknown one: (1)" in text


@pytest.mark.parametrize("function", [lung_rads, fleischner])
def test_no_name_of_an_argument_reaches_a_reader(function: Callable[..., Any]) -> None:
    for name in inspect.signature(function).parameters:
        assert "_" not in plain_words(needs(name)), name
    assert plain_words(f"{needs('months')} between the exams (+4.0 mm)") == (
        "not computed: needs the months between the exams (+4.0 mm)"
    )
    assert plain_words("CT at 3-6 months, stable for 12 months") == "CT at 3-6 months, stable for 12 months"
    assert open_questions([needs("solid_mm"), needs("risk")]) == "the diameter of the solid part; the risk of cancer"
