# SPDX-License-Identifier: Apache-2.0
import csv
import errno
import json
import os
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from report_case import CENTER_LPS_MM, RUN, ball_volume, some_findings, write_results

import lungcad
from lungcad import Finding, InputError
from lungcad.results.candidates import read_findings
from lungcad.results.nodules_json import centre_slice
from lungcad.results.result import Result, rank_findings
from lungcad.results.write import folder_name
from lungcad.volume import Origin

SCHEMA = json.loads((Path(lungcad.__file__).parent / "results" / "schemas" / "nodules.schema.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("out"), ball_volume(), some_findings(), **RUN)


def test_four_files_in_a_folder_named_after_the_series(written: Path) -> None:
    assert written.name == "1.2.826.0.1.7"
    assert {path.name for path in written.iterdir()} == {"nodules.json", "nodules.csv", "report.html", "run.json"}
    assert [path.name for path in written.parent.iterdir()] == [written.name]  # no temporary folder left


def test_json_obeys_the_schema_and_the_schema_bites(written: Path) -> None:
    document = json.loads((written / "nodules.json").read_text())
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(document)
    assert document["warnings"] == [{"code": "W-SPACING", "text": "slices 2.5 mm apart"}]
    assert document["summary"] == "3 nodules at or above 0.5 (balanced)"
    del document["findings"][0]["malignancy_probability"]
    assert not validator.is_valid(document)  # unknown must be null, not absent


def test_schema_tells_malignancy_and_bounds_it(written: Path) -> None:
    document = json.loads((written / "nodules.json").read_text())
    told = SCHEMA["$defs"]["finding"]["properties"]
    assert "not pathology" in told["malignancy_probability"]["description"]
    assert document["findings"][0]["malignancy_probability"] == 0.8
    document["findings"][0]["malignancy_probability"] = 1.2
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_findings_by_probability_unknown_last_with_their_slice(written: Path) -> None:
    findings = json.loads((written / "nodules.json").read_text())["findings"]
    assert [one["id"] for one in findings] == [1, 2, 3, 4]
    assert [one["nodule_probability"] for one in findings] == [0.98, 0.75, 0.25, None]
    # z = 33 mm, first slice at -60, 2.5 mm apart: 37.2 -> 37; numbers count down from 48
    assert findings[0]["slice"] == {"index": 37, "sop_instance_uid": "1.2.826.0.1.7.37", "instance_number": 11}
    assert findings[3]["diameter_mm"] is None and findings[3]["attributes"] is None


def test_order_falls_back_on_the_detection_score() -> None:
    low, high, unknown = Finding((0, 0, 0), 3, 0.2), Finding((1, 0, 0), 3, 0.6), Finding((2, 0, 0))
    known = Finding((3, 0, 0), 3, 0.1, 0.01)
    assert rank_findings([unknown, low, known, high]) == [known, high, low, unknown]


@pytest.mark.parametrize("name", ["nodules.json", "nodules.csv"])
def test_reads_back_what_was_written(written: Path, name: str) -> None:
    assert read_findings(written / name, "1.2.826.0.1.7") == rank_findings(some_findings())


def test_csv_starts_with_the_luna16_columns(written: Path) -> None:
    rows = list(csv.DictReader((written / "nodules.csv").open()))
    assert (written / "nodules.csv").read_text().startswith("seriesuid,coordX,coordY,coordZ,probability,")
    assert [row["probability"] for row in rows] == ["0.98", "0.75", "0.25", "0.7"]  # last: its detection score
    assert rows[3]["nodule_probability"] == ""
    assert tuple(float(rows[0][f"coord{axis}"]) for axis in "XYZ") == CENTER_LPS_MM


def test_no_nodule_is_a_result(tmp_path: Path) -> None:
    folder = write_results(tmp_path, ball_volume(), [], **RUN)
    document = json.loads((folder / "nodules.json").read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["findings"] == [] and document["summary"] == "no nodule at or above 0.5 (balanced)"
    assert read_findings(folder / "nodules.csv") == []
    assert "no nodule" in (folder / "report.html").read_text()


def test_numpy_numbers_are_written_as_numbers(tmp_path: Path) -> None:
    center = tuple(np.float32([1.5, 2.5, 3.5]))
    folder = write_results(tmp_path, ball_volume(), [Finding(center, np.float32(4), np.float64(0.5))], **RUN)
    assert read_findings(folder / "nodules.json") == [Finding((1.5, 2.5, 3.5), 4.0, 0.5)]


def test_run_json_tells_what_ran_and_not_on_whom(written: Path) -> None:
    run = json.loads((written / "run.json").read_text())
    assert run["seconds"]["detect"] == 4.0 and run["seconds"]["report"] > 0
    assert run["weights_sha256"] == RUN["weights_sha256"] and run["device"] == "cpu"
    assert run["inputs"] == {"kind": "DICOM series", "series_uid": "1.2.826.0.1.7", "slices": 48}
    assert all(run["versions"][name] for name in ("lungcad", "torch", "monai", "python"))


def test_no_file_names_the_patient(written: Path) -> None:
    for path in written.iterdir():
        assert "DOE" not in path.read_text()  # the folder that was read is named after the patient


@pytest.mark.parametrize(("name", "kind"), [
    ("Doe.Jane.mhd", ".mhd file"), ("Doe.Jane.1970.NII.GZ", ".nii.gz file"), ("Doe.Jane", "DICOM series"),
])  # fmt: skip
def test_of_the_name_of_a_file_only_its_kind_is_kept(tmp_path: Path, name: str, kind: str) -> None:
    volume = ball_volume(sop_instance_uids=(), instance_numbers=(), origin=Origin(Path(f"scans/{name}")))
    folder = write_results(tmp_path, volume, [], **RUN)
    assert json.loads((folder / "run.json").read_text())["inputs"]["kind"] == kind


def test_failure_midway_leaves_the_earlier_result_whole(tmp_path: Path) -> None:
    earlier = write_results(tmp_path, ball_volume(), some_findings(), **RUN)
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}

    def full_disk(folder: Path, result: Result) -> None:
        assert (folder / "report.html").is_file()  # so it fails with some files written
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"E-OUTPUT.*No space left"):
        write_results(tmp_path, ball_volume(), [], **RUN, also=[full_disk])
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before
    assert list(tmp_path.iterdir()) == [earlier]


def test_failure_midway_leaves_nothing_where_nothing_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcad.results.page.report.render_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_results(tmp_path, ball_volume(), [], **RUN)
    assert list(tmp_path.iterdir()) == []


def test_new_result_replaces_the_earlier_one_as_a_whole(tmp_path: Path) -> None:
    def more(folder: Path, result: Result) -> None:
        (folder / "nodules.sr.dcm").write_text(result.summary)

    folder = write_results(tmp_path, ball_volume(), some_findings(), **RUN, also=[more])
    assert json.loads((folder / "nodules.json").read_text())["summary"] == (folder / "nodules.sr.dcm").read_text()
    folder = write_results(tmp_path, ball_volume(), [], **RUN)
    assert read_findings(folder / "nodules.json") == [] and not (folder / "nodules.sr.dcm").exists()


def test_never_replaces_a_folder_of_somebody_else(tmp_path: Path) -> None:
    scan = tmp_path / "1.2.826.0.1.7" / "0001.dcm"  # an export named after the series, given as the output's parent
    scan.parent.mkdir()
    scan.write_bytes(b"DICM")
    with pytest.raises(InputError, match="E-OUTPUT"):
        write_results(tmp_path, ball_volume(), [], **RUN)
    assert scan.read_bytes() == b"DICM"


@pytest.mark.parametrize("name", ["file", "y" * 300, "circle"])
def test_output_that_cannot_be_made_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="E-OUTPUT"):
        write_results(tmp_path / name, ball_volume(), [], **RUN)


