# SPDX-License-Identifier: Apache-2.0
"""Tag rows of the intake table: values that are missing, broken or unusual."""

from pathlib import Path

import pytest
from dicom_phantom import assert_exact, make_series, save

from lungcad.dicom import DicomSeriesError, list_series, read_series


def refused_as(folder: Path) -> str:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder)
    return caught.value.code


@pytest.mark.parametrize(
    "keyword",
    [
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept", "Rows", "Columns",
        "BitsAllocated", "PixelRepresentation", "SeriesInstanceUID",
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", [slice(None), slice(5, 6)])
def test_missing_tag_is_refused(tmp_path: Path, keyword: str, which: slice) -> None:
    series = make_series()
    for dataset in series[which]:
        del dataset[keyword]
    if keyword == "SeriesInstanceUID" and which.start:
        assert refused_as(save(series, tmp_path / "s")) in ("E-TAG-MISSING", "E-MULTI-SERIES")
    else:
        assert refused_as(save(series, tmp_path / "s")) == "E-TAG-MISSING"


@pytest.mark.parametrize(
    "keyword",
    [
        "SliceThickness", "InstanceNumber", "PatientID", "PatientName", "FrameOfReferenceUID", "StudyInstanceUID",
        "SeriesDescription", "RescaleSlope", "ImageType",
    ],
)  # fmt: skip
def test_tag_without_meaning_for_the_volume_may_be_missing(tmp_path: Path, keyword: str) -> None:
    series = make_series()
    for dataset in series:
        del dataset[keyword]
    assert_exact(read_series(save(series, tmp_path / "s")))


def test_thickness_and_dates_may_vary_within_a_series(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.SliceThickness, dataset.SeriesDate = str(1 + k % 2), "20240101" if k < 12 else "20240102"
    assert_exact(read_series(save(series, tmp_path / "s")))


def with_raw_value(folder: Path, keyword: str, old: bytes, new: bytes) -> Path:
    """Patch the bytes of a value: pydicom refuses to write broken ones. Lengths must be equal."""
    assert len(old) == len(new), keyword
    changed = 0
    for file in folder.iterdir():
        content = file.read_bytes()
        changed += old in content
        file.write_bytes(content.replace(old, new, 1))
    assert changed, keyword
    return folder


@pytest.mark.parametrize(
    ("keyword", "old", "new"),
    [
        ("PixelSpacing", rb"0.9\0.7 ", rb"nan\0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"0.0\0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"-.9\0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"inf\0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"0.9 0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"a.b\0.7 "),
        ("PixelSpacing", rb"0.9\0.7 ", rb"9e9\0.7 "),
        ("ImagePositionPatient", rb"-14\-21.6\-105", rb"nan\-21.6\-105"),
        ("ImagePositionPatient", rb"-14\-21.6\-105", rb"-14\-21.6--105"),
        ("RescaleIntercept", b"-1024 ", b"nan   "),
    ],
)
def test_broken_value_is_refused(tmp_path: Path, keyword: str, old: bytes, new: bytes) -> None:
    folder = save(make_series(), tmp_path / "s")
    assert refused_as(with_raw_value(folder, keyword, old, new)) == "E-TAG-VALUE"
    (summary,) = list_series(folder)
    assert not summary.usable and summary.code == "E-TAG-VALUE"


@pytest.mark.parametrize("slope", ["0", "-1"])
def test_rescale_slope_must_be_positive(tmp_path: Path, slope: str) -> None:
    series = make_series()
    series[3].RescaleSlope = slope
    assert refused_as(save(series, tmp_path / "s")) == "E-TAG-VALUE"


@pytest.mark.parametrize("keyword", ["BitsAllocated", "BitsStored"])
def test_impossible_pixel_format_is_refused(tmp_path: Path, keyword: str) -> None:
    series = make_series()
    for dataset in series:
        dataset[keyword].value = 99
    assert refused_as(save(series, tmp_path / "s")) == "E-TAG-VALUE"
