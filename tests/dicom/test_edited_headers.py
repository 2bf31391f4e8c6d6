# SPDX-License-Identifier: Apache-2.0
"""Headers that gateways, anonymisers and users edited: read where the scan is whole, and told; choices that work."""

from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, STEP_MM, assert_exact, make_series, save
from pydicom.dataset import FileDataset

from lungcad.dicom import DicomSeriesError, list_series, read_series


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def notice_of(folder: Path) -> str:
    """Notice W-ACQUISITION of a scan that is read whole; empty where there is none."""
    volume = read_series(folder)
    assert_exact(volume)
    return next((notice for notice in volume.warnings if notice.startswith("W-ACQUISITION")), "")


def tagged(keyword: str, usual: object, other: object, images: list[int]) -> list[FileDataset]:
    series = make_series()
    for k, dataset in enumerate(series):
        setattr(dataset, keyword, other if k in images else usual)
    return series


EDITED = [
    ("AcquisitionNumber", 1, 2, [9]), ("SeriesTime", "120000", "120001", [9]), ("SeriesNumber", 3, 4, [9]),
    ("SeriesDescription", "Chest", "Lung", [5, 12]), ("StationName", "CT1", "CT1_GW", [1, 4, 5, 9, 13, 14]),
    ("ConvolutionKernel", "STANDARD", "STANDARD\\1", [7]),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "usual", "other", "images"), EDITED)
def test_images_with_an_edited_tag_are_read_and_named(
    tmp_path: Path, keyword: str, usual: object, other: object, images: list[int]
) -> None:
    text = notice_of(save(tagged(keyword, usual, other, images), tmp_path / "s"))
    assert f"{len(images)} of 20 images have another {keyword}" in text and f"(image {images[0] + 1})" in text


@pytest.mark.parametrize(("keyword", "usual", "other"), [("ConvolutionKernel", "B30f", "B31f"), ("KVP", "120", "80")])
def test_one_image_of_another_reconstruction_is_refused_without_a_choice(
    tmp_path: Path, keyword: str, usual: str, other: str
) -> None:
    error = refusal(save(tagged(keyword, usual, other, [9]), tmp_path / "s"))
    assert error.code == "E-ACQUISITION" and "image 10" in error.message and "--acquisition" not in error.advice


def test_every_second_image_of_another_scan_is_refused(tmp_path: Path) -> None:
    error = refusal(save(tagged("AcquisitionNumber", 1, 2, [*range(0, 20, 2)]), tmp_path / "s"))
    assert error.code == "E-ACQUISITION" and "--acquisition 1" in error.advice


def test_one_image_of_another_frame_of_reference_offers_no_choice(tmp_path: Path) -> None:
    series = make_series()
    series[9].FrameOfReferenceUID = "1.2.3"
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-IDENTITY" and "--acquisition" not in error.advice


