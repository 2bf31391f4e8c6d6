# SPDX-License-Identifier: Apache-2.0
"""A fault that every second slice has never thins out a scan, and other stacks beside the slices are left out."""

from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, STEP_MM, assert_exact, make_series, save
from enhanced_phantom import enhanced, item
from pydicom import uid
from pydicom.dataset import FileDataset

from lungcad.dicom import DicomSeriesError, read_series

SLICES = 21
"""The slices at both ends are sound."""


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def change(datasets: list[FileDataset], tags: dict[str, object]) -> None:
    """Change tags of the images; None deletes one."""
    for dataset in datasets:
        for keyword, value in tags.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        if "Rows" in tags:
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
            dataset["PixelData"].VR = "OW"


DERIVED = {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "value", [["DERIVED", "PRIMARY", "AXIAL"], ["ORIGINAL", "SECONDARY"], ["ORIGINAL", "X", "MPR"]]
)
def test_slices_that_say_derived_between_originals_are_read(tmp_path: Path, count: int, value: list[str]) -> None:
    series = make_series(25)
    change([one for k, one in enumerate(series) if k % count], {"ImageType": value})
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume, slices=25)
    assert any(notice.startswith("W-DERIVED") for notice in volume.warnings)


FAULTS = [
    ({"RescaleIntercept": None}, "E-TAG-MISSING"), ({"PixelSpacing": None}, "E-TAG-MISSING"),
    ({"PixelRepresentation": None}, "E-TAG-MISSING"), ({"RescaleSlope": "0"}, "E-TAG-VALUE"),
    ({"Modality": "OT"}, "E-NOT-CT"), ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "E-NOT-CT"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "E-NOT-CT"), ({"Rows": 24}, "E-MATRIX"),
    ({"PixelSpacing": [0.9009, 0.7007]}, "E-GEOM-PIXSPACING"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 1, "0.9"]}, "E-GEOM-IOP"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, "E-GEOM-ORIENT"),
    ({**DERIVED, "ImagePositionPatient": None}, "E-TAG-MISSING"),
]  # fmt: skip


@pytest.mark.parametrize(("tags", "code"), FAULTS)
def test_a_fault_of_every_second_slice_is_refused(tmp_path: Path, tags: dict[str, object], code: str) -> None:
    series = make_series(SLICES)
    change(series[1::2], tags)
    assert refusal(save(series, tmp_path / "s")).code == code


def test_faults_of_several_kinds_and_a_gap_hide_nothing(tmp_path: Path) -> None:
    series = make_series(25)
    change(series[1::4], {"RescaleIntercept": None})
    change(series[3::4], {"Modality": "OT"})
    del series[11]
    assert refusal(save(series, tmp_path / "s")).code in ("E-TAG-MISSING", "E-NOT-CT")


def test_a_finer_derived_stack_over_the_same_places_is_left_out(tmp_path: Path) -> None:
    originals, fine = make_series(20), make_series(39, step_mm=STEP_MM / 2)
    for k, dataset in enumerate(fine):
        x, y, _ = originals[0].ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(originals[0].ImagePositionPatient[2]) + k * STEP_MM / 2:g}"]
        dataset.SOPInstanceUID = f"{SERIES_UID}.8.{k}"
    change(fine, DERIVED)
    volume = read_series(save([*originals, *fine], tmp_path / "s"))
    assert_exact(volume)
    assert any(n.startswith("N-DROPPED 39 image(s)") for n in volume.warnings)


def whole_object(scouts: slice | None, series: list[FileDataset]) -> FileDataset:
    whole = enhanced(series)
    for groups in whole.PerFrameFunctionalGroupsSequence[scouts] if scouts else []:
        groups.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    return whole


@pytest.mark.parametrize("scouts", [slice(1, None, 2), slice(16, None)], ids=["every second", "the last"])
def test_localizer_frames_in_the_stack_are_refused(tmp_path: Path, scouts: slice) -> None:
    error = refusal(save([whole_object(scouts, make_series(SLICES))], tmp_path / "s"))
    assert error.code == "E-NOT-CT" and "localizers" in error.message and "z=" in error.message


@pytest.mark.parametrize("placed", [True, False])
def test_a_scout_frame_beside_the_stack_is_left_out_and_told(tmp_path: Path, placed: bool) -> None:
    whole = whole_object(slice(20, 21), make_series(SLICES))
    last = whole.PerFrameFunctionalGroupsSequence[20]
    last.PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]
    last.PlanePositionSequence = [item(ImagePositionPatient=[-100, 0, 200])] if placed else []
    volume = read_series(save([whole], tmp_path / "s"))
    assert_exact(volume)
    assert any(n.startswith("N-DROPPED 1 image(s)") and "LOCALIZER" in n for n in volume.warnings)


def test_frames_that_say_derived_are_told(tmp_path: Path) -> None:
    series = make_series()
    change(series, DERIVED)
    volume = read_series(save([enhanced(series)], tmp_path / "s"))
    assert_exact(volume)
    assert any(n.startswith("W-DERIVED") and "20 of 20" in n for n in volume.warnings)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_a_concatenation_needs_all_its_parts(tmp_path: Path, both: bool, numbered: bool) -> None:
    series = make_series()
    parts = [enhanced(series[:10]), enhanced(series[10:])]
    for k, part in enumerate(parts, 1):
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{k}"
        part.ConcatenationUID, part.InConcatenationTotalNumber = "1.2.3.9", 2
        if numbered:
            part.InConcatenationNumber = k
    folder = save(parts if both else parts[:1], tmp_path / "s")
    if both:
        assert_exact(read_series(folder))
    else:
        assert refusal(folder).code == "E-CORRUPT"


@pytest.mark.parametrize(("macro", "keyword"), [("CTReconstruction", "ConvolutionKernel"), ("FrameContent", "StackID")])
def test_kernels_and_stacks_of_one_object_can_be_chosen(tmp_path: Path, macro: str, keyword: str) -> None:
    whole = enhanced([*make_series(), *make_series(intercept=-1000)])
    for k, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        setattr(groups, f"{macro}Sequence", [item(**{keyword: "B31f" if k < 20 else "B70f"})])
    folder = save([whole], tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-GEOM-DUP" and "--acquisition B31f" in error.advice and "altered copy" not in error.message
    assert_exact(read_series(folder, acquisition="B31f"))
