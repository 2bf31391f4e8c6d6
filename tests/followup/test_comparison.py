# SPDX-License-Identifier: Apache-2.0
"""A whole comparison on the made pair: breathed in by 10 %, tilted by 5 degrees, nodules of known growth."""

import base64
import csv
import functools
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import chromium
import jsonschema
import numpy as np
import pytest
from made_pair import exam_of, make_pair, measure_balls, true_registration

import lungcad
from lungcad.followup import Comparison, compare, write_comparison
from lungcad.followup.documents import comparison_document
from lungcad.followup.exam import Header
from lungcad.followup.page import SLICES, render_comparison, stack_picture
from lungcad.followup.text import comparison_text
from lungcad.followup.write import FILES

SCHEMA = Path(lungcad.__file__).parent / "results" / "schemas" / "comparison.schema.json"
GROWTH = (0, 10, 25, 60)
DIAMETERS = (*((9.0, 9.0 * float(np.cbrt(1 + growth / 100))) for growth in GROWTH), (None, 8.0), (8.0, None))


@functools.cache
def compared() -> Comparison:
    prior, current = make_pair(DIAMETERS)
    return compare(exam_of(prior), exam_of(current), 365, measure_balls)


@pytest.fixture
def known_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcad.followup.comparison.register", true_registration)


def by_place() -> list[str]:
    """Statuses in the order of the nodules."""
    _, current = make_pair(DIAMETERS)
    places = np.array([one.current.place for one in compared().lesions])
    nearest = [int(np.linalg.norm(places - center, axis=1).argmin()) for center, _ in current.nodules]
    assert sorted(nearest) == list(range(len(DIAMETERS)))
    return [compared().lesions[index].status for index in nearest]


def test_every_nodule_gets_its_status() -> None:
    unchanged, ten, quarter, sixty, appeared, gone = by_place()
    assert (unchanged, ten, sixty, appeared, gone) == ("stable", "stable", "growing", "new", "resolved")
    assert quarter in ("stable", "growing")  # at the limit itself, the noise decides
    assert compared().lesions[0].status == "growing"  # what matters comes first


def test_growth_has_its_error_and_doubling_time() -> None:
    sixty = max((one for one in compared().lesions if one.change), key=lambda one: one.change.volume_percent)
    assert sixty.change.volume_percent == pytest.approx(60, abs=10)
    assert sixty.change.error_percent == (-17.1, 17.1)
    assert sixty.change.doubling_days == pytest.approx(365 * np.log(2) / np.log(1.6), rel=0.2)


def test_new_and_resolved_say_where_was_looked() -> None:
    for lesion, absent in ((one, one.prior if one.status == "new" else one.current) for one in compared().lesions):
        if lesion.status in ("new", "resolved"):
            assert absent.looked_for and absent.scanned and absent.finding is None
            assert "looked for in the" in lesion.reason


@pytest.mark.usefixtures("known_registration")
def test_a_nodule_that_the_prior_run_missed_is_measured_there_and_not_new() -> None:
    prior, current = make_pair(((9.0, 9.0),))
    before = exam_of(prior)
    missed = replace(before, result=replace(before.result, findings=[]))
    (lesion,) = compare(missed, exam_of(current), 365, measure_balls).lesions
    assert (lesion.status, lesion.prior.looked_for, lesion.prior.number) == ("stable", True, None)
    assert abs(lesion.change.volume_percent) < 15


@pytest.mark.usefixtures("known_registration")
def test_other_kernels_forbid_growth_but_not_the_match() -> None:
    prior, current = make_pair(((9.0, 12.0),))
    pair = exam_of(prior, Header(kernel="A"), measured=True), exam_of(current, Header(kernel="B"), measured=True)
    comparison = compare(*pair, 365)
    (lesion,) = comparison.lesions
    assert (lesion.status, lesion.change) == ("not comparable", None)
    assert "kernel A in the prior and B" in lesion.reason and comparison.refusals


@pytest.mark.usefixtures("known_registration")
def test_a_nodule_beyond_the_prior_scan_is_not_new() -> None:
    prior, current = make_pair(((None, 9.0),))  # 22 mm above the middle
    cut = replace(prior, volume=replace(prior.volume, hu=prior.volume.hu[:, :, :30].copy()))
    comparison = compare(exam_of(cut), exam_of(current), 365, measure_balls)
    assert [(one.status, one.reason) for one in comparison.lesions] == [
        ("not comparable", "the prior scan does not cover its place")
    ]


