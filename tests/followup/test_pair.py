# SPDX-License-Identifier: Apache-2.0
"""What may be compared: one patient, one after the other, results of the very scans."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungcad import Finding, Volume
from lungcad.errors import InputError
from lungcad.followup.exam import Header, find_results, read_exam, read_header
from lungcad.followup.pair import check_patient, days_between, protocol_notices
from lungcad.followup.tracking import tracking_uids
from lungcad.reading.volume_file import read_volume
from lungcad.results.nodules_json import write_nodules_json
from lungcad.results.result import Result
from lungcad.results.write import write
from lungcad.scan.scan import Scan

ONE = Header("P1", "19500101", datetime.date(2025, 1, 31))
TWO = Header("P1", "", datetime.date(2026, 1, 31))


def volume(uid: str) -> Volume:
    return Volume(np.zeros((4, 4, 4)), np.eye(4), uid)


def refused(code: str, before: Header, now: Header, **told: Any) -> None:
    with pytest.raises(InputError) as error:
        check_patient(before, now, volume("1.2.3"), volume("1.2.4"), **told)
    assert error.value.code == code
    assert "P1" not in str(error.value) and "P2" not in str(error.value)


def test_two_scans_of_one_patient_pass_without_a_word() -> None:
    assert check_patient(ONE, TWO, volume("1.2.3"), volume("1.2.4")) == []


def test_other_or_missing_patients_are_refused_unless_told() -> None:
    others = [Header("P2", "", TWO.date), Header("", "", TWO.date), Header("P1", "19600101", TWO.date)]
    for other in others:
        refused("E-PAIR-PATIENT", ONE, other)
        notices = check_patient(ONE, other, volume("1.2.3"), volume("1.2.4"), same_patient=True)
        assert [notice.code for notice in notices] == ["W-PAIR-PATIENT"]


def test_one_series_twice_is_refused_even_if_told() -> None:
    with pytest.raises(InputError, match="E-PAIR-SAME"):
        check_patient(ONE, TWO, volume("1.2.3"), volume("1.2.3"), same_patient=True)


def test_volume_files_pass_with_a_warning() -> None:
    notices = check_patient(Header(), Header(), volume("a"), volume("b"))
    assert [notice.code for notice in notices] == ["W-PAIR-PATIENT"]


def test_days_come_from_the_user_or_the_headers() -> None:
    assert days_between(ONE, TWO) == 365
    assert days_between(ONE, TWO, days=30) == 30
    assert days_between(Header(), Header(), prior_date="20260101", current_date="2026-01-31") == 30
    assert days_between(Header(), TWO, prior_date="20260130") == 1


@pytest.mark.parametrize(("before", "now"), [(TWO, ONE), (ONE, ONE), (Header("P1"), TWO)])
def test_equal_reversed_and_missing_dates_are_refused_unless_told(before: Header, now: Header) -> None:
    with pytest.raises(InputError, match="E-PAIR-DATE"):
        days_between(before, now)
    assert days_between(before, now, same_patient=True) is None


@pytest.mark.parametrize("told", [{"days": 0}, {"days": "soon"}, {"days": True}, {"prior_date": "2025"}])
def test_absurd_days_are_bad_usage(told: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="E-USAGE"):
        days_between(ONE, TWO, **told)


def test_other_scanners_and_contrast_are_warned_of() -> None:
    one, other = Header(maker="A", contrast=False), Header(maker="B", contrast=True)
    assert protocol_notices(one, one) == protocol_notices(Header(), one) == []
    scanner, contrast = protocol_notices(one, other)
    assert scanner.code == contrast.code == "W-PAIR-PROTOCOL"
    assert "scanner A in the prior, B in the current scan" in scanner and "in the current scan alone" in contrast
    assert "in the prior scan alone" in protocol_notices(other, one)[1]


def test_the_header_of_a_series_is_read(phantom_dir: Path) -> None:
    header = read_header(read_volume(phantom_dir))
    assert header.date == datetime.date(2026, 1, 1)
    assert (header.patient_id, header.kernel, header.thickness_mm) == ("DEMO", "SYNTHETIC", 2.5)
    assert read_header(volume("a")) == Header()


def test_results_are_those_of_the_very_scan(tmp_path: Path) -> None:
    scan = volume("1.2.826.0.1.5")
    findings = [Finding((1.0, 1.0, 1.0), 5.0, 0.9, 0.95), Finding((2.0, 1.0, 1.0), 5.0, 0.9, 0.2)]
    result = Result(scan, findings, {"balanced": 0.5}, "balanced", {"lung_nodule_cad": "0.2.0"})
    folder = write(result, tmp_path, [write_nodules_json])
    assert find_results(scan, tmp_path, folder) == folder
    exam = read_exam(Scan(scan), folder, Header())
    assert exam.result.reported == findings[:1] and exam.findings == findings
    other = Volume(scan.hu, np.diag([1.0, 1, 2, 1]), scan.series_uid)
    assert find_results(other, folder) is None
    with pytest.raises(InputError, match="E-PAIR-RESULTS"):
        read_exam(Scan(other), folder, Header())
    (folder / "nodules.json").write_text("[")
    with pytest.raises(InputError, match="E-PAIR-RESULTS"):
        read_exam(Scan(scan), folder, Header())


def test_an_earlier_comparison_carries_tracking_uids_on(tmp_path: Path) -> None:
    numbers = {"1.2.3": 2, "1.9": None}
    lesions = [{"current": {"number": number}, "tracking_uid": uid} for uid, number in numbers.items()]
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({"current": {"series_uid": "1.5"}, "lesions": lesions}))
    assert tracking_uids(tmp_path, "1.5", [path]) == {2: "1.2.3"}
    assert tracking_uids(tmp_path, "1.6", [path, tmp_path / "absent.json"]) == {}
    (tmp_path / "nodules.sr.dcm").write_bytes(b"no DICOM")
    assert tracking_uids(tmp_path, "1.5") == {}