def test_the_largest_acquisition_is_offered_and_none_that_cannot_be_read(tmp_path: Path) -> None:
    few = make_series(3)
    for k, dataset in enumerate(few):
        dataset.AcquisitionNumber, dataset.SOPInstanceUID = 1, f"{SERIES_UID}.8.{k}"
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset["PixelData"].VR = "OW"
    folder = save([*tagged("AcquisitionNumber", 2, 2, []), *few], tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-GEOM-DUP" and "Choose an acquisition: 2 (" in error.advice
    assert "Choose an acquisition: 2 (" in list_series(folder)[0].reason
    assert_exact(read_series(folder, acquisition="2"))


def test_a_label_with_a_backslash_is_quoted_for_python_and_the_shell(tmp_path: Path) -> None:
    second = make_series()
    for k, dataset in enumerate(second):
        dataset.SOPInstanceUID, dataset.ConvolutionKernel = f"{SERIES_UID}.8.{k}", ["I70f", "3"]
        dataset.RescaleIntercept = "-1000"
    folder = save([*tagged("ConvolutionKernel", ["I31f", "3"], "", []), *second], tmp_path / "s")
    advice = refusal(folder).advice
    assert r"acquisition='I31f\\3'" in advice and r"--acquisition 'I31f\3'" in advice
    assert_exact(read_series(folder, acquisition=r"I31f\3"))


def test_times_of_reconstruction_and_measured_voltages_are_one_scan(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.AcquisitionTime, dataset.KVP = f"1200{2 * (k ^ 1):02d}", f"{119 + 0.07 * (7 * k % 13):.2f}"
    assert "AcquisitionTime rises and falls" in notice_of(save(series, tmp_path / "s"))


def test_slices_that_are_all_there_twice_are_no_two_scans(tmp_path: Path) -> None:
    again = make_series()
    for k, dataset in enumerate(again):
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{SERIES_UID}.8.{k}", 21 + k
    assert not notice_of(save([*make_series(), *again], tmp_path / "s"))


def test_one_uid_for_all_images_makes_no_copy_of_a_damaged_one(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{SERIES_UID}.1"
    folder = save(series, tmp_path / "s")
    assert_exact(read_series(folder))
    file = next(folder.iterdir())
    file.write_bytes(file.read_bytes()[:700])
    assert refusal(folder).code == "E-CORRUPT"
    series[3].FrameOfReferenceUID = "1.2.3"
    assert refusal(save(series, tmp_path / "t")).code == "E-IDENTITY"


def test_a_series_uid_for_each_image_is_explained(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.SeriesInstanceUID = f"{SERIES_UID}.{k}"
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-MULTI-SERIES" and "anonymisers" in error.message and "--series_uid" not in error.advice


DESCRIBED = [
    ("AX MIPS 8x2", "MIP"), ("Lung MIP10mm", "MIP"), ("Axial MIPs", "MIP"), ("AX MINIPS", "MinIP"),
    ("Thorax Iodine Map", "spectral"), ("Iodine(Water)", "spectral"), ("Lung PBV 1.5", "spectral"),
    ("Body 1.0 CE AIDR 3D STD", ""), ("CHEST 3D THIN 0.75", ""), ("Thorax 1.0 B31f for MIP/VRT", ""),
    ("Thorax 80 ml iodine", ""), ("MonoE 70keV", ""),
]  # fmt: skip


@pytest.mark.parametrize(("description", "says"), DESCRIBED)
def test_descriptions_of_derived_images_are_judged_by_whole_words(tmp_path: Path, description: str, says: str) -> None:
    series = make_series(8)
    for dataset in series:
        dataset.ImageType, dataset.SeriesDescription = ["DERIVED", "PRIMARY", "AXIAL"], description
    folder = save(series, tmp_path / "s")
    if says:
        assert refusal(folder).code == "E-NOT-CT" and says in str(refusal(folder))
    else:
        assert any(notice.startswith("W-DERIVED") for notice in read_series(folder).warnings)


def test_positions_rounded_to_a_tenth_widen_and_tilt_nothing(tmp_path: Path) -> None:
    thick = make_series(24, step_mm=5.0)
    for k, dataset in enumerate(thick):  # 115.1 mm over 23 distances
        dataset.ImagePositionPatient = [-14, -21.6, f"{-100.1 + 5 * k + (0.1 if k == 23 else 0):.1f}"]
    assert read_series(save(thick, tmp_path / "a")).hu.shape[2] == 24
    short = make_series(10, step_mm=0.5)
    for k, dataset in enumerate(short):
        dataset.ImagePositionPatient = [f"{-14 + (0.1 if k > 5 else 0):.1f}", -21.6, -100 + 0.5 * k]
    assert read_series(save(short, tmp_path / "b")).hu.shape[2] == 10
    thin = make_series(21, step_mm=0.2)
    del thin[10]
    assert refusal(save(thin, tmp_path / "c")).code == "E-GEOM-SPACING"


@pytest.mark.parametrize("thickness", ["5", "1"])
def test_slices_thicker_than_their_distance_are_told(tmp_path: Path, thickness: str) -> None:
    series = make_series()
    for dataset in series:
        dataset.SliceThickness = thickness
    volume = read_series(save(series, tmp_path / "s"))
    assert any("5 mm thick" in notice for notice in volume.warnings) is (thickness == "5")
    assert volume.spacing_mm[2] == pytest.approx(STEP_MM)
