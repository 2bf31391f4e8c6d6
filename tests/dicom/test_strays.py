# SPDX-License-Identifier: Apache-2.0
"""Objects that cannot belong to the stack are left out and told; what could be a slice is named and refused."""

from pathlib import Path

import pytest
from dicom_phantom import BETWEEN_ROWS_MM, SERIES_UID, STEP_MM, assert_exact, bare_object, make_series, make_slice, save
from pydicom import uid
from pydicom.dataset import FileDataset

from lungcad.dicom import DicomSeriesError, read_series
from lungcad.dicom.image_type import kind_of_type, processed_name


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def stray(**tags: object) -> FileDataset:
    """A copy of the slice at index 9 with changed tags; None deletes one."""
    dataset = make_series()[9]
    dataset.SOPInstanceUID = f"{SERIES_UID}.99"
    for keyword, value in tags.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


SCREEN = {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "ImagePositionPatient": None}


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImagePositionPatient": [-14, 5, -90]},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [5, -20, -90]},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "ImagePositionPatient": None}, SCREEN,
        {**SCREEN, "PixelSpacing": None, "ImageOrientationPatient": None, "RescaleIntercept": None},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
        {"PixelSpacing": [0.5, 0.5]},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {"Modality": "OT"}, {"RescaleIntercept": None},
    ],
)  # fmt: skip
def test_what_cannot_be_a_slice_is_left_out(tmp_path: Path, tags: dict[str, object]) -> None:
    volume = read_series(save([*make_series(), stray(**tags)], tmp_path / "s"))
    assert_exact(volume)
    assert any(notice.startswith("N-DROPPED") for notice in volume.warnings)


def test_another_matrix_at_a_place_that_is_taken_is_left_out(tmp_path: Path) -> None:
    small = make_slice([float(value) for value in make_series()[9].ImagePositionPatient], 99, rows=24)
    assert_exact(read_series(save([*make_series(), small], tmp_path / "s")))


@pytest.mark.parametrize("index", [0, 9, 19])
@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"RescaleIntercept": None}, "E-TAG-MISSING"), ({"ImagePositionPatient": None}, "E-TAG-MISSING"),
        ({"Modality": "OT"}, "E-NOT-CT"), ({"SOPClassUID": "1.2.3"}, "E-NOT-CT"),
        ({"SOPClassUID": uid.MRImageStorage}, "E-NOT-CT"), ({"PixelSpacing": [0.5, 0.5]}, "E-GEOM-PIXSPACING"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "E-NOT-CT"),
        ({"ImagePositionPatient": [1e9, 0, 0]}, "E-TAG-VALUE"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "E-GEOM-ORIENT"), ({"SamplesPerPixel": 3}, "E-NOT-CT"),
    ],
)  # fmt: skip
def test_what_could_be_a_slice_is_named(tmp_path: Path, index: int, tags: dict[str, object], code: str) -> None:
    series = make_series()
    for keyword, value in tags.items():
        if value is None:
            del series[index][keyword]
        else:
            setattr(series[index], keyword, value)
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == code and "IM" in error.message


