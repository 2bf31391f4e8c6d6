# SPDX-License-Identifier: Apache-2.0
"""What a comparison says: neither more than it looked at nor less than it rests on, in its files and in its text."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from made_pair import Made, exam_of, make_pair, measure_balls, true_registration

import lungcad
from lungcad import Finding, Notice
from lungcad.followup import Comparison, compare
from lungcad.followup.dicom import absent_groups
from lungcad.followup.documents import comparison_document, write_comparison_csv
from lungcad.followup.exam import Exam, Header
from lungcad.followup.page import render_comparison
from lungcad.followup.registration import Registration
from lungcad.followup.text import comparison_text
from lungcad.measurement import Location
from lungcad.results.dicom.equipment import Algorithm
from lungcad.results.nodules_json import nodules_document
from lungcad.scan.scan import Scan

SCHEMA = json.loads((Path(lungcad.__file__).parent / "results" / "schemas" / "comparison.schema.json").read_text())


@pytest.fixture(autouse=True)
def known_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcad.followup.comparison.register", true_registration)


def compared(
    diameters: Sequence[tuple[float | None, float | None]], before: Header | None = None, now: Header | None = None,
    **options: Any,
) -> Comparison:  # fmt: skip
    prior, current = make_pair(diameters)
    return compare(exam_of(prior, before), exam_of(current, now), 365, measure_balls, **options)


def text_of(comparison: Comparison) -> str:
    document = comparison_document(comparison)
    jsonschema.validate(document, SCHEMA)
    text = comparison_text(document)
    assert text.isascii() and 3 <= text.count(". ") + 1 <= 5
    return text


def warned(made: Made, code: str, text: str, header: Header) -> Exam:
    volume = replace(made.volume, warnings=[Notice(code, text)])
    return exam_of(replace(made, volume=volume), header)


@pytest.mark.parametrize(("diameters", "scan"), [((None, 5.0), "prior"), ((5.0, None), "current")])
def test_thick_slices_cannot_show_that_a_small_nodule_is_new_or_gone(
    diameters: tuple[float | None, float | None], scan: str
) -> None:
    thick, thin = Header(thickness_mm=5.0), Header(thickness_mm=1.0)
    headers = (thick, thin) if scan == "prior" else (thin, thick)
    found = compared([diameters], *headers)
    (lesion,) = found.lesions
    assert lesion.status == "not comparable" and f"{scan} scan, whose slices of 5 mm are too thick" in lesion.reason
    text = text_of(found)
    assert "because not seen in the" in text and "resolved" not in text and "1 new" not in text
    assert found.lung_rads is None or found.lung_rads.category is None
    large = compared([tuple(side and 12.0 for side in diameters)], *headers)
    assert [one.status for one in large.lesions] == ["new" if scan == "prior" else "resolved"]


def test_an_open_category_is_said_with_what_opens_it() -> None:
    found = compared([(9.0, 12.0), (None, 7.0)], Header(kernel="A"), Header(kernel="B"))
    text = text_of(found)
    assert "Lung-RADS: not computed: needs a comparison of nodule 2 with the prior scan; at least 4A." in text
    assert text.count("kernel A in the prior") == 1 and "Growth was not computed: kernel A" in text
    assert "(1) new, " in text and "(2) not comparable, 9." in text and "solid, left lung, slice" in text


def test_without_registration_no_place_of_the_other_scan_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def poor(current: Scan, prior: Scan) -> Registration:
        return replace(true_registration(current, prior), overlap=0.5)

    monkeypatch.setattr("lungcad.followup.comparison.register", poor)
    notices = [Notice("W-PAIR-PATIENT", "a volume file names no patient: that both scans are of one was not checked.")]
    found = compared([(9.0, None)], notices=notices)
    text, page = text_of(found), render_comparison(found)
    assert "that both scans are of one was not checked; the lungs of the two scans do not fit" in text
    assert "because the lungs of the two scans could not be registered" in text
    assert "left lung, prior slice 33." in text and "looked for" not in text
    assert page.count("data:image/png") == 1 and "place not known: the lungs could not be registered" in page
    assert "looked for, " not in page and "<td>33 / –</td>" in page.replace("slice ", "")
    write_comparison_csv(tmp_path, found)
    (row,) = csv.DictReader((tmp_path / "comparison.csv").open())
    assert row["currentX"] == "" != row["priorX"]
    assert comparison_document(found)["lesions"][0]["current"]["location"] is None


def test_a_resolved_nodule_has_the_images_of_both_scans() -> None:
    text = text_of(compared([(8.0, None)]))
    assert "(1) resolved, " in text and "prior slice 33, looked for at slice " in text
    assert "Lung-RADS" not in text  # the current scan shows no nodule


def test_warnings_of_both_scans_and_of_the_pair_are_in_the_comparison() -> None:
    prior, current = make_pair([(9.0, 9.0)])
    before = warned(prior, "W-SPACING", "slices are 2.5 mm apart.", Header(maker="A", contrast=False))
    now = warned(current, "W-COVERAGE", "The scan ends inside the lungs.", Header(maker="B", contrast=True))
    found = compare(before, now, 365, measure_balls)
    assert [notice.code for notice in found.notices] == ["W-PAIR-PROTOCOL"] * 2 + ["W-SPACING", "W-COVERAGE"]
    assert found.notices[2].text == "prior: slices are 2.5 mm apart." and "current: The scan" in found.notices[3]
    assert "current: The scan ends inside the lungs." in render_comparison(found)
    text = text_of(found)
    assert "a contrast agent is named in the current scan alone" in text and "current: The scan ends inside" in text
    assert found.lung_rads is not None and found.lung_rads.category == "0"
    document = comparison_document(found)
    assert "category 4A or more: low-dose CT in 3 months" in document["lung_rads"]["recommendation"]


def test_a_doubling_time_is_of_growing_nodules_alone() -> None:
    found = compared([(9.0, 9.2), (9.0, 11.5)])
    document = comparison_document(found)
    growing, stable = document["lesions"]
    assert (growing["status"], stable["status"]) == ("growing", "stable")
    assert growing["change"]["doubling_days"] > 0 and stable["change"]["doubling_days"] is None
    assert stable["change"]["volume_percent"] > 0
    assert text_of(found).count("doubling time") == 1


def test_two_marks_of_one_nodule_do_not_share_the_prior_finding() -> None:
    prior, current = make_pair([(16.0, 16.0)])
    now = exam_of(current)
    (mark,) = now.result.findings
    x, y, z = mark.center_lps_mm
    beside = replace(mark, center_lps_mm=(x + 5, y, z), nodule_probability=0.9)
    twice = replace(now, result=replace(now.result, findings=[mark, beside]), tracking={1: "1.3", 2: "1.4"})
    found = compare(replace(exam_of(prior), tracking={1: "1.2.3"}), twice, 365, measure_balls)
    assert sorted((one.prior.number, one.tracking_uid) for one in found.lesions if one.prior.number) == [(1, "1.2.3")]
    (other,) = [one for one in found.lesions if one.prior.number is None]
    assert other.tracking_uid == "1.4" and any("perhaps one nodule, marked twice" in doubt for doubt in other.doubts)


def test_assumptions_and_questions_are_in_every_output() -> None:
    doubt = "the nodule touches the pleura, where its border is uncertain"

    def measure(scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
        place = Location("left", "upper", 0.0, True)
        return [
            replace(one, location=place, measurement=one.measurement and replace(one.measurement, doubts=(doubt,)))
            for one in measure_balls(scan, findings)
        ]

    prior, current = make_pair([(None, 9.0)])
    found = compare(exam_of(prior), exam_of(current), 365, measure)
    document = comparison_document(found)
    asked = "margin and shape of nodule 1: category 2 if smooth and oval, lentiform or triangular"
    granted = f"nodule 1 as measured, although {doubt}"
    assert document["lung_rads"]["category"] == document["lesions"][0]["lung_rads"]["category"] == "4B"
    assert document["lung_rads"]["assumed"] == [granted]
    assert document["lung_rads"]["not_computed"] == [f"not computed: needs {asked}"]
    assert document["lesions"][0]["lung_rads"]["assumed"] == [granted.replace("nodule 1", "the nodule")]
    for said in (text_of(found), render_comparison(found)):
        assert asked in said and granted in said
    assert "upper third of the left lung, at the pleura, measurement in doubt, slice" in text_of(found)


def test_the_nodule_that_decides_is_named_first() -> None:
    text = text_of(compared([(9.0, 10.5), (8.0, 9.4), (8.2, 9.6), (16.0, 16.0)]))
    first = text.split("(", 2)[2]
    assert first.startswith("4) stable, 16") and "and 1 more in the comparison" in text


@pytest.mark.parametrize(("thickness_mm", "finding"), [(1.0, "Problem resolved"), (5.0, None)])
def test_the_report_has_every_nodule_that_the_current_scan_does_not_show(
    thickness_mm: float, finding: str | None
) -> None:
    found = compared([(8.0, None)], Header(thickness_mm=thickness_mm), Header(thickness_mm=thickness_mm))
    source: Any = SimpleNamespace(frame_of_reference_uid="1.2.3")  # all that a group asks of it
    algorithm = Algorithm.from_document(nodules_document(found.current.result))
    (group,) = absent_groups(found, source, algorithm)
    assert group.tracking_uid == found.lesions[0].tracking_uid
    assert (group.finding_type and group.finding_type.meaning) == finding
    (words,) = [str(one.TextValue) for one in group[0].ContentSequence if one.ValueType == "TEXT"][-1:]
    assert words.startswith("resolved: looked for" if finding else "not comparable: not seen in the current scan")
    assert any(one.ValueType == "SCOORD3D" for one in group[0].ContentSequence)
