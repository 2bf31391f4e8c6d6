# SPDX-License-Identifier: Apache-2.0
"""A CT series that describes itself: every voxel's HU is an affine function of its true position in the patient.

Any reader's (array, affine) is checked without a reference reader: evaluate the field where the affine says the voxel
is and compare. Axis swaps, flips, spacing swaps, missing slices, shear and wrong slopes all show; the pixels are not
square because square ones hide the row/column swap.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from lungcad.geometry import to_world
from lungcad.volume import Volume

ROWS, COLUMNS, SLICES = 48, 40, 20
BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM, STEP_MM = 0.9, 0.7, 1.25
ORIGIN_MM = (-14.0, -21.6, -112.5)
"""First pixel of the axial series; every other series has the same centre."""
SERIES_UID = "1.2.826.0.1.3680043.8.498.9"


def field_hu(position_mm: np.ndarray) -> np.ndarray:
    """HU at LPS positions (..., 3) mm; within -1000 to 0 over every phantom."""
    x, y, z = np.moveaxis(np.asarray(position_mm, dtype=np.float64), -1, 0)
    return 7 * x + 3 * y + 4 * z - 150


def directions(
    row: Sequence[float] = (1, 0, 0), column: Sequence[float] = (0, 1, 0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and normal directions."""
    r, c = np.asarray(row, float), np.asarray(column, float)
    return r, c, np.cross(r, c)


def rotated(degrees_x: float = 0.0, degrees_z: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions of slices turned about the patient's x, then z axis."""
    a, b = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return tuple((about_z @ about_x).T)  # type: ignore[return-value]


def make_slice(
    origin_mm: Sequence[float],
    number: int = 1,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    slope: float = 1.0,
    intercept: float = -1024.0,
    signed: bool = False,
    bits_stored: int = 16,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> FileDataset:
    """One CT Image Storage object whose first pixel lies at ``origin_mm``."""
    row, column, _ = axes or directions()
    origin = np.asarray(origin_mm, float)
    i, j = np.arange(columns)[None, :, None], np.arange(rows)[:, None, None]
    position = origin + i * BETWEEN_COLUMNS_MM * row + j * BETWEEN_ROWS_MM * column
    stored = np.rint((field_hu(position) - intercept) / slope)
    dataset = bare_object(uid.CTImageStorage, f"{SERIES_UID}.7.{number}")
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesDescription = "phantom"
    dataset.InstanceNumber = number
    dataset.SliceThickness = "3"  # deliberately wrong: never to be used for geometry
    dataset.ImagePositionPatient = [f"{value:.9g}"[:16] for value in origin]
    dataset.ImageOrientationPatient = [f"{value:.10f}"[:16] for value in (*row, *column)]
    dataset.PixelSpacing = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
    dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def bare_object(sop_class: str, instance_uid: str) -> FileDataset:
    """An object with identifiers only."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance_uid
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance_uid
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = SERIES_UID, "1.2.826.0.1.3680043.8.498.2"
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.PatientName, dataset.PatientID = "Secret^Person", "ID12345"
    return dataset


def make_series(
    slices: int = SLICES,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    step_mm: float = STEP_MM,
    sideways_mm: Sequence[float] = (0.0, 0.0, 0.0),
    **options: object,
) -> list[FileDataset]:
    """A regular series, first slice first; ``sideways_mm`` is added per slice (gantry tilt)."""
    axes = axes or directions()
    step = axes[2] * step_mm + np.asarray(sideways_mm)
    extent = [BETWEEN_COLUMNS_MM * (COLUMNS - 1), BETWEEN_ROWS_MM * (ROWS - 1), STEP_MM * (SLICES - 1)]
    center = np.array(ORIGIN_MM) + np.array(extent) / 2
    first = center - axes[0] * extent[0] / 2 - axes[1] * extent[1] / 2 - step * (SLICES - 1) / 2
    return [make_slice(first + k * step, k + 1, axes, **options) for k in range(slices)]  # type: ignore[arg-type]


def save(datasets: Sequence[Dataset], folder: Path, name: Callable[[int], str] = "IM{:03d}.dcm".format) -> Path:
    """Write objects to a folder, in shuffled file order, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(len(datasets))
    for file_number, index in enumerate(order):
        datasets[index].save_as(folder / name(file_number), enforce_file_format=True)
    return folder


def field_error_hu(volume: Volume) -> float:
    """Largest difference between a voxel and the field at the place where the affine puts it, in HU."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.hu.shape), indexing="ij"), axis=-1)
    return float(np.abs(volume.hu - field_hu(to_world(volume.affine, index))).max())


def assert_exact(volume: Volume, slices: int = SLICES, tolerance_hu: float = 0.501) -> None:
    """All slices are there and every voxel is right at its place, to half a stored unit."""
    assert volume.hu.shape == (COLUMNS, ROWS, slices)
    assert volume.hu.dtype == np.float32
    assert field_error_hu(volume) <= tolerance_hu


def gdcm_jpeg(dataset: FileDataset, folder: Path, syntax: str) -> FileDataset:
    """Recompress with GDCM, which can write JPEG lossless and pydicom cannot."""
    import gdcm
    import pydicom

    dataset.save_as(folder / "in.dcm", enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "in.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "out.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return pydicom.dcmread(folder / "out.dcm")  # type: ignore[return-value]
