# SPDX-License-Identifier: Apache-2.0
"""The verb compare on two DICOM series, with results of earlier runs and a made measurement."""

import functools
import json
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from made_pair import Made, exam_of, make_pair, measure_balls, true_registration

from lungcad import cli
from lungcad.followup.tracking import tracking_uids
from lungcad.phantom import write_series
from lungcad.reading.volume_file import read_volume
from lungcad.results.result import Result
from lungcad.results.write import WRITERS, write


@functools.cache
def pair() -> tuple[Made, Made]:
    return make_pair(((9.0, 11.5), (8.0, None)))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``prior``, ``current`` and, with the results of both, ``out``."""
    folder = tmp_path_factory.mktemp("pair")
    for name, made, date in zip(("prior", "current"), pair(), ("20250101", "20260101"), strict=True):
        write_series(folder / name, made.volume.hu, made.volume.affine, date=date)
        run(folder / name, folder / "out", made)
    return folder


def run(scan: Path, out: Path, made: Made) -> None:
    """Results of a run of the chain that finds the true nodules."""
    result = Result(read_volume(scan), exam_of(made).findings, {"balanced": 0.5}, "balanced", {"lung_nodule_cad": "0"})
    write(result, out, WRITERS[-2:])  # nodules.json and DICOM


def fails(code: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", *arguments])
    assert end.value.code == 2
    assert f"error[{code}]" in (said := capsys.readouterr().err) and said.count("\n") <= 3


def test_compare_reuses_results_and_carries_the_tracking_uid_on(
    series: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lungcad.cli.compare.measurer", lambda: measure_balls)
    monkeypatch.setattr("lungcad.followup.comparison.register", true_registration)
    cli.main(["compare", str(series / "prior"), str(series / "current"), str(series / "out")])
    assert "growing" in capsys.readouterr().out
    (folder,) = (series / "out").glob("compare_*")
    document = json.loads((folder / "comparison.json").read_text())
    lesion, gone = document["lesions"]
    assert document["days"] == 365 and (lesion["status"], gone["status"]) == ("growing", "resolved")
    assert (lesion["lung_rads"]["category"], gone["lung_rads"], document["lung_rads"]["category"]) == ("4B", None, "4B")
    prior = read_volume(series / "prior")
    known = tracking_uids(series / "out" / prior.series_uid, prior.series_uid)
    assert lesion["tracking_uid"] == known[1]
    report = pydicom.dcmread(folder / "comparison.sr.dcm")
    assert report.StudyInstanceUID == read_volume(series / "current").study_uid
    text = report.to_json()
    assert known[1] in text and "Increase in size" in text and "Compared with series" in text
    assert "proposed Lung-RADS 4B" in text and "RID50134" not in text  # words with their condition, no code
    groups = hd.sr.srread(folder / "comparison.sr.dcm").content.get_image_measurement_groups(tracking_uid=known[2])
    assert [group.finding_type.meaning for group in groups] == ["Problem resolved"]
    said = [str(one.TextValue) for one in groups[0][0].ContentSequence if "TextValue" in one]
    assert any(text.startswith("resolved: looked for in the current scan") for text in said)


def test_a_scan_without_results_is_run_first(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def run_bundle(root: Path, values: dict[str, str]) -> None:
        asked.append(Path(values["dataset_dir"]).name)
        run(Path(values["dataset_dir"]), Path(values["output_dir"]), pair()[asked[-1] == "current"])

    monkeypatch.setattr("lungcad.bundle.launch.run_bundle", run_bundle)
    monkeypatch.setattr("lungcad.cli.compare.measurer", lambda: measure_balls)
    monkeypatch.setattr("lungcad.followup.comparison.register", true_registration)
    known = str(series / "out" / read_volume(series / "prior").series_uid)
    arguments = [str(series / "prior"), str(series / "current"), str(tmp_path), "--days", "90"]
    cli.main(["compare", *arguments, "--prior_results", known])
    assert asked == ["current"]
    assert "1" in capsys.readouterr().out and len(list(tmp_path.glob("compare_*/comparison.html"))) == 1


def test_pairs_that_are_none_are_refused_before_any_work(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior, current, out = (str(series / name) for name in ("prior", "current", "out"))
    fails("E-PAIR-DATE", capsys, current, prior, out)
    fails("E-PAIR-SAME", capsys, prior, prior, out)
    fails("E-PAIR-RESULTS", capsys, prior, current, out, "--prior_results", str(series))
    fails("E-USAGE", capsys, prior, current, out, "--days", "soon")
    fails("E-CONFIG", capsys, prior, current, out, "--same_patient", "perhaps")
    fails("E-NO-DICOM", capsys, str(series / "nothing"), current, out)
