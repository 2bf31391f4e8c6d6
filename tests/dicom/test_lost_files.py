# SPDX-License-Identifier: Apache-2.0
"""Remains of slices in the folder are never passed over, and a folder that changes is told."""

import os
from pathlib import Path
from typing import Any

import pytest
from dicom_phantom import SERIES_UID, assert_exact, make_series, save
from pydicom import dcmread
from pydicom.fileset import FileSet

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.dicom.lost import change_notices, folder_state


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def codes(folder: Path) -> list[str]:
    volume = read_series(folder)
    assert_exact(volume)
    return [notice.code for notice in volume.warnings]


NAMES = ["IM{:03d}.dcm".format, "{:05d}".format, "1.2.840.113619.2.{}.7.dcm".format, "{:x}".format, "I{}".format]


@pytest.mark.parametrize("name", NAMES)
def test_files_without_a_byte_named_like_slices_are_refused(tmp_path: Path, name: object) -> None:
    folder = save(make_series(), tmp_path / "s", name)  # type: ignore[arg-type]
    (folder / name(99)).touch()  # type: ignore[operator]
    error = refusal(folder)
    assert error.code == "E-CORRUPT" and "holds no byte" in str(error) and "take the file out" in str(error)
    assert not list_series(folder)[0].usable


@pytest.mark.parametrize("name", ["empty.dcm", "SCAN.DCM"])
def test_other_empty_files_with_the_suffix_are_told(tmp_path: Path, name: str) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / name).touch()
    assert "W-LOST" in codes(folder)


@pytest.mark.parametrize("name", [".nomedia", "READY", "notes.txt", "Thumbs.db", "series.csv"])
def test_files_of_other_kinds_are_only_counted(tmp_path: Path, name: str) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / name).write_text(f"seriesuid,x\n{SERIES_UID},1\n" if name.endswith("csv") else "")
    found = codes(folder)
    assert "N-NOT-DICOM" in found and "W-LOST" not in found


@pytest.mark.parametrize("ending", [".part", ".gz", ".crdownload", "~"])
def test_packed_and_unfinished_slices_are_never_passed_over(tmp_path: Path, ending: str) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / f"IM004.dcm{ending}").write_bytes(b"a copy of what is there")
    assert "W-LOST" not in codes(folder)
    (folder / f"IM020.dcm{ending}").write_bytes(b"a slice")
    assert "W-LOST" in codes(folder)
    (folder / f"IM020.dcm{ending}").write_bytes(b"")
    assert refusal(folder).code == "E-CORRUPT"


def test_what_exported_discs_hold_besides_is_only_counted(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s", lambda k: f"{'ABCDEFGHIJKLMNOPQRST'[k] * 8}")
    (folder / "LOCKFILE").touch()
    (folder / "VERSION").write_bytes(b"1.0")
    for file in list(folder.iterdir()):
        (folder / f"._{file.name}").write_bytes(bytes.fromhex("0005160700020000") + b"Mac OS X")
    assert "W-LOST" not in codes(folder)


def test_images_that_only_a_dicomdir_names_are_told(tmp_path: Path) -> None:
    file_set = FileSet()
    for dataset in make_series(23):
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240101", "1200", "1", "1"
        dataset.SeriesNumber = 1
        file_set.add(dataset)
    file_set.write(tmp_path / "s")
    files = [file for file in (tmp_path / "s").rglob("*") if file.is_file() and file.name != "DICOMDIR"]
    for file in sorted(files, key=lambda file: -dcmread(file).InstanceNumber)[:3]:
        file.unlink()
    volume = read_series(tmp_path / "s")
    assert_exact(volume)
    assert any(notice.startswith("W-LOST the DICOMDIR names 3 image(s)") for notice in volume.warnings)
    (tmp_path / "s" / "DICOMDIR").write_bytes((tmp_path / "s" / "DICOMDIR").read_bytes()[:-90])  # cut: nobody needs it
    assert_exact(read_series(tmp_path / "s"))


def test_overwritten_beginnings_are_never_passed_over(tmp_path: Path) -> None:
    folder = save(make_series(21), tmp_path / "s")
    last = next(file for file in folder.iterdir() if b"\\-87.5" in file.read_bytes())
    content = last.read_bytes()
    last.write_bytes(os.urandom(160) + content[160:])
    assert refusal(folder).code == "E-CORRUPT"
    last.write_bytes(os.urandom(len(content)))
    volume = read_series(folder)
    assert_exact(volume)
    assert any(notice.startswith("W-LOST 1 file(s)") for notice in volume.warnings)


@pytest.mark.parametrize("target", ["outside", "nothing"])
def test_links_named_like_slices_are_refused(tmp_path: Path, target: str) -> None:
    folder = save(make_series(), tmp_path / "s")
    other = tmp_path / "other.dcm"
    if target == "outside":
        other.write_bytes((folder / "IM000.dcm").read_bytes())
    (folder / "IM020.dcm").symlink_to(other)
    error = refusal(folder)
    assert error.code == "E-CORRUPT" and "link" in str(error) and "cp -rL" in str(error)


def test_a_folder_of_links_advises_how_to_copy_it(tmp_path: Path) -> None:
    source, links = save(make_series(), tmp_path / "source"), tmp_path / "links"
    links.mkdir()
    for file in source.iterdir():
        (links / file.name).symlink_to(file)
    error = refusal(links)
    assert error.code == "E-NO-DICOM" and "cp -rL" in error.advice


def test_the_temporary_name_of_a_slice_that_is_being_copied_counts(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / ".IM003.dcm.Xa2f4C").write_bytes(bytes(100))
    assert "W-LOST" not in codes(folder)
    (folder / ".IM020.dcm.Xa2f4C").write_bytes(bytes(100))
    assert "W-LOST" in codes(folder)


def test_remains_in_the_folder_of_another_series_do_not_count(tmp_path: Path) -> None:
    save(make_series(), tmp_path / "s" / "a")
    other = make_series()
    for k, dataset in enumerate(other):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{SERIES_UID}.5", f"{SERIES_UID}.5.{k}"
    (save(other, tmp_path / "s" / "b") / "IM077.dcm").touch()
    assert_exact(read_series(tmp_path / "s", SERIES_UID))
    assert refusal(tmp_path / "s", series_uid=f"{SERIES_UID}.5").code == "E-CORRUPT"


@pytest.mark.parametrize("keep", [400, 900, 3000])
def test_an_interrupted_copy_beside_the_whole_file_is_left_out(tmp_path: Path, keep: int) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / "copy of IM003.dcm").write_bytes((folder / "IM003.dcm").read_bytes()[:keep])
    volume = read_series(folder)
    assert_exact(volume)
    assert any(notice.startswith("N-DROPPED 1 interrupted") for notice in volume.warnings)
    assert list_series(folder)[0].usable


def test_a_folder_that_changes_is_told(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    before = folder_state(folder)
    assert change_notices(before, folder) == []
    (folder / "IM099.dcm").write_bytes(b"new")
    (folder / "IM000.dcm").unlink()
    (folder / "IM001.dcm").write_bytes(b"other")
    (notice,) = change_notices(before, folder)
    assert notice.startswith("W-CHANGED") and "1 file(s) came, 1 went, 1 changed" in notice


def test_a_series_that_grows_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lungcad.dicom import series

    folder, decode = save(make_series(), tmp_path / "s"), series.decode_stack

    def grow(*arguments: Any) -> Any:
        (folder / "IM020.dcm").write_bytes(b"one more")
        return decode(*arguments)

    monkeypatch.setattr(series, "decode_stack", grow)
    assert "W-CHANGED" in codes(folder)
