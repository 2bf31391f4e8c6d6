# SPDX-License-Identifier: Apache-2.0
"""A category is printed only of what was measured, with all that it takes for granted."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from report_case import (
    RUN,
    at_the_pleura,
    ball_volume,
    measured_ball,
    sized_nodule,
    some_findings,
    write_results,
)

import lungcad
from lungcad import Finding, InputError, Notice
from lungcad.results.nodules_json import nodules_document, reported_entries
from lungcad.results.proposals.assessment import Assessment, assess
from lungcad.results.result import Result
from lungcad.results.ris_text import ris_text

SCHEMA = json.loads((Path(lungcad.__file__).parent / "results" / "schemas" / "nodules.schema.json").read_text())


def _result(*findings: Finding, **changes: Any) -> Result:
    return Result(ball_volume(), findings, **RUN | changes)


def _assessed(*findings: Finding, **changes: Any) -> Assessment:
    found = assess(_result(*findings, **changes))
    assert found is not None
    return found


@pytest.mark.parametrize(("nodule", "category"), [
    (sized_nodule(5.9), "2"), (sized_nodule(6.0), "3"), (sized_nodule(8.0), "4A"), (sized_nodule(15.0), "4B"),
    (sized_nodule(20.0, "non-solid"), "2"), (sized_nodule(12.0, "part-solid", solid_mm=6.0), "4A"),
])  # fmt: skip
def test_category_of_onesized_nodule(nodule: Finding, category: str) -> None:
    found = _assessed(nodule)
    assert (found.guideline, found.category, found.finding) == ("Lung-RADS v2022", category, 1)
    assert found.reason.startswith("finding 1, ") and any("baseline" in text for text in found.assumptions)


def test_highest_category_counts_and_names_its_finding() -> None:
    found = _assessed(sized_nodule(20.0, "non-solid", 0.9), sized_nodule(9.0, score=0.8), sized_nodule(7.0, score=0.7))
    assert (found.category, found.finding) == ("4A", 2) and "finding 2, solid, 9.0 mm" in found.reason


def test_every_finding_has_its_own_category_or_says_what_it_lacks() -> None:
    unmeasured = Finding((0.0, 0.0, 0.0), 9.0, 0.7)
    found = _assessed(sized_nodule(20.0, "non-solid", 0.9), sized_nodule(9.0, "solid", 0.8), unmeasured)
    assert [(one.id, one.category) for one in found.findings] == [(1, "2"), (2, "4A"), (3, None)]
    assert "needs a measurement of finding 3" in found.findings[2].reason
    assert _assessed(sized_nodule(9.0), indication="incidental").findings == ()


def test_nothing_without_a_measurement_at_the_operating_point() -> None:
    assert assess(_result(*some_findings())) is None and assess(_result()) is None
    assert assess(_result(sized_nodule(20.0, score=0.4))) is None  # below 0.5


def test_a_finding_without_a_score_is_reported_and_judged_too() -> None:
    unknown = Finding((0.0, 0.0, 0.0), 30.0)
    found = _assessed(sized_nodule(5.0), unknown)
    assert found.category is None and found.reason == "not computed: needs a measurement of finding 2; at least 2"
    assert _assessed(sized_nodule(5.0), sized_nodule(20.0, score=None)).category == "4B"


def test_candidates_below_the_operating_point_do_not_count() -> None:
    assert _assessed(sized_nodule(5.0), sized_nodule(20.0, score=0.4)).category == "2"


@pytest.mark.parametrize(("second", "needed"), [
    (Finding((0.0, 0.0, 0.0), 9.0, 0.8, 0.8), "needs a measurement of finding 2"),
    (sized_nodule(9.0, score=0.8, doubts=("slices too thick",)), "without doubt (slices too thick)"),
    (sized_nodule(9.0, None, score=0.8), "needs the kind of finding 2"),
    (sized_nodule(9.0, "part-solid", score=0.8), "needs the diameter of the solid part (finding 2, part-solid, 9.0 mm"),
    (sized_nodule(9.0, score=0.8, short_axis_mm=10.0), "needs possible sizes of finding 2"),
])  # fmt: skip
def test_one_finding_that_cannot_be_judged_leaves_the_category_open(second: Finding, needed: str) -> None:
    found = _assessed(sized_nodule(7.0), second)
    assert found.category is None and needed in found.reason and "at least 3" in found.reason


def test_what_cannot_be_judged_does_not_hold_up_the_highest_category_of_a_size() -> None:
    found = _assessed(sized_nodule(15.0), Finding((0.0, 0.0, 0.0), 9.0, 0.8, 0.8))
    assert (found.category, found.finding) == ("4B", 1)
    assert found.findings[1].category is None and "needs a measurement of finding 2" in found.findings[1].reason
    assert found.reason == "finding 1, solid, 15.0 mm, baseline: 15 mm or more"


QUESTION = "margin and shape of finding 1: category 2 if smooth and oval, lentiform or triangular"


@pytest.mark.parametrize(("nodule", "category", "asked"), [
    (sized_nodule(9.0), "4A", True), (sized_nodule(6.0), "3", True), (sized_nodule(9.9), "4A", True),
    (sized_nodule(5.9), "2", False), (sized_nodule(10.0), "4A", False),
    (sized_nodule(9.0, "part-solid", solid_mm=7.0), "4A", False), (sized_nodule(9.0, "part-solid"), None, False),
])  # fmt: skip
def test_contact_with_the_pleura_alone_lowers_no_category_but_asks(
    nodule: Finding, category: str | None, asked: bool
) -> None:
    found = _assessed(at_the_pleura(nodule))
    assert found.category == category and not any("smooth" in text for text in found.assumptions)
    assert found.not_computed == ((f"not computed: needs {QUESTION}",) if asked else ())
    assert found.findings[0].not_computed == found.not_computed


def test_the_question_at_the_pleura_is_in_page_and_text(tmp_path: Path) -> None:
    findings = [at_the_pleura(sized_nodule(9.0))]
    page = (write_results(tmp_path, ball_volume(), findings, **RUN) / "report.html").read_text(encoding="utf-8")
    assert f"<b>Open:</b> {QUESTION}." in page
    assert f"baseline: 8 mm or more, below 15 mm); open: {QUESTION}" in _text(*findings)


def test_lungs_that_are_cut_off_make_it_category_0_beside_what_was_seen(tmp_path: Path) -> None:
    volume = ball_volume(warnings=[Notice("W-COVERAGE", "The scan ends inside the lungs towards the feet.")])
    found = assess(Result(volume, [sized_nodule(16.0)], **RUN))
    assert found is not None and found.category == "0" and found.reason == (
        "part of the lungs cannot be judged; highest of the findings so far: 4B (finding 1, solid, 16.0 mm, baseline: "
        "15 mm or more)"
    )
    assert "repeat the incomplete part" in found.recommendation
    page = (write_results(tmp_path, volume, [sized_nodule(16.0)], **RUN) / "report.html").read_text(encoding="utf-8")
    assert "baseline screening CT: Lung-RADS 0, incomplete; finding 1: 4B</p>" in page
    assert "for the nodules seen, category 4B or more: diagnostic chest" in found.recommendation
    unsure = assess(Result(volume, [sized_nodule(9.0), Finding((0.0, 0.0, 0.0), 9.0, 0.8, 0.8)], **RUN))
    assert unsure is not None and unsure.category == "0" and "4A or more: low-dose CT" in unsure.recommendation
    assert "so far: not computed (needs a measurement of finding 2; at least 4A)" in unsure.reason
    found = assess(Result(volume, [sized_nodule(9.0)], **RUN, indication="incidental"))
    assert found is not None and "no nodule in the part of the lungs that is not shown" in found.assumptions


@pytest.mark.parametrize(("doubt", "spacing", "allowed"), [
    ("the nodule touches the pleura, where its border is uncertain", 2.5, True),
    ("slices are 2.0 mm apart (volumes need 1.5 mm or less)", 2.0, True),
    ("slices are 2.5 mm apart (volumes need 1.5 mm or less)", 2.50000004, True),  # as headers of 2.5 mm come out
    ("slices are 3.0 mm apart (volumes need 1.5 mm or less)", 3.0, False),
    ("the nodule reaches the edge of the measured cube", 1.0, False),
    ("a doubt that nobody has thought of", 1.0, False),
])  # fmt: skip
def test_doubts_forbid_a_category_unless_it_can_bear_them(doubt: str, spacing: float, allowed: bool) -> None:
    volume = ball_volume()
    volume.affine[2, 2] = spacing
    found = assess(Result(volume, [sized_nodule(9.0, doubts=(doubt,))], **RUN))
    assert found is not None and (found.category == "4A") == allowed
    assert any(doubt in text for text in found.assumptions) == allowed != (doubt in found.reason)


def test_a_doubt_that_several_findings_share_is_said_once() -> None:
    doubt = "the nodule touches the pleura, where its border is uncertain"
    doubtful = sized_nodule(6.0, score=0.7, doubts=(doubt,))
    found = _assessed(sized_nodule(9.0, doubts=(doubt,)), sized_nodule(7.0, score=0.8), doubtful)
    assert f"findings 1, 3 as measured, although {doubt}" in found.assumptions


def test_findings_that_lack_the_same_are_named_together() -> None:
    unmeasured = [Finding((0.0, 0.0, 0.0), 9.0, score) for score in (0.8, 0.7)]
    found = _assessed(at_the_pleura(sized_nodule(9.0)), at_the_pleura(sized_nodule(7.0)), *unmeasured)
    assert found.reason == "not computed: needs a measurement of findings 3, 4; at least 4A"
    assert [one.reason for one in found.findings][3] == "not computed: needs a measurement of finding 4"
    assert found.not_computed == (f"not computed: needs {QUESTION.replace('finding 1', 'findings 1, 2')}",)


def test_calcification_does_not_lower_a_category_but_is_said() -> None:
    found = _assessed(sized_nodule(9.0, calcification="central"))
    assert found.category == "4A" and "calcification (central) of finding 1 not taken into account" in found.assumptions


def _by_chance(*findings: Finding) -> Assessment:
    return _assessed(*findings, indication="incidental")


def test_fleischner_only_when_asked_for() -> None:
    nodules = sized_nodule(9.0), sized_nodule(5.0, score=0.8)
    assert _assessed(*nodules).guideline == _assessed(*nodules, indication="screening").guideline == "Lung-RADS v2022"
    found = _by_chance(*nodules)
    assert (found.guideline, found.category, found.finding) == ("Fleischner 2017", ">8 mm", 1)
    assert "multiple" in found.reason and "risk not known" in found.reason
    assert "finding 1 is the most suspicious one" in found.assumptions
    assert _by_chance(nodules[0]).recommendation == "consider CT at 3 months, PET/CT or tissue sampling"


def test_fleischner_judges_the_leading_nodule_alone_too_as_the_other_mark_may_be_none() -> None:
    assert _by_chance(sized_nodule(25.0), sized_nodule(4.0, score=0.8)).recommendation == (
        "if other marks are nodules too: at low risk CT at 3-6 months, then consider CT at 18-24 months; at high risk "
        "CT at 3-6 months, then CT at 18-24 months; "
        "if it is the only nodule: consider CT at 3 months, PET/CT or tissue sampling"
    )
    small = _by_chance(sized_nodule(5.0), sized_nodule(4.0, score=0.8)).recommendation  # the same row for both
    assert small == "at low risk no routine follow-up; at high risk optional CT at 12 months"


@pytest.mark.parametrize("unsure", [
    sized_nodule(28.0, score=0.8, doubts=("the nodule reaches the edge of the measured cube",)),
    Finding((70.0, -12.0, 33.0), 25.0, 0.8, 0.8),
    sized_nodule(28.0, None, 0.8),
])  # fmt: skip
def test_fleischner_stays_open_where_a_finding_that_is_not_measured_may_lead(unsure: Finding) -> None:
    found = _by_chance(sized_nodule(5.0), unsure)
    assert (found.category, found.finding) == (None, 1) and found.reason.startswith("not computed: needs ")
    assert "of finding 2" in found.reason and "at least <6 mm (finding 1, solid, 5 mm" in found.reason
    assert "follow-up" not in found.recommendation
    assert not any("edge" in text for text in found.assumptions)  # finding 2 was not used
    text = _text(sized_nodule(5.0), unsure, indication="incidental")
    assert "at least <6 mm" in text and "follow-up" not in text
    large = _by_chance(sized_nodule(9.0), unsure)  # no other finding could ask for more
    assert large.category == ">8 mm" and len(large.not_computed) == 1 and "of finding 2" in large.not_computed[0]
    assert "if it is the only nodule: consider CT at 3 months" in large.recommendation
    alone = _by_chance(unsure) if unsure.measurement else None
    assert alone is None or (alone.category is None and alone.reason.startswith("not computed"))


def test_fleischner_knows_the_solid_part() -> None:
    large, small = (_by_chance(sized_nodule(12.0, "part-solid", solid_mm=core)).recommendation for core in (9.0, 5.0))
    assert "as the solid part is larger than 8 mm" in large and "CT every year for 5 years" in small
    unknown = _by_chance(sized_nodule(12.0, "part-solid")).recommendation
    assert "needs the diameter of the solid part to say which" in unknown


def test_fleischners_leading_nodule_is_the_most_suspicious_not_the_largest() -> None:
    found = _by_chance(sized_nodule(20.0, "non-solid"), sized_nodule(12.0, "part-solid", 0.8, solid_mm=9.0))
    assert found.finding == 2 and "finding 2, part-solid, 12 mm" in found.reason
    assert "finding 2 is the most suspicious one" in found.assumptions
    perhaps = _by_chance(sized_nodule(9.0), Finding((0.0, 0.0, 0.0)), sized_nodule(12.0, "part-solid", 0.8))
    assert perhaps.finding == 1 and [one.split(": needs ")[1] for one in perhaps.not_computed] == [
        "a measurement of finding 3", "the diameter of the solid part of finding 2",
    ]  # fmt: skip


def test_fleischner_is_not_for_a_mass() -> None:
    for found in (_by_chance(sized_nodule(45.0)), _by_chance(sized_nodule(9.0), sized_nodule(45.0, "non-solid", 0.8))):
        assert found.category is None and found.recommendation.startswith("not applicable: larger than 30 mm, a mass")
        assert "45 mm" in found.reason
    assert "Fleischner 2017: not applicable: larger than 30 mm, a mass" in _text(
        sized_nodule(45.0), indication="incidental"
    )  # fmt: skip
    assert _by_chance(sized_nodule(30.0)).category == ">8 mm"


def test_unknown_indication_is_refused() -> None:
    with pytest.raises(InputError, match=r"indication is routine .expected null, screening or incidental"):
        _result(indication="routine")


@pytest.mark.parametrize("indication", [None, "screening", "incidental"])
def test_document_and_page_carry_it(tmp_path: Path, indication: str | None) -> None:
    folder = write_results(tmp_path, ball_volume(), [measured_ball()], **RUN, indication=indication)
    document = json.loads((folder / "nodules.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    page = " ".join((folder / "report.html").read_text(encoding="utf-8").split())
    box = page.split('class="card assessment"')[1].split("</section>")[0]
    if indication == "incidental":
        assert document["assessment"]["category"] == ">8 mm" and "Fleischner 2017, &gt;8 mm" in box
        assert "Lung-RADS" not in box
    else:
        assert document["assessment"]["category"] == "4B" and "Lung-RADS 4B" in box and "Fleischner" not in page
        condition = "If this is the baseline screening CT" if indication else "If this were a baseline screening CT"
        assert condition in box and "Taken for granted" in box
        assert "Lung-RADS<br>if baseline" in page and "<td>4B</td>" in page


def test_page_without_measurements_has_no_category(tmp_path: Path) -> None:
    folder = write_results(tmp_path, ball_volume(), some_findings(), **RUN)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Lung-RADS" not in page and "Fleischner" not in page
    assert json.loads((folder / "nodules.json").read_text())["assessment"] is None


def _text(*findings: Finding, **changes: Any) -> str:
    document = nodules_document(_result(*findings, **changes))
    return ris_text(document, reported_entries(document))
