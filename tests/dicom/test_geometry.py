# SPDX-License-Identifier: Apache-2.0
"""Geometry rows of the intake table: every series is voxel-exact at its true place, or refused with its code."""

from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import (
    BETWEEN_COLUMNS_MM,
    BETWEEN_ROWS_MM,
    ORIGIN_MM,
    SLICES,
    assert_exact,
    directions,
    field_error_hu,
    field_hu,
    make_series,
    rotated,
    save,
)  # fmt: skip

from lungcad.dicom import DicomSeriesError, read_series
from lungcad.errors import InputError
from lungcad.geometry import to_world


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def test_axial_series_is_exact_with_the_stated_affine(tmp_path: Path) -> None:
    volume = read_series(save(make_series(), tmp_path / "s"))
    assert_exact(volume)
    expected = np.array([[0.7, 0, 0, -14], [0, 0.9, 0, -21.6], [0, 0, 1.25, -112.5], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-9)
    assert volume.spacing_mm == pytest.approx((BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, 1.25))
    assert volume.instance_numbers == tuple(range(1, SLICES + 1))
    assert volume.sop_instance_uids[3].endswith(".7.4")


@pytest.mark.parametrize(
    "axes",
    [
        directions((-1, 0, 0), (0, -1, 0)),  # prone
        directions((-1, 0, 0), (0, 1, 0)),  # mirrored; the normal points to the feet
        directions((1, 0, 0), (0, -1, 0)),  # feet first
        directions((0, 1, 0), (-1, 0, 0)),  # turned by 90 degrees in plane
    ],
)
def test_flipped_axes_live_in_the_affine(tmp_path: Path, axes: tuple[np.ndarray, ...]) -> None:
    volume = read_series(save(make_series(axes=axes), tmp_path / "s"))  # type: ignore[arg-type]
    assert_exact(volume)
    assert np.linalg.det(volume.affine[:3, :3]) > 0


def test_descending_numbers_do_not_matter(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = SLICES - k
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert volume.instance_numbers[0] == SLICES


@pytest.mark.parametrize("axes", [rotated(15.0), rotated(10.0, 12.0), rotated(0.0, 20.0)])
def test_oblique_is_read_and_noted(tmp_path: Path, axes: tuple[np.ndarray, ...]) -> None:
    volume = read_series(save(make_series(axes=axes), tmp_path / "s"))  # type: ignore[arg-type]
    assert_exact(volume, tolerance_hu=0.51)  # positions carry nine digits
    assert "N-OBLIQUE" in [notice.code for notice in volume.warnings]


def test_missing_slices_are_named_in_mm(tmp_path: Path) -> None:
    series = make_series()
    del series[9:11]
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-GEOM-SPACING"
    # slices 0..8 end at -112.5 + 8 * 1.25 = -102.5; the next one left is 11: -112.5 + 11 * 1.25 = -98.75
    assert "2 slice(s) missing between z=-102.5 mm and z=-98.8 mm" in str(error)


def test_missing_slice_is_seen_when_renumbered(tmp_path: Path) -> None:
    series = make_series()
    del series[1]
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = k + 1
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-SPACING"


@pytest.mark.parametrize("shift_mm", [0.15, 0.6, -0.4])
def test_irregular_slice_is_refused(tmp_path: Path, shift_mm: float) -> None:
    series = make_series()
    x, y, z = series[7].ImagePositionPatient
    series[7].ImagePositionPatient = [x, y, z + shift_mm]
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-SPACING"


def test_variable_spacing_is_refused(tmp_path: Path) -> None:
    series = make_series(10) + make_series(30, step_mm=2.5)[5:10]
    for k, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"1.2.3.{k}"
    assert refusal(save(series, tmp_path / "s")).code in ("E-GEOM-SPACING", "E-GEOM-DUP")


@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize("step_mm", [0.625, 2 / 3, 1.25])
@pytest.mark.parametrize("slices", [12, 19, 20])
def test_rounded_positions_are_regular(tmp_path: Path, slices: int, step_mm: float, digits: int) -> None:
    series = make_series(slices, step_mm=step_mm)
    for dataset in series:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(z):.{digits}f}"]
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume, slices, tolerance_hu=0.501 + 4 * 2 * 0.5 * 10**-digits)  # 4 HU per mm along z


def test_shifted_slice_is_refused(tmp_path: Path) -> None:
    series = make_series()
    x, y, z = series[7].ImagePositionPatient
    series[7].ImagePositionPatient = [x + 5, y, z]
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-SPACING"


def test_identical_duplicate_is_dropped_and_noted(tmp_path: Path) -> None:
    series = make_series()
    folder = save(series, tmp_path / "s")
    save(series[4:6], folder, "COPY{:03d}.dcm".format)
    volume = read_series(folder)
    assert_exact(volume)
    assert any(notice.startswith("N-DROPPED 2 identical") for notice in volume.warnings)


def test_different_images_at_one_place_are_refused(tmp_path: Path) -> None:
    series, again = make_series(), make_series()[6:8]
    for k, dataset in enumerate(again):
        dataset.SOPInstanceUID = f"1.2.3.{k}"
        dataset.RescaleIntercept = "-1000"
    error = refusal(save(series + again, tmp_path / "s"))
    assert error.code == "E-GEOM-DUP"
    assert "z=-105.0 mm" in str(error)  # -112.5 + 6 * 1.25


def test_two_acquisitions_are_refused(tmp_path: Path) -> None:
    first, second = make_series(), make_series(intercept=-1000)
    for k, dataset in enumerate(second):
        dataset.AcquisitionNumber, dataset.SOPInstanceUID = 2, f"1.2.3.{k}"
        dataset.RescaleIntercept = "-1024"  # 24 HU apart: another phase
    assert refusal(save(first + second, tmp_path / "s")).code == "E-GEOM-DUP"