@pytest.mark.parametrize(
    ("uid", "name"),
    [("../../etc", "etc"), ("a b/c?", "a_b_c"), ("..", "series"), ("", "series"), ("x" * 300, "x" * 120)],
)
def test_folder_name_is_safe(uid: str, name: str) -> None:
    assert re.fullmatch(rf"{name}_[0-9a-f]{{8}}", folder_name(uid))


def test_no_two_series_share_a_folder() -> None:
    names = ["1.2.840.1", "患者一", "患者二", "scan(1)", "scan_1", "scan 1", os.fsdecode(b"m\xfcller")]
    assert folder_name("1.2.840.1") == "1.2.840.1" and folder_name("scan_1") == "scan_1"
    assert len({folder_name(name) for name in names}) == len(names)


def test_slice_of_a_file_that_is_not_dicom_has_no_uid() -> None:
    volume = ball_volume(sop_instance_uids=(), instance_numbers=())
    above_the_scan = centre_slice(volume, (0, 0, 1e4))
    assert above_the_scan == {"index": 47, "sop_instance_uid": None, "instance_number": None}


def test_a_missing_instance_uid_is_unknown() -> None:
    volume = ball_volume(sop_instance_uids=("",) * 48)
    assert centre_slice(volume, CENTER_LPS_MM)["sop_instance_uid"] is None
