# SPDX-License-Identifier: Apache-2.0
"""Several acquisitions in one series are told apart, refused where they overlap, and can be chosen."""

from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, STEP_MM, assert_exact, make_series, save
from pydicom.dataset import FileDataset

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.dicom.labels import seconds_of


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def tagged(series: list[FileDataset], first_uid: int, **tags: object) -> list[FileDataset]:
    for k, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"{SERIES_UID}.{first_uid}.{k}"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    return series


def raised(series: list[FileDataset], up_mm: float) -> list[FileDataset]:
    """The same images higher up: another body."""
    for dataset in series:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(z) + up_mm:.6g}"]
    return series


TAGS = [
    ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "1", "2"),
    ({"AcquisitionNumber": 1}, {}, "1", "none"),
    ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101630.5"}, "10:15:00.0", "10:16:30.5"),
    (
        {"AcquisitionDateTime": "20240131101500"}, {"AcquisitionDateTime": "20240201101500"}, "20240131-10:15:00.0",
        "20240201-10:15:00.0",
    ),
    ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, "1", "2"),
    ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}, "B30f", "B70f"),
    ({"SeriesNumber": 2}, {"SeriesNumber": 3}, "2", "3"),
    ({"ProtocolName": "Native"}, {"ProtocolName": "Venous"}, "Native", "Venous"),
    ({"SeriesTime": "101500"}, {"SeriesTime": "102000"}, "101500", "102000"),
    ({"StationName": "CT1"}, {"StationName": "CT2"}, "CT1", "CT2"),
    ({"SeriesDescription": "Soft"}, {"SeriesDescription": "Thin"}, "Soft", "Thin"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "label", "other"), TAGS)
@pytest.mark.parametrize("up_mm", [STEP_MM / 2, 0.4, 0.0], ids=["interleaved", "off the grid", "same places"])
def test_overlapping_acquisitions_are_refused_and_chosen(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], label: str, other: str, up_mm: float
) -> None:
    later = raised(tagged(make_series(), 2, RescaleIntercept="-1000", **second), up_mm)
    folder = save([*tagged(make_series(), 1, **first), *later], tmp_path / "s")
    error = refusal(folder)
    assert error.code == ("E-GEOM-DUP" if up_mm == 0 else "E-ACQUISITION")
    first_label = next(one for one in (label, other) if one != "none")
    assert f"--acquisition {first_label}" in str(error)
    assert_exact(read_series(folder, acquisition=label))
    (summary,) = list_series(folder)
    assert [one.slices for one in summary.acquisitions] == [20, 20] and not summary.usable
    assert {label, other} == {one.label for one in summary.acquisitions}
    assert read_series(folder, acquisition=other).hu.shape[2] == 20


def test_unknown_acquisition_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    error = refusal(save(tagged(make_series(), 1, AcquisitionNumber=4), tmp_path / "s"), acquisition="5")
    assert error.code == "E-ACQUISITION" and "there are: 4" in str(error)


def test_single_rotations_of_two_scans_that_interleave_are_refused(tmp_path: Path) -> None:
    first, second = make_series(), raised(tagged(make_series(), 2), STEP_MM / 2)
    for k, (one, two) in enumerate(zip(first, second, strict=True)):
        one.AcquisitionNumber, two.AcquisitionNumber = k, 50 + k
    assert refusal(save([*first, *second], tmp_path / "s")).code == "E-ACQUISITION"


@pytest.mark.parametrize("step_s", [0.02, 0.5, 2.0])
@pytest.mark.parametrize("numbered", [True, False])
def test_times_and_numbers_that_go_one_way_are_one_scan(tmp_path: Path, step_s: float, numbered: bool) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.AcquisitionTime = f"1015{k * step_s:05.2f}"
        if numbered:
            dataset.AcquisitionNumber = k // 4
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert not any("ACQUISITION" in notice for notice in volume.warnings)


def test_scans_after_each_other_are_joined_and_told(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.AcquisitionNumber = 1 + k // 10
    folder = save(series, tmp_path / "s")
    volume = read_series(folder)
    assert_exact(volume)
    assert any(notice.startswith("W-ACQUISITION the stack joins 2") for notice in volume.warnings)
    assert read_series(folder, acquisition="2").hu.shape[2] == 10


def test_two_scans_that_interleave_without_a_word_are_told(tmp_path: Path, phantom_dir: Path) -> None:
    import pydicom

    whole = [pydicom.dcmread(file) for file in phantom_dir.iterdir()]
    for dataset in whole:
        if dataset.InstanceNumber % 2:  # another phase: denser and shifted
            dataset.PixelData = b"".join(dataset.PixelData[-1280:] for _ in "a") + dataset.PixelData[:-1280]
            dataset["PixelData"].VR = "OW"
        dataset.save_as(tmp_path / f"{dataset.InstanceNumber}.dcm")
    assert any(notice.startswith("W-SLICE every second slice") for notice in read_series(tmp_path).warnings)


@pytest.mark.parametrize("count", [2, 3])
def test_image_numbers_that_run_on_along_every_second_image_are_told(tmp_path: Path, count: int) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = k // count + 100 * (k % count)
    volume = read_series(save(series, tmp_path / "a"))
    assert_exact(volume)
    assert any("W-ACQUISITION InstanceNumber runs on" in n and f"{count} scans" in n for n in volume.warnings)
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = 7919 * (k + 3) ** 2 % 9973  # as an anonymiser pleased
    assert not any("ACQUISITION" in notice for notice in read_series(save(series, tmp_path / "b")).warnings)


LOST_TAGS = [
    ("AcquisitionNumber", 1, 1), ("KVP", "120", 4), ("ConvolutionKernel", "B30f", 6), ("AcquisitionTime", "1015", 1),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "value", "missing"), LOST_TAGS)
def test_a_tag_that_few_images_lack_is_no_other_acquisition(
    tmp_path: Path, keyword: str, value: object, missing: int
) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        if k % 3 or k // 3 >= missing:
            setattr(dataset, keyword, value)
    assert_exact(read_series(save(series, tmp_path / "s")))


@pytest.mark.parametrize(
    ("keyword", "spellings"),
    [("KVP", ("120", "120.0")), ("ConvolutionKernel", ("LUNG", "Lung")), ("AcquisitionNumber", ("1", "01"))],
)
def test_spellings_of_a_tag_are_one_acquisition(tmp_path: Path, keyword: str, spellings: tuple[str, str]) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        setattr(dataset, keyword, spellings[k % 2])
    folder = save(series, tmp_path / "s")
    assert_exact(read_series(folder))
    assert not list_series(folder)[0].acquisitions


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("101500.25", 36900.25), ("20240101101500.000000+0100", None), ("", None), ("noon", None), ("10", 36000)],
)  # fmt: skip
def test_times_are_read(text: str, seconds: float | None) -> None:
    found = seconds_of(text)
    if text.startswith("2024"):
        assert found is not None and found % 86400 == 36900
    else:
        assert found == seconds