def test_images_all_in_one_place_are_refused(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.ImagePositionPatient = list(ORIGIN_MM)
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-GEOM-DUP" and "positions were lost: export" in str(error)


def test_a_lone_image_beyond_a_gap_is_named(tmp_path: Path) -> None:
    series = make_series(21)
    series[20].ImagePositionPatient = [-14, -21.6, 60]
    error = refusal(save(series, tmp_path / "s", lambda k: f"IM{series_order(21)[k]:03d}.dcm"))
    assert error.code == "E-GEOM-SPACING" and "118 slice(s) missing" in str(error)
    assert "If z=60.0 mm (image 21, IM020.dcm) is no slice of the scan, take the file out" in str(error)


def series_order(count: int) -> list[int]:
    """Index of the slice in each file that ``save`` writes."""
    return np.random.default_rng(0).permutation(count).tolist()


TILT_15_MM = [0.0, 1.25 * np.tan(np.radians(15)), 0.0]


def test_gantry_tilt_is_refused(tmp_path: Path) -> None:
    error = refusal(save(make_series(sideways_mm=TILT_15_MM), tmp_path / "s"))
    assert error.code == "E-GEOM-TILT"
    assert "15.0 degrees" in str(error) and "correct_tilt" in str(error)


def test_gantry_tilt_is_resampled_on_request(tmp_path: Path) -> None:
    volume = read_series(save(make_series(sideways_mm=TILT_15_MM), tmp_path / "s"), correct_tilt=True)
    a = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(a.T @ a, np.eye(3), atol=1e-6)
    index = np.stack(np.meshgrid(*map(np.arange, volume.hu.shape), indexing="ij"), axis=-1)
    inside = volume.hu > -1024  # the rim that the shear leaves empty is air
    inside &= np.roll(inside, 1, 1) & np.roll(inside, -1, 1)  # linear interpolation at the edge mixes with air
    assert inside.sum() > 0.9 * 40 * 48 * SLICES
    assert np.abs(volume.hu - field_hu(to_world(volume.affine, index)))[inside].max() < 1.0
    assert "W-TILT" in [notice.code for notice in volume.warnings]


CORONAL, SAGITTAL = directions((1, 0, 0), (0, 0, -1)), directions((0, 1, 0), (0, 0, -1))


@pytest.mark.parametrize("axes", [CORONAL, SAGITTAL, rotated(30.0)])
def test_non_axial_is_refused(tmp_path: Path, axes: tuple[np.ndarray, ...]) -> None:
    assert refusal(save(make_series(axes=axes), tmp_path / "s")).code == "E-GEOM-NOT-AXIAL"  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", [CORONAL, SAGITTAL])
def test_non_axial_is_permuted_on_request(tmp_path: Path, axes: tuple[np.ndarray, ...]) -> None:
    folder = save(make_series(axes=axes), tmp_path / "s")  # type: ignore[arg-type]
    volume = read_series(folder, allow_non_axial=True)
    assert field_error_hu(volume) < 0.501
    assert volume.affine[2, 2] > 0 and abs(volume.affine[2, :2]).max() < 1e-9
    assert volume.sop_instance_uids == () and "W-NOT-AXIAL" in [notice.code for notice in volume.warnings]


def test_mixed_orientations_are_refused(tmp_path: Path) -> None:
    series = make_series()
    series[5].ImageOrientationPatient = [1, 0, 0, 0, 0.999, 0.0447]
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-ORIENT"


def test_differing_pixel_spacing_is_refused(tmp_path: Path) -> None:
    series = make_series()
    series[5].PixelSpacing = [0.9, 0.71]
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-PIXSPACING"


def test_differing_matrix_is_refused(tmp_path: Path) -> None:
    series = make_series()
    series[5] = make_series(rows=50)[5]
    assert refusal(save(series, tmp_path / "s")).code == "E-MATRIX"


@pytest.mark.parametrize("cosines", [[1.1, 0, 0, 0, 1, 0], [1, 0, 0, 0.1, 0.995, 0], [0, 0, 0, 0, 0, 0]])
def test_non_orthonormal_orientation_is_refused(tmp_path: Path, cosines: list[float]) -> None:
    series = make_series()
    for dataset in series:
        dataset.ImageOrientationPatient = cosines
    assert refusal(save(series, tmp_path / "s")).code == "E-GEOM-IOP"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_slices_are_refused(tmp_path: Path, count: int) -> None:
    assert refusal(save(make_series(count), tmp_path / "s")).code == "E-FEW-SLICES"


def test_few_slices_are_read_on_request(tmp_path: Path) -> None:
    assert_exact(read_series(save(make_series(3), tmp_path / "s"), min_slices=2), slices=3)
    with pytest.raises(InputError, match="E-CONFIG"):
        read_series(tmp_path / "s", min_slices=1)


def test_spacing_above_2_5_mm_warns_and_above_5_mm_is_refused(tmp_path: Path) -> None:
    volume = read_series(save(make_series(step_mm=3.0), tmp_path / "a"))
    assert_exact(volume)
    assert "W-SPACING" in [notice.code for notice in volume.warnings]
    thick = save(make_series(step_mm=7.0), tmp_path / "b")
    assert refusal(thick).code == "E-SPACING-THICK"
    assert_exact(read_series(thick, max_spacing_mm=8.0))


def test_small_coverage_warns(tmp_path: Path) -> None:
    assert "W-COVERAGE" in [notice.code for notice in read_series(save(make_series(), tmp_path / "s")).warnings]
