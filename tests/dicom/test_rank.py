# SPDX-License-Identifier: Apache-2.0
"""The best of several usable series: whole lungs, thin, soft to lung kernel, native; told with its reasons."""

from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, make_series, save
from pydicom.dataset import FileDataset

from lungcad import cli
from lungcad.dicom import DicomSeriesError, choose_best, rank_series
from lungcad.dicom.discover import VOLUME_FILES
from lungcad.dicom.rank import kernel_class
from lungcad.reading.volume_file import SUFFIXES, read_volume


def put(folder: Path, number: int, series: list[FileDataset], **tags: object) -> None:
    for k, dataset in enumerate(series):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{SERIES_UID}.{number}", f"{SERIES_UID}.{number}.{k}"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    save(series, folder / str(number))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    put(folder, 1, make_series(40, step_mm=5.0), ConvolutionKernel="B30f")
    put(folder, 2, make_series(100, step_mm=2.0), ConvolutionKernel="B70f")
    put(folder, 3, make_series(160, step_mm=1.25), ConvolutionKernel="B70f")
    put(folder, 4, make_series(160, step_mm=1.25), ConvolutionKernel="B50f", ContrastBolusAgent="ULTRAVIST")
    put(folder, 5, make_series(160, step_mm=1.25), ConvolutionKernel="B50f")
    put(folder, 6, make_series(40, step_mm=0.6), ConvolutionKernel="B50f")  # a part of the lungs
    put(folder, 7, make_series(300, step_mm=0.7), ImageType=["DERIVED", "SECONDARY", "MPR"])
    broken = make_series(160, step_mm=1.0)
    del broken[50]
    put(folder, 8, broken, ConvolutionKernel="B50f")
    return folder


def test_series_are_ranked(study: Path) -> None:
    ranked = [int(one.uid.rsplit(".", 1)[1]) for one in rank_series(study)]
    assert ranked == [5, 4, 3, 2, 1, 7, 6]  # the incomplete one is not usable


def test_the_best_is_told_with_its_reasons(study: Path) -> None:
    best = choose_best(study)
    assert best.uid == f"{SERIES_UID}.5"
    assert "1.25 mm apart" in best.reason and "soft to lung kernel B50F" in best.reason
    assert f"not chosen: {SERIES_UID}.4" in best.reason


def test_several_patients_have_no_best_series(study: Path) -> None:
    put(study, 9, make_series(), PatientID="OTHER")
    with pytest.raises(DicomSeriesError, match="E-IDENTITY"):
        choose_best(study)


def test_several_studies_have_no_best_series(study: Path) -> None:
    put(study, 9, make_series(), StudyInstanceUID="1.2.3")
    with pytest.raises(DicomSeriesError, match="E-MULTI-SERIES"):
        choose_best(study)


def test_nothing_usable_has_no_best_series(tmp_path: Path) -> None:
    put(tmp_path, 1, make_series(2))
    with pytest.raises(DicomSeriesError, match="E-NOT-CT"):
        choose_best(tmp_path)


@pytest.mark.parametrize(
    ("kernel", "rank"),
    [
        ("STANDARD", 0), ("LUNG", 0), ("B30f", 0), ("Br40d\\3", 0), ("I50f", 0), ("FC51", 0), ("BONE", 2),
        ("BONEPLUS", 2), ("EDGE", 2), ("B80f", 2), ("FC30", 2), ("['Bl57', '3']", 0), ("", 1), ("strange", 1), ("D", 0),
    ],
)  # fmt: skip
def test_kernels_of_all_makers_are_known(kernel: str, rank: int) -> None:
    assert kernel_class(kernel)[0] == rank


def test_inspect_takes_leniency_and_shows_notices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(make_series(step_mm=7.0), tmp_path / "s")
    (folder / "notes.txt").write_text("text")
    cli.main(["inspect", str(folder)])
    printed = capsys.readouterr().out
    assert "--leniency \"{'max_spacing_mm': 7}\"" in printed and "N-NOT-DICOM 1 of 21" in printed
    cli.main(["inspect", str(folder), "--leniency", "{'max_spacing_mm': 7}"])
    printed = capsys.readouterr().out
    assert "usable" in printed and "E-SPACING-THICK" not in printed and "W-SPACING" in printed


def test_choose_takes_the_word_best_only(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (["--choose", "first"], ["--choose", "best", "--series_uid", "1.2"]):
        with pytest.raises(SystemExit) as end:
            cli.main(["run", str(study), str(tmp_path / "out"), *extra])
        assert end.value.code == 2 and "E-USAGE" in capsys.readouterr().err


def test_best_is_a_series_uid_and_its_reason_stays_with_the_volume(tmp_path: Path) -> None:
    put(tmp_path, 1, make_series(), ConvolutionKernel="B70f")
    put(tmp_path, 2, make_series(), ConvolutionKernel="B30f")
    volume = read_volume(tmp_path, "best")
    assert volume.series_uid == f"{SERIES_UID}.2"
    (told,) = [notice for notice in volume.warnings if notice.code == "N-CHOSEN"]
    assert "soft to lung kernel B30F" in told and f"not chosen: {SERIES_UID}.1" in told


def test_a_folder_of_volume_files_is_told_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(VOLUME_FILES) == set(SUFFIXES)
    for folder in ("subset0", "seg-lungs-LUNA16"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.2.mhd").write_text("ObjectType = Image")
        (tmp_path / folder / "1.2.raw").write_bytes(bytes(100))
    for argv in (["inspect", str(tmp_path)], ["inspect", str(tmp_path / "subset0" / "1.2.mhd")]):
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        printed = capsys.readouterr().err
        assert end.value.code == 2 and "E-NO-DICOM" in printed and "(.mhd)" in printed and "lungcad run" in printed
