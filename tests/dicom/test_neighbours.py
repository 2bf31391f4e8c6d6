# SPDX-License-Identifier: Apache-2.0
"""Slices that are unlike their neighbours are told, damage for certain is refused, sound scans raise no alarm."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid

from lungcad.dicom import DicomSeriesError, read_series
from lungcad.dicom.frames import PixelFormat, Slice
from lungcad.dicom.header import Header
from lungcad.dicom.neighbours import compare_neighbours
from lungcad.phantom import make_phantom, write_series

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    """HU (Z, Y, X) of the small phantom."""
    return np.ascontiguousarray(make_phantom(shape=(128, 128, 48), spacing_mm=(2.8, 2.8, 3.0))[0].transpose(2, 1, 0))


def slices_at(count: int) -> list[Slice]:
    layout = PixelFormat(1, 1, 16, 16, False)
    header = Header(Path(), pydicom.Dataset(), "", 0, None, True)
    return [Slice(header, 0, k, layout, (0, 0, float(k)), (), (), 1.0, 0.0, "") for k in range(count)]


def told(hu: np.ndarray) -> str:
    """Notices, or the refusal, as one text."""
    try:
        return " ".join(compare_neighbours(hu.astype(np.float32), slices_at(len(hu))))
    except DicomSeriesError as error:
        return str(error)


def bytes_inserted(pixels: np.ndarray) -> np.ndarray:
    raw = (pixels + 1024).astype("<u2").tobytes()
    at = len(raw) // 3 | 1
    return np.frombuffer(raw[:at] + b"\x07" + raw[at:-1], "<u2").reshape(pixels.shape).astype(np.float32) - 1024


def tail_emptied(pixels: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(pixels))[:, None] < len(pixels) // 2, pixels, -1024)


DAMAGE: dict[str, tuple[Change, str]] = {
    "intercept + 1000": (lambda pixels: pixels + 1000, "W-SLICE"),
    "intercept - 1000": (lambda pixels: np.maximum(pixels - 1000, -1024), "W-SLICE"),
    "intercept + 60": (lambda pixels: pixels + 60, "W-SLICE"),
    "slope 2": (lambda pixels: (pixels + 1024) * 2 - 1024, "W-SLICE"),
    "moved by 5 pixels": (lambda pixels: np.roll(pixels, 5, 0), "W-SLICE"),
    "mirrored": (lambda pixels: pixels[::-1], "W-SLICE"),
    "random numbers": (lambda pixels: np.random.default_rng(0).integers(-1024, 3000, pixels.shape), "E-HU-RANGE"),
    "one byte inserted": (bytes_inserted, ""),
    "bytes exchanged": (lambda pixels: pixels.astype("<i2").byteswap(), "E-HU-RANGE"),
    "lower half empty": (tail_emptied, "E-HU-RANGE"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("index", [7, 24, 40])
def test_a_damaged_slice_is_named(chest: np.ndarray, name: str, index: int) -> None:
    change, code = DAMAGE[name]
    damaged = chest.copy()
    damaged[index] = change(chest[index])
    text = told(damaged)
    assert code in text and f"z={index}.0 mm" in text


@pytest.mark.parametrize("index", [0, 47])
@pytest.mark.parametrize("name", ["intercept + 1000", "random numbers", "one byte inserted", "lower half empty"])
def test_a_damaged_outermost_slice_is_named(chest: np.ndarray, name: str, index: int) -> None:
    damaged = chest.copy()
    damaged[index] = DAMAGE[name][0](chest[index])
    assert f"z={index}.0 mm" in told(damaged)


@pytest.mark.parametrize("blank", [[0], [47], [46, 47], [0, 1, 2, 47]])
def test_blank_ends_are_told(chest: np.ndarray, blank: list[int]) -> None:
    damaged = chest.copy()
    damaged[blank] = -1024
    text = told(damaged)
    assert f"{len(blank)} slice(s)" in text and all(f"z={index}.0 mm (blank)" in text for index in blank)


def test_a_step_inside_the_stack_is_told_at_its_place(chest: np.ndarray) -> None:
    damaged = chest.copy()
    damaged[30:] += 100
    assert "z=30.0 mm (values shifted from here)" in told(damaged)


@pytest.mark.parametrize(("rows", "columns"), [(256, 64), (64, 256), (512, 32)])
def test_rows_of_another_length_are_refused(chest: np.ndarray, rows: int, columns: int) -> None:
    text = told(chest.reshape(48, rows, columns))
    assert "E-PIXELS" in text and "rows of 128" in text


@pytest.mark.parametrize(("thickness", "noise_hu"), [(1, 0), (16, 0), (16, 10)], ids=["bars", "layers", "noise"])
def test_rows_of_one_value_are_no_wrong_row_length(thickness: int, noise_hu: float) -> None:
    rows = np.arange(64) // thickness % 2 * 1000.0 - 900
    noise = np.random.default_rng(0).normal(0, 1, (12, 64, 64)) * noise_hu
    assert "rows of" not in told((rows[None, :, None] + noise).astype(np.float32))


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("noise_hu", [0, 30, 100])
def test_a_sound_phantom_raises_no_alarm(chest: np.ndarray, step: int, noise_hu: int) -> None:
    noisy = chest + np.random.default_rng(0).normal(0, noise_hu, chest.shape).round()
    assert told(np.maximum(noisy[::step], -1024)) == ""


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("millimetres", [1, 2.5, 5])
def test_nine_real_lungs_raise_no_alarm(shared: Path, millimetres: float) -> None:
    import SimpleITK as sitk

    names = [file for file in sorted((shared / "data" / "lungs").glob("*.nii.gz")) if "_lung" not in file.name]
    assert len(names) == 9
    for file in names:
        image = sitk.ReadImage(str(file))
        step = max(1, round(millimetres / image.GetSpacing()[2]))
        assert told(np.maximum(sitk.GetArrayFromImage(image)[::step], -1024)) == "", file.name


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["LIDC-IDRI-0001", "LIDC-IDRI-0314"])
@pytest.mark.parametrize("millimetres", [3, 5])
def test_real_scans_thinned_and_averaged_raise_no_alarm(shared: Path, name: str, millimetres: int) -> None:
    volume = read_series(shared / "data" / "ct" / name)
    hu = np.ascontiguousarray(volume.hu.transpose(2, 1, 0))
    step = round(millimetres / volume.spacing_mm[2])
    assert told(hu[::step]) == ""
    assert told(hu[: len(hu) // step * step].reshape(-1, step, 512, 512).mean(1).round()) == ""


@pytest.fixture
def files(tmp_path: Path, chest: np.ndarray) -> list[Path]:
    """The phantom as uncompressed DICOM, the highest slice last."""
    folder = tmp_path / "s"
    return write_series(folder, chest.transpose(2, 1, 0), np.diag([2.8, 2.8, 3.0, 1.0]))


@pytest.mark.parametrize("intercept", ["-1014", "-924", "-24"])
def test_one_header_with_another_intercept_is_told(files: list[Path], intercept: str) -> None:
    dataset = pydicom.dcmread(files[20])
    dataset.RescaleIntercept = intercept
    dataset.save_as(files[20])
    volume = read_series(files[0].parent)
    assert any(notice.startswith("W-RESCALE 1 slice(s)") and "z=60.0 mm" in notice for notice in volume.warnings)


def test_pixels_of_another_slice_are_told(files: list[Path]) -> None:
    first, second = pydicom.dcmread(files[20]), pydicom.dcmread(files[21])
    first["PixelData"] = second["PixelData"]
    first.save_as(files[20])
    volume = read_series(files[0].parent)
    assert any("same image: z=60.0 mm, z=63.0 mm" in notice for notice in volume.warnings)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless])
def test_a_moved_slice_and_a_breathing_step_are_read_in_any_encoding(files: list[Path], syntax: uid.UID) -> None:
    for k, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        shift = 6 if k == 20 else 3 if k > 30 else 0
        dataset.PixelData = np.roll(dataset.pixel_array, shift, axis=0).tobytes()
        dataset["PixelData"].VR = "OW"
        if syntax.is_compressed:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(file)
    volume = read_series(files[0].parent)
    assert volume.hu.shape[2] == 48
    (notice,) = (notice for notice in volume.warnings if notice.startswith("W-SLICE"))
    assert "z=60.0 mm" in notice and "Breathing" in notice


@pytest.mark.parametrize("zeros", [1, 3])
def test_a_byte_inserted_near_the_end_leaves_a_trace(files: list[Path], zeros: int) -> None:
    content = files[20].read_bytes()
    files[20].write_bytes(content[:-400] + bytes(zeros) + content[-400:])
    try:
        volume = read_series(files[0].parent)
    except DicomSeriesError as error:
        assert error.code in ("E-HU-RANGE", "E-PIXELS")
    else:
        assert any(notice.startswith("W-TRAILING 1 slice(s)") for notice in volume.warnings)


@pytest.mark.shared_data
def test_slices_interpolated_between_others_raise_no_alarm(shared: Path) -> None:
    """Every second slice the mean of those beside it, as some exports double the slices of a scan."""
    files = [pydicom.dcmread(file) for file in (shared / "data" / "ct" / "LIDC-IDRI-0001").glob("*.dcm")]
    files = sorted(files, key=lambda dataset: float(dataset.ImagePositionPatient[2]))[40:64]
    hu = np.stack([dataset.pixel_array[220:316, 90:250:2] - 1024.0 for dataset in files]).clip(-1024)
    doubled = np.repeat(hu, 2, axis=0)[:-1]
    doubled[1::2] = (hu[:-1] + hu[1:]) / 2
    assert "unlike" not in told(doubled)
    doubled[21] += 60
    doubled[32] = np.roll(doubled[32], 9, 0)
    assert "z=21.0 mm" in told(doubled) and "z=32.0 mm" in told(doubled)
