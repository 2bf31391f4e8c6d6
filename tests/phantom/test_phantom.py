# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungcad.geometry import to_index
from lungcad.phantom import SIZES, Nodule, make_phantom, write_series
from lungcad.phantom.__main__ import main
from lungcad.phantom.nodules import paint_nodule

TYPE_1 = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType "
    "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "PixelSpacing ImageOrientationPatient ImagePositionPatient RescaleIntercept RescaleSlope PixelData"
).split()
TYPE_2 = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber SeriesNumber PositionReferenceIndicator Manufacturer InstanceNumber SliceThickness KVP "
    "AcquisitionNumber"
).split()
"""Attributes of the CT Image IOD that must stand in the object; type 1 also with a value (DICOM PS3.3, A.3.3)."""


@pytest.fixture(scope="module")
def chest() -> tuple[np.ndarray, np.ndarray, list[Nodule]]:
    return make_phantom(**SIZES["small"])


@pytest.fixture(scope="module")
def slices(phantom_dir: Path) -> list[pydicom.Dataset]:
    read = [pydicom.dcmread(path) for path in phantom_dir.iterdir()]
    return sorted(read, key=lambda ds: float(ds.ImagePositionPatient[2]))


def read_back(slices: list[pydicom.Dataset]) -> tuple[np.ndarray, np.ndarray]:
    """HU (X, Y, Z) and affine from the DICOM attributes alone, by PS3.3 C.7.6.2.1.1."""
    first, second = slices[0], slices[1]
    rows, columns = np.split(np.array(first.ImageOrientationPatient, dtype=float), 2)
    position = np.array(first.ImagePositionPatient, dtype=float)
    affine = np.eye(4)
    affine[:3, 0] = rows * float(first.PixelSpacing[1])
    affine[:3, 1] = columns * float(first.PixelSpacing[0])
    affine[:3, 2] = np.array(second.ImagePositionPatient, dtype=float) - position
    affine[:3, 3] = position
    hu = np.stack([ds.pixel_array.T * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices], axis=2)
    return hu, affine


def test_equal_seeds_give_equal_chests_and_others_do_not(chest: tuple) -> None:
    hu, affine, nodules = chest
    again = make_phantom(**SIZES["small"])
    np.testing.assert_array_equal(hu, again[0])
    np.testing.assert_array_equal(affine, again[1])
    assert nodules == again[2]
    assert make_phantom(1, **SIZES["small"])[2] != nodules


def test_a_nodule_has_the_volume_that_was_painted_inside_the_lung() -> None:
    axes = (np.arange(60) * 0.5 - 14.75,) * 3  # the middle lies between two voxels
    left = np.broadcast_to(axes[0][:, None, None] < 0, (60, 60, 60))

    def volume_mm3(lung: np.ndarray) -> float:
        nodule = Nodule((0.0, 0.0, 0.0), 10.0, "solid")
        return paint_nodule(np.full(lung.shape, -850.0), lung, axes, nodule, -850.0, np.random.default_rng(0)) / 8

    whole = volume_mm3(np.ones_like(left))
    assert whole == pytest.approx(np.pi / 6 * 10**3, rel=0.1)
    assert volume_mm3(left) + volume_mm3(~left) == pytest.approx(whole)
    assert volume_mm3(left) == pytest.approx(whole / 2, rel=0.2)


def test_files_are_equal_byte_for_byte(chest: tuple, phantom_dir: Path, tmp_path: Path) -> None:
    for path in write_series(tmp_path, *chest[:2]):
        assert path.read_bytes() == (phantom_dir / path.name).read_bytes()


def test_dicom_gives_the_volume_back(chest: tuple, slices: list[pydicom.Dataset]) -> None:
    hu, affine = read_back(slices)
    np.testing.assert_array_equal(hu, chest[0])
    np.testing.assert_allclose(affine, chest[1], atol=1e-3)


def test_nodules_are_where_they_are_said_to_be(chest: tuple, slices: list[pydicom.Dataset]) -> None:
    hu, affine = read_back(slices)
    for center, diameter, kind, _ in chest[2]:
        x, y, z = np.rint(to_index(affine, center)).astype(int)
        here = hu[x - 1 : x + 2, y - 1 : y + 2, z].mean()
        # Far enough out to be past the spicules: mostly lung, whatever touches the nodule.
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        ring = np.array(center) + (diameter / 2 + 5) * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
        rx, ry, rz = np.rint(to_index(affine, ring)).astype(int).T
        around = np.percentile(hu[rx, ry, rz], 25)
        assert here > -450, (kind, diameter, here)
        assert around < -700, (kind, diameter, around)


def test_nodules_lie_apart_with_every_kind_there(chest: tuple) -> None:
    nodules = chest[2]
    centers = np.array([n.center_lps_mm for n in nodules])
    distances = np.linalg.norm(centers[:, None] - centers[None], axis=2)[np.triu_indices(len(nodules), 1)]
    assert distances.min() > max(n.diameter_mm for n in nodules)
    assert {n.kind for n in nodules} == {"solid", "spiculated", "part-solid", "juxtapleural", "vessel-attached"}


def test_tissues_have_their_hounsfield_units(chest: tuple) -> None:
    hu = chest[0]
    middle = hu[:, :, hu.shape[2] // 2]
    assert np.median(hu[:, :4]) == pytest.approx(-1000, abs=10)  # air before the chest
    lung = middle[(middle > -950) & (middle < -700)]
    assert np.median(lung) == pytest.approx(-865, abs=25)
    assert lung.size / middle.size > 0.15
    assert np.mean((middle > 0) & (middle < 100)) > 0.1  # muscle, blood
    assert np.mean((middle > -150) & (middle < -60)) > 0.02  # fat
    assert middle.max() > 300  # bone


def test_objects_hold_all_attributes_of_a_ct_image(slices: list[pydicom.Dataset]) -> None:
    for ds in slices:
        assert [name for name in TYPE_1 if name not in ds or ds[name].is_empty] == []
        assert [name for name in TYPE_2 if name not in ds] == []
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert all(len(str(text)) <= 16 for text in ds["ImagePositionPatient"].value)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({ds[name].value for ds in slices}) == 1
    assert len({ds.SOPInstanceUID for ds in slices}) == len(slices)
    assert str(slices[0].PatientName) == "DEMO^PHANTOM"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (dicom3tools)")
def test_dciodvfy_finds_no_error(phantom_dir: Path) -> None:
    for path in sorted(phantom_dir.iterdir())[::16]:
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr
        assert "CTImage" in said.stdout + said.stderr  # it knew what to check against


def test_rejects_tilted_grid(chest: tuple, tmp_path: Path) -> None:
    tilted = chest[1].copy()
    tilted[1, 2] = 0.5
    with pytest.raises(ValueError, match="not axial"):
        write_series(tmp_path, chest[0], tilted)


def test_command_writes_a_series_and_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ct"
    assert main([str(out), "--size", "small"]) == 0
    assert "48 slices, 6 nodules" in capsys.readouterr().out
    assert len(list(out.iterdir())) == 48
    assert main([str(out)]) == 2
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.slow
def test_full_size_is_ready_before_patience_ends(tmp_path: Path) -> None:
    start = time.process_time()
    hu, affine, _ = make_phantom(**SIZES["full"])
    write_series(tmp_path, hu, affine)
    assert hu.shape == (512, 512, 140)
    # Processor time, as other work on the machine would spoil the clock's: 15 s on two cores.
    assert time.process_time() - start < 30
