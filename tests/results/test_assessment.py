# SPDX-License-Identifier: Apache-2.0
"""A category is printed only of what was measured, with all that it takes for granted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from report_case import RUN, ball_volume, measured_ball, some_findings, write_results

import lungcad
from lungcad import Finding, InputError
from lungcad.measurement import Location
from lungcad.results.assessment import Assessment, assess
from lungcad.results.nodules_json import nodules_document
from lungcad.results.result import Result
from lungcad.results.ris_text import ris_text

SCHEMA = json.loads((Path(lungcad.__file__).parent / "results" / "schemas" / "nodules.schema.json").read_text())


def _nodule(mean_mm: float, kind: str | None = "solid", score: float = 0.9, **changes: Any) -> Finding:
    sizes = {"long_axis_mm": mean_mm, "short_axis_mm": mean_mm, "mean_diameter_mm": mean_mm, "kind": kind}
    return replace(measured_ball(**sizes | changes), nodule_probability=score)


def _result(*findings: Finding, **changes: Any) -> Result:
    return Result(ball_volume(), findings, **RUN | changes)


def _assessed(*findings: Finding, **changes: Any) -> Assessment:
    found = assess(_result(*findings, **changes))
    assert found is not None
    return found


@pytest.mark.parametrize(("nodule", "category"), [
    (_nodule(5.9), "2"), (_nodule(6.0), "3"), (_nodule(8.0), "4A"), (_nodule(15.0), "4B"),
    (_nodule(20.0, "non-solid"), "2"), (_nodule(12.0, "part-solid", solid_mm=6.0), "4A"),
])  # fmt: skip
def test_category_of_one_nodule(nodule: Finding, category: str) -> None:
    found = _assessed(nodule)
    assert (found.guideline, found.category, found.finding) == ("Lung-RADS v2022", category, 1)
    assert found.reason.startswith("finding 1, ") and any("baseline" in text for text in found.assumptions)


def test_highest_category_counts_and_names_its_finding() -> None:
    found = _assessed(_nodule(20.0, "non-solid", 0.9), _nodule(9.0, "solid", 0.8), _nodule(7.0, "solid", 0.7))
    assert (found.category, found.finding) == ("4A", 2) and "finding 2, solid, 9.0 mm" in found.reason


def test_every_finding_has_its_own_category_or_says_what_it_lacks() -> None:
    found = _assessed(_nodule(20.0, "non-solid", 0.9), _nodule(9.0, "solid", 0.8), Finding((0.0, 0.0, 0.0), 9.0, 0.7))
    assert [(one.id, one.category) for one in found.findings] == [(1, "2"), (2, "4A"), (3, None)]
    assert "needs a measurement of finding 3" in found.findings[2].reason
    assert _assessed(_nodule(9.0), indication="incidental").findings == ()


def test_nothing_without_a_measurement_at_the_operating_point() -> None:
    assert assess(_result(*some_findings())) is None and assess(_result()) is None
    assert assess(_result(_nodule(20.0, score=0.4))) is None  # below 0.5
    unknown = replace(_nodule(20.0), nodule_probability=None, detection_score=None)
    assert assess(_result(unknown)) is None


def test_candidates_below_the_operating_point_do_not_count() -> None:
    assert _assessed(_nodule(5.0), _nodule(20.0, score=0.4)).category == "2"


@pytest.mark.parametrize(("second", "needed"), [
    (Finding((0.0, 0.0, 0.0), 9.0, 0.8, 0.8), "needs a measurement of finding 2"),
    (_nodule(9.0, score=0.8, doubts=("slices too thick",)), "without doubt (slices too thick)"),
    (_nodule(9.0, None, score=0.8), "needs the kind of finding 2"),
    (_nodule(9.0, "part-solid", score=0.8), "needs solid_mm"),
    (_nodule(9.0, score=0.8, short_axis_mm=10.0), "needs possible sizes of finding 2"),
])  # fmt: skip
def test_one_finding_that_cannot_be_judged_leaves_the_category_open(second: Finding, needed: str) -> None:
    found = _assessed(_nodule(7.0), second)
    assert found.category is None and needed in found.reason and "at least 3" in found.reason


def test_juxtapleural_nodule_says_what_it_takes_for_granted() -> None:
    touching = replace(_nodule(9.0), location=Location("left", "upper", 0.0, True))
    found = _assessed(touching)
    assert found.category == "2" and any("smooth margin" in text for text in found.assumptions)


@pytest.mark.parametrize(("doubt", "spacing", "allowed"), [
    ("the nodule touches the pleura, where its border is uncertain", 2.5, True),
    ("slices are 2.0 mm apart (volumes need 1.5 mm or less)", 2.0, True),
    ("slices are 3.0 mm apart (volumes need 1.5 mm or less)", 3.0, False),
    ("the nodule reaches the edge of the measured cube", 1.0, False),
    ("a doubt that nobody has thought of", 1.0, False),
])  # fmt: skip
def test_doubts_forbid_a_category_unless_it_can_bear_them(doubt: str, spacing: float, allowed: bool) -> None:
    volume = ball_volume()
    volume.affine[2, 2] = spacing
    found = assess(Result(volume, [_nodule(9.0, doubts=(doubt,))], **RUN))
    assert found is not None and (found.category == "4A") == allowed
    assert any(doubt in text for text in found.assumptions)  # named in either case
    assert (doubt in found.reason) != allowed


def test_a_doubt_that_several_findings_share_is_said_once() -> None:
    doubt = "the nodule touches the pleura, where its border is uncertain"
    found = _assessed(_nodule(9.0, doubts=(doubt,)), _nodule(7.0, score=0.8), _nodule(6.0, score=0.7, doubts=(doubt,)))
    assert f"findings 1, 3 as measured, although {doubt}" in found.assumptions


def test_calcification_does_not_lower_a_category_but_is_said() -> None:
    found = _assessed(_nodule(9.0, calcification="central"))
    assert found.category == "4A" and "calcification (central) of finding 1 not taken into account" in found.assumptions


def test_fleischner_only_when_asked_for() -> None:
    nodules = _nodule(9.0), _nodule(5.0, score=0.8)
    assert _assessed(*nodules).guideline == _assessed(*nodules, indication="screening").guideline == "Lung-RADS v2022"
    found = _assessed(*nodules, indication="incidental")
    assert (found.guideline, found.category, found.finding) == ("Fleischner 2017", ">8 mm", 1)
    assert "multiple" in found.reason and "risk not known" in found.reason
    assert found.recommendation == (
        "at low risk CT at 3-6 months, then consider CT at 18-24 months; at high risk CT at 3-6 months, then CT at "
        "18-24 months"
    )
    single = _assessed(nodules[0], indication="incidental")
    assert single.recommendation == "consider CT at 3 months, PET/CT or tissue sampling"


def test_fleischner_leaves_out_what_is_in_doubt_and_says_so() -> None:
    found = _assessed(_nodule(7.0), _nodule(12.0, score=0.8, doubts=("moved",)), indication="incidental")
    assert found.category == "6-8 mm" and "finding 2 without doubt (moved)" in found.not_computed[0]
    none = _assessed(_nodule(12.0, doubts=("moved",)), indication="incidental")
    assert none.category is None and none.reason.startswith("not computed")


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
    threshold = document["thresholds"][document["operating_point"]]
    return ris_text(document, [entry for entry in document["findings"] if entry["nodule_probability"] >= threshold])


def test_text_for_the_radiology_report() -> None:
    text = _text(measured_ball(), Finding((1.0, 30.0, 5.0), 6.125, 0.4, 0.75))
    for part in ("48 CT slices 2.5 mm apart", "2 marks", "(1) solid 20.0 x 16.0 mm, mean 18.0 mm, 4189 mm3, upper "
                 "third of the left lung, image 11", "(2) about 6 mm (not measured), image 22", "at least 4B",
                 "not a medical device"):  # fmt: skip
        assert part in text, part
    assert text.isascii()


@pytest.mark.parametrize("findings", [
    (), (Finding((1.0, 30.0, 5.0), 6.0, 0.4, 0.75),), (measured_ball(),),
    tuple(Finding((1.0 * n, 30.0, 5.0), 6.0, 0.4, 0.75) for n in range(9)),
])  # fmt: skip
def test_text_has_three_to_five_sentences(findings: tuple[Finding, ...]) -> None:
    text = _text(*findings)
    assert 3 <= text.count(". ") + 1 <= 5 and text.endswith(".")
    assert ("No mark" in text) == (not findings) and ("and 6 more" in text) == (len(findings) == 9)