@pytest.mark.parametrize(
    ("image_type", "kind", "name"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL"], "image", ""), (["ORIGINAL", "SECONDARY", "AXIAL"], "derived", ""),
        (["DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], "derived", ""),
        (["DERIVED", "SECONDARY", "MPR"], "derived", ""),
        (["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"], "derived", ""),
        (["DERIVED", "SECONDARY", "MIP", "CSA MIP"], "processed", "maximum intensity projection (MIP)"),
        (["DERIVED", "PRIMARY", "VOLUME", "MIN_IP"], "processed", "minimum intensity projection (MinIP)"),
        (["DERIVED", "SECONDARY", "PROJECTION IMAGE"], "processed", "projection"),
        (["DERIVED", "SECONDARY", "SUBTRACTION"], "processed", "subtraction"),
        (["DERIVED", "SECONDARY", "VRT"], "processed", "3D rendering"),
        (["DERIVED", "SECONDARY", "VOLUME RENDERED"], "processed", "3D rendering"),
        (["DERIVED", "SECONDARY", "REFORMATTED", "RAYSUM"], "processed", "projection"),
        (["DERIVED", "SECONDARY", "DRR"], "processed", "projection"),
        (["DERIVED", "SECONDARY", "PANORAMIC"], "processed", "curved reformation"),
        (["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM7 SPI", "VMI MONO", "QIR"], "image", ""),
        (["ORIGINAL", "PRIMARY", "SCANO"], "localizer", ""),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer", ""),
        ([], "image", ""),
    ],
)  # fmt: skip
def test_image_types_stand_for(image_type: list[str], kind: str, name: str) -> None:
    assert kind_of_type(tuple(image_type)) == kind and processed_name(tuple(image_type)) == name


@pytest.mark.parametrize(
    ("image_type", "says"),
    [
        (["DERIVED", "SECONDARY", "MIP"], "maximum intensity projection"),
        (["DERIVED", "SECONDARY", "MINIP"], "minimum intensity"),
        (["DERIVED", "PRIMARY", "SUBTRACTION"], "subtraction"), (["DERIVED", "SECONDARY", "VRT"], "3D rendering"),
        (["DERIVED", "SECONDARY", "PROJECTION IMAGE"], "projection"),
    ],
)  # fmt: skip
def test_processed_images_are_refused_by_what_they_are(tmp_path: Path, image_type: list[str], says: str) -> None:
    series = make_series()
    for dataset in series:
        dataset.ImageType = image_type
    folder = save(series, tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-NOT-CT" and says in str(error) and "allow_derived" in str(error)
    assert_exact(read_series(folder, allow_derived=True))


def test_a_reformation_of_another_plane_is_named(tmp_path: Path) -> None:
    from dicom_phantom import directions

    series = make_series(axes=directions((1, 0, 0), (0, 0, -1)))
    for dataset in series:
        dataset.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-GEOM-NOT-AXIAL" and "MPR" in str(error)


def test_a_description_is_believed_of_derived_images_only(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.SeriesDescription, dataset.ImageType = "Thorax MIP 10mm", ["DERIVED", "SECONDARY", "AXIAL"]
    assert "maximum intensity" in str(refusal(save(series, tmp_path / "a")))
    for dataset in series:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert_exact(read_series(save(series, tmp_path / "b")))


def test_original_series_beside_a_derived_one_is_read(tmp_path: Path) -> None:
    save(make_series(), tmp_path / "s" / "a")
    derived = make_series()
    for k, dataset in enumerate(derived):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{SERIES_UID}.5", f"{SERIES_UID}.5.{k}"
        dataset.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    save(derived, tmp_path / "s" / "b")
    assert_exact(read_series(tmp_path / "s"))


@pytest.mark.parametrize(("sag_mm", "read"), [(0.3, True), (0.45, True), (0.8, False)])
def test_a_sagging_table_is_read_up_to_half_a_millimetre(tmp_path: Path, sag_mm: float, read: bool) -> None:
    series = make_series(20)
    for k, dataset in enumerate(series):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, f"{float(y) + sag_mm * (1 - (k / 9.5 - 1) ** 2):.6f}", z]
    folder = save(series, tmp_path / "s")
    if read:
        volume = read_series(folder)
        assert any(notice.startswith("N-SAG") for notice in volume.warnings)
        assert_exact(volume, tolerance_hu=0.501 + 3 * sag_mm)  # 3 HU per mm along y
    else:
        assert refusal(folder).code == "E-GEOM-SPACING"


def test_one_shifted_slice_is_no_sag(tmp_path: Path) -> None:
    series = make_series()
    x, y, z = series[7].ImagePositionPatient
    series[7].ImagePositionPatient = [x, float(y) + BETWEEN_ROWS_MM / 3, z]
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-SPACING"


def test_thin_then_thick_says_so(tmp_path: Path) -> None:
    thick = make_series(30, step_mm=2 * STEP_MM)
    series = make_series(20)
    for k, dataset in enumerate(thick[:8]):
        x, y, z = series[-1].ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(z) + 2 * STEP_MM * (k + 1):g}"]
        dataset.SOPInstanceUID = f"{SERIES_UID}.8.{k}"
    error = refusal(save([*series, *thick[:8]], tmp_path / "s"))
    assert error.code == "E-GEOM-SPACING" and "1.25 mm, then 2.50 mm" in str(error)


def test_pixels_smaller_than_any_scanner_makes_are_refused(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.PixelSpacing = [0.0007, 0.0007]
    assert refusal(save(series, tmp_path / "s")).code == "E-TAG-VALUE"


def test_report_of_the_same_series_is_left_out(tmp_path: Path) -> None:
    report = bare_object(uid.XRayRadiationDoseSRStorage, "1.2.3.4")
    report.Modality = "SR"
    assert_exact(read_series(save([*make_series(), report], tmp_path / "s")))