@pytest.mark.usefixtures("known_registration")
def test_tracking_uids_of_the_prior_go_on() -> None:
    prior, current = make_pair(((9.0, 9.0), (None, 8.0)))
    before = replace(exam_of(prior, measured=True), tracking={1: "1.2.3"})
    now = replace(exam_of(current, measured=True), tracking={1: "1.2.4", 2: "1.2.5"})
    assert {one.status: one.tracking_uid for one in compare(before, now, 365, measure_balls).lesions} == {
        "stable": "1.2.3", "new": "1.2.5",
    }  # fmt: skip


def test_written_folder_is_whole_and_says_the_same_everywhere(tmp_path: Path) -> None:
    folder = write_comparison(compared(), tmp_path)
    assert {path.name for path in folder.iterdir()} == FILES - {"comparison.sr.dcm"}  # not DICOM
    document = json.loads((folder / "comparison.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["summary"] == compared().summary
    with (folder / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == [one["status"] for one in document["lesions"]]
    assert write_comparison(compared(), tmp_path) == folder  # again: replaced


def test_page_is_one_offline_file_with_both_stacks() -> None:
    page = render_comparison(compared())
    assert "://" not in page and "src=" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert page.count("data:image/png;base64,") == 2 * len(DIAMETERS)
    assert page.count('type="range"') == len(DIAMETERS) and len(page) < 2e6
    assert "looked for, absent" in page and "Research use only" in page


def test_stack_runs_from_the_feet_and_has_the_nodule_in_the_middle() -> None:
    _, current = make_pair(((9.0, 9.0),))
    center, _ = current.nodules[0]
    picture = stack_picture(current.volume, center.tolist(), 42.0, 20.0)
    planes = picture.pixels.reshape(SLICES, -1, picture.pixels.shape[1])
    middle = planes[SLICES // 2]
    n = middle.shape[0]
    assert middle[n // 2 - 2 : n // 2 + 2, n // 2 - 2 : n // 2 + 2].min() > 150
    flipped = replace(current.volume, hu=current.volume.hu[:, :, ::-1].copy())
    flipped.affine = current.volume.affine @ np.diag([1, 1, -1, 1.0])
    flipped.affine[2, 3] = current.volume.affine[2, 3] + current.volume.affine[2, 2] * (current.volume.hu.shape[2] - 1)
    np.testing.assert_allclose(stack_picture(flipped, center.tolist(), 42.0, 20.0).pixels.astype(int),
                               picture.pixels.astype(int), atol=1)  # fmt: skip


def test_text_for_the_radiology_report_is_three_to_five_sentences() -> None:
    text = comparison_text(comparison_document(compared()))
    assert text.isascii() and 3 <= text.count(". ") + 1 <= 5
    assert "with the CT 365 days before" in text and "(1) growing, 9.0 to 10.5 mm mean diameter, volume +" in text
    assert "If both are screening CTs" in text and "and 3 more in the comparison" in text
    refused = {**comparison_document(compared()), "growth_refused": ["kernel A in the prior and B in the current scan"]}
    assert "Growth was not computed: kernel A" in comparison_text(refused)


@pytest.mark.skipif(chromium.PROGRAM is None, reason="needs Chromium")
def test_wheel_and_slider_move_both_scans_of_a_nodule(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render_comparison(compared()), encoding="utf-8")
    planes = '[...document.querySelectorAll("#nodule-1 .view")].map(x => getComputedStyle(x).backgroundPositionY)'
    wheel = 'new WheelEvent("wheel", {deltaY: -100, cancelable: true})'
    with chromium.Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        assert browser.evaluate(planes) == ["50%", "50%"] and browser.problems() == []
        browser.evaluate(f'document.querySelector("#nodule-1 .view").dispatchEvent({wheel})')
        assert browser.evaluate(planes) == [f"{100 * (SLICES // 2 + 1) / (SLICES - 1):g}%"] * 2
        browser.evaluate('{const s = document.querySelector("#nodule-1 input"); s.value = 0;'
                         ' s.dispatchEvent(new Event("input"))}')  # fmt: skip
        assert browser.evaluate(planes) == ["0%", "0%"]
