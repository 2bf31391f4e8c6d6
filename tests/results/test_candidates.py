# SPDX-License-Identifier: Apache-2.0
import tarfile
from pathlib import Path

import pytest

from lungcad import Finding, InputError
from lungcad.results.candidates import read_findings


def _file(tmp_path: Path, text: str, name: str = "candidates.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_luna16_submission_becomes_detection_scores(tmp_path: Path) -> None:
    path = _file(tmp_path, "seriesuid,coordX,coordY,coordZ,probability\n1.2,-10.5,20,-30,0.75\n1.3,0,0,0,0.5\n")
    assert read_findings(path, "1.2") == [Finding((-10.5, 20.0, -30.0), None, 0.75)]
    assert len(read_findings(path)) == 2


def test_luna16_annotations_give_diameters(tmp_path: Path) -> None:
    path = _file(tmp_path, "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,1,2,3,5.5\n")
    assert read_findings(path) == [Finding((1.0, 2.0, 3.0), 5.5)]


def test_plain_list_of_findings(tmp_path: Path) -> None:
    path = _file(tmp_path, '[{"center_lps_mm": [1, 2, 3], "diameter_mm": 4}]', "list.json")
    assert read_findings(path) == [Finding((1.0, 2.0, 3.0), 4.0)]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "seriesuid,x,y,z\n1,2,3,4\n", "coordX, coordY, coordZ missing"),
        ("a.csv", "", "an empty file"),
        ("a.csv", "coordX,coordY,coordZ\n1,nan,3\n", "finding 1: center_lps_mm is 'nan'"),
        ("a.csv", "coordX,coordY,coordZ\n1,2\n", "finding 1: center_lps_mm is None"),
        ("a.csv", "coordX,coordY,coordZ,diameter_mm\n1,2,3,four\n", "diameter_mm is 'four'"),
        ("a.csv", "coordX,coordY,coordZ,diameter_mm\n1,2,3,-1\n", "diameter_mm is -1"),
        ("a.csv", "seriesuid,coordX,coordY,coordZ\n9.9,1,2,3\n", "all of other series"),
        ("a.json", "{", "not readable"),
        ("a.json", "[" * 100_000, "not readable"),
        ("a.json", '[{"center_lps_mm": [1, 2, ' + "9" * 4000 + "]}]", "center_lps_mm is"),
        ("a.json", '[{"center_lps_mm": [1, 2, ' + "9" * 5000 + "]}]", "not readable"),
        ("a.json", '[{"center_lps_mm": ' + "9" * 4300 + "}]", "center_lps_mm is"),
        ("a.csv", "seriesuid;coordX;coordY;coordZ\n1,2;1;2;3\n", "separated by ;"),
        ("a.json", "{}", "no list of findings"),
        ("a.json", "[1]", "no list of findings"),
        ("a.json", '[{"center_lps_mm": [1, 2]}]', "expected three numbers"),
        ("a.json", '[{"center_lps_mm": [1, 2, Infinity]}]', "is inf"),
        ("a.json", '[{"center_lps_mm": [1, 2, 3], "attributes": 7}]', "attributes is 7"),
    ],
)
def test_refuses_with_the_reason(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(InputError, match="E-CANDIDATES") as refusal:
        read_findings(_file(tmp_path, text, name), "1.2")
    assert reason in str(refusal.value)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_findings(tmp_path / "none.json")


@pytest.mark.shared_data
def test_absurd_numbers_are_refused(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "cases" / "folders.tar.xz") as archive:
        names = [name for name in archive.getnames() if name.startswith("folders/candidates/")]
        for name in names:
            archive.extract(name, tmp_path, filter="data")
            with pytest.raises(InputError, match="E-CANDIDATES") as refusal:
                read_findings(tmp_path / name)
            assert len(str(refusal.value)) < 400
    assert len(names) == 3


def test_either_name_of_a_series_fits(tmp_path: Path) -> None:
    path = _file(tmp_path, "seriesuid,coordX,coordY,coordZ\nvolume-05490c79,1,2,3\n")
    assert len(read_findings(path, "Doe_Jane", "volume-05490c79")) == 1
    path = _file(tmp_path, "seriesuid,coordX,coordY,coordZ\n'=case,1,2,3\n")
    assert len(read_findings(path, "=case")) == 1
