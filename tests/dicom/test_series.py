# SPDX-License-Identifier: Apache-2.0
"""Rows of the intake table about folders, files and the choice of the series."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, assert_exact, bare_object, make_series, save
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.errors import InputError
from lungcad.reading.volume_file import read_volume
from lungcad.volume import Volume


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def codes(volume: Volume) -> list[str]:
    return [notice.code for notice in volume.warnings]


def as_series(series: list[FileDataset], number: int, **tags: object) -> list[FileDataset]:
    for k, dataset in enumerate(series):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{SERIES_UID}.{number}", f"{SERIES_UID}.{number}.{k}"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    return series


def localizer(dataset: FileDataset) -> FileDataset:
    dataset.ImageType, dataset.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.3.99"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return dataset


def test_several_ct_series_are_refused_and_listed(tmp_path: Path) -> None:
    save(make_series(), tmp_path / "s" / "a")
    save(as_series(make_series(step_mm=2.0), 2), tmp_path / "s" / "b")
    error = refusal(tmp_path / "s")
    assert error.code == "E-MULTI-SERIES"
    assert SERIES_UID in str(error) and f"{SERIES_UID}.2" in str(error) and "series_uid" in str(error)
    first, second = (read_series(tmp_path / "s", uid) for uid in (SERIES_UID, f"{SERIES_UID}.2"))
    assert_exact(first)
    assert_exact(second)
    assert second.spacing_mm[2] == pytest.approx(2.0)
    assert "N-DROPPED" in codes(first)


def test_unknown_series_uid_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    error = refusal(save(make_series(), tmp_path / "s"), series_uid="1.2.3")
    assert error.code == "E-NO-DICOM" and SERIES_UID in str(error)


def test_localizer_in_the_series_is_dropped(tmp_path: Path) -> None:
    volume = read_series(save([*make_series(), localizer(make_series()[0])], tmp_path / "s"))
    assert_exact(volume)
    assert "N-DROPPED" in codes(volume)


def test_localizers_alone_are_refused(tmp_path: Path) -> None:
    series = [localizer(dataset) for dataset in make_series()]
    assert refusal(save(series, tmp_path / "s")).code == "E-NOT-CT"


def test_localizer_series_beside_does_not_count(tmp_path: Path) -> None:
    save(as_series([localizer(make_series()[0])], 3), tmp_path / "s", "LOC{}".format)
    assert_exact(read_series(save(make_series(), tmp_path / "s")))


@pytest.mark.parametrize(
    "image_type", [["DERIVED", "SECONDARY", "MPR"], ["DERIVED", "PRIMARY", "AXIAL"], ["ORIGINAL", "SECONDARY", "AXIAL"]]
)
def test_an_even_axial_stack_is_read_whatever_its_type_says(tmp_path: Path, image_type: list[str]) -> None:
    volume = read_series(save(as_series(make_series(), 1, ImageType=image_type), tmp_path / "s"))
    assert_exact(volume)
    assert "W-DERIVED" in codes(volume)


def test_one_derived_image_that_fits_is_read_and_told(tmp_path: Path) -> None:
    series = make_series()
    series[-1].ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert any(notice.startswith("W-DERIVED ImageType of 1 of 20") for notice in volume.warnings)


@pytest.mark.parametrize(
    "tags",
    [
        {"SOPClassUID": uid.SecondaryCaptureImageStorage},
        {"SOPClassUID": uid.MRImageStorage, "Modality": "MR"},
        {"Modality": "MR"},
        {"Modality": "PT"},
    ],
)
def test_other_modality_or_class_is_refused(tmp_path: Path, tags: dict[str, object]) -> None:
    assert refusal(save(as_series(make_series(), 1, **tags), tmp_path / "s")).code == "E-NOT-CT"


def test_one_ct_image_of_another_modality_is_never_dropped_silently(tmp_path: Path) -> None:
    series = make_series()
    del series[-1].Modality
    assert refusal(save(series, tmp_path / "s")).code == "E-NOT-CT"


@pytest.mark.parametrize("uid_text", ["../../etc", "1.2..3", "/root", "."])
def test_uid_that_could_leave_the_output_folder_is_refused(tmp_path: Path, uid_text: str) -> None:
    folder = save(make_series(), tmp_path / "s")
    for file in folder.iterdir():
        content = file.read_bytes()
        file.write_bytes(content.replace(SERIES_UID.encode() + b"\0", uid_text.encode().ljust(28, b"\0"), 1))
    error = refusal(folder)
    assert error.code == "E-TAG-VALUE" and "SeriesInstanceUID" in str(error)


@pytest.mark.parametrize("name", ["MR_small.dcm", "reportsi.dcm", "SC_rgb_rle.dcm", "693_J2KI.dcm", "MR_truncated.dcm"])
def test_pydicoms_own_files_of_other_kinds_are_refused(name: str) -> None:
    assert refusal(Path(str(get_testdata_file(name)))).code == "E-NOT-CT"


def test_dose_report_beside_the_series_is_not_read(tmp_path: Path) -> None:
    report = bare_object(uid.XRayRadiationDoseSRStorage, "1.2.3.4")
    report.Modality = "SR"
    volume = read_series(save([*make_series(), report], tmp_path / "s"))
    assert_exact(volume)
    assert "N-DROPPED" in codes(volume)


def test_other_files_are_counted(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "empty.dcm").touch()
    (folder / "notes.txt").write_text("not an image, but more than 132 bytes long " * 8)
    volume = read_series(folder)
    assert_exact(volume)
    assert [n for n in volume.warnings if n.code == "N-NOT-DICOM"] == ["N-NOT-DICOM 3 of 23 files are not DICOM."]


def test_nested_folders_without_extensions_are_searched(tmp_path: Path) -> None:
    series = make_series()
    save(series[::2], tmp_path / "s" / "A" / "B", "I{}".format)
    save(series[1::2], tmp_path / "s" / "C", "{}".format)
    assert_exact(read_series(tmp_path / "s"))


@pytest.mark.parametrize("path", ["", "DICOMDIR"])
def test_file_set_with_dicomdir(tmp_path: Path, path: str) -> None:
    file_set = FileSet()
    for dataset in make_series():
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240101", "1200", "1", "1"
        dataset.SeriesNumber = 1
        file_set.add(dataset)
    file_set.write(tmp_path / "s")
    volume = read_series(tmp_path / "s" / path)
    assert_exact(volume)
    assert "N-DICOMDIR" in codes(volume)


def test_empty_missing_and_text_only_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    for path in ("", "a\0b"):  # an empty path would be the current folder
        assert refusal(path).code == "E-NO-DICOM"  # type: ignore[arg-type]
    for name in ("empty", "text", "nowhere", "text/a.txt"):
        assert refusal(tmp_path / name).code == "E-NO-DICOM"
        with pytest.raises(DicomSeriesError, match="E-NO-DICOM"):
            list_series(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission_is_refused(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    next(folder.iterdir()).chmod(0)
    assert refusal(folder).code == "E-NO-DICOM"
    folder.chmod(0)
    assert refusal(folder).code == "E-NO-DICOM"
    folder.chmod(0o700)


def test_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(make_series(), tmp_path / "s")
    opened = Path.open

    def deny(path: Path, *arguments: object) -> object:
        if path.name == "IM004.dcm":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", deny)
    assert refusal(folder).code == "E-NO-DICOM"


def test_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    series = make_series(21)
    folder = save(series[:20], tmp_path / "s")
    (folder / "link.dcm").symlink_to(save(series[20:], tmp_path / "other") / "IM000.dcm")
    (folder / "inside.dcm").symlink_to(folder / "IM000.dcm")
    (folder / "loop").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path)
    volume = read_series(folder)
    assert_exact(volume)
    assert next(n for n in volume.warnings if n.code == "W-SYMLINK").startswith("W-SYMLINK 2 symbolic")


def test_links_in_a_circle_are_not_followed(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    volume = read_series(folder)
    assert_exact(volume)
    assert any(notice.startswith("W-SYMLINK 2 symbolic") for notice in volume.warnings)


@pytest.mark.parametrize("name", ["x" * 300, "circle", "x" * 300 + ".nii", "circle.mhd"])
def test_paths_that_the_system_refuses_are_told(tmp_path: Path, name: str) -> None:
    for circle in ("circle", "circle.mhd"):
        (tmp_path / circle).symlink_to(tmp_path / circle)
    with pytest.raises(InputError, match="E-NO-DICOM"):
        read_volume(tmp_path / name)


def test_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(save(make_series(), tmp_path / "s"))
    assert_exact(read_series(tmp_path / "link"))


@pytest.mark.parametrize("name", ["scan.zip", "scan.tar.gz", "scan.7z", "scan.tar.zst", "disc.iso", "scan"])
def test_archive_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).write_bytes(b"PK\x03\x04" + bytes(400))
    assert refusal(tmp_path / "s").code == "E-ARCHIVE"
    assert refusal(tmp_path / "s" / name).code == "E-ARCHIVE"


def test_folder_of_volume_files_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(bytes(400))
    assert refusal(tmp_path).code == "E-NO-DICOM"


def test_listing_a_lone_damaged_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(3))
    with pytest.raises(DicomSeriesError, match="E-CORRUPT"):
        list_series(tmp_path)


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    os.mkfifo(folder / "pipe")
    assert_exact(read_series(folder))


def test_list_series_tells_all_with_reasons_and_no_names(tmp_path: Path) -> None:
    save(make_series(), tmp_path / "s" / "a")
    gap = as_series(make_series(), 2, SeriesDescription="gap of Secret Person")
    del gap[4]
    save(gap, tmp_path / "s" / "b")
    save(as_series(make_series(1), 3, Modality="MR", SOPClassUID=uid.MRImageStorage), tmp_path / "s" / "c")
    good, bad, other = list_series(tmp_path / "s")
    assert good.usable and (good.slices, good.matrix, good.modality) == (20, (40, 48), "CT")
    assert good.spacing_mm == pytest.approx((0.7, 0.9, 1.25))
    assert (bad.usable, bad.code) == (False, "E-GEOM-SPACING") and "z=" in bad.reason
    assert (other.usable, other.code, other.modality) == (False, "E-NOT-CT", "MR")
    shown = repr([good, bad, other])
    assert not any(word in shown for word in ("Secret", "Person", "ID12345"))


def test_nothing_personal_in_volume_or_errors(tmp_path: Path) -> None:
    folder = save(as_series(make_series(), 2, SeriesDescription="CT of secret^person"), tmp_path / "a")
    volume = read_series(folder)
    assert "ecret" not in volume.description + "".join(volume.warnings)
    save(make_series(), tmp_path / "a", "B{}.dcm".format)
    assert "ecret" not in str(refusal(tmp_path / "a"))


def test_real_patient_with_localizers_and_five_slices_is_refused() -> None:
    folder = Path(str(get_testdata_file("dicomdirtests/98892001/CT5N/2392"))).parent
    assert refusal(folder).code == "E-FEW-SLICES"
    assert read_series(folder, min_slices=5).hu.shape == (16, 16, 5)
    assert refusal(folder.parent / "CT2N").code == "E-NOT-CT"
    assert refusal(folder.parent).code == "E-FEW-SLICES"
    gap = refusal(folder.parents[1] / "77654033" / "CT2", min_slices=2)
    assert gap.code == "E-GEOM-SPACING"


def test_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        read_series(tmp_path, allow_everything=True)


def test_import_stays_light() -> None:
    probe = "import sys, lungcad.dicom; print([m for m in ('torch', 'monai', 'SimpleITK') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr
