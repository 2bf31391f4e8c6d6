# SPDX-License-Identifier: Apache-2.0
"""CT series in a folder, found by their headers alone: LUNA16's .mhd files and LIDC-IDRI's DICOM folders.

LIDC-IDRI has 240 000 DICOM files. TCIA puts one series into a folder, so one header identifies the folder's series.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from lungcad.errors import InputError

_TAGS = [
    "Modality", "PatientID", "SeriesInstanceUID", "PixelSpacing", "SliceThickness", "ImagePositionPatient",
    "ImageOrientationPatient",
]  # fmt: skip

SUFFIXES = (".mhd", ".mha")
"""Suffixes of LUNA16's scans, named after their series: as they come, and as one file each."""

LUNG_MASKS = "seg-lungs"
"""Beginning of the name of LUNA16's folder with lung masks, whose files have the names of the scans."""


@dataclass(frozen=True)
class SeriesImage:
    """Location of a CT series.

    Attributes:
        path: path of the .mhd file, or of the folder with its .dcm files.
        series_uid: SeriesInstanceUID from the file's name, as in LUNA16, or from the DICOM header.
        patient_id: PatientID; empty where the file has none.
    """

    path: Path
    series_uid: str
    patient_id: str = ""


@dataclass(frozen=True)
class SliceGrid:
    """Geometry of an axial series, from its headers.

    Attributes:
        pixel_mm: pixel spacing in mm.
        thickness_mm: slice thickness in mm; the distance of slices where the header has none (.mhd).
        slice_z_mm: (K,) z of the slices in mm, ascending; of a single slice where not all headers were read.
        to_xy: (2, 3) matrix that maps (column, row, 1) to patient x, y in LPS mm.
    """

    pixel_mm: float
    thickness_mm: float
    slice_z_mm: np.ndarray
    to_xy: np.ndarray


def find_images(folder: str | Path) -> dict[str, SeriesImage]:
    """Find the CT series in a folder and its sub-folders.

    Returns:
        Series by SeriesInstanceUID.

    Raises:
        InputError: E-IMAGES, there is no such folder or no CT series in it, or a series is there twice.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("E-IMAGES", f"no such folder: {root.name}.", "Give the folder with the CT series.")
    found: dict[str, SeriesImage] = {}
    for image in _images(root):
        if image.series_uid in found:
            text = f"series {image.series_uid} is there twice."
            raise InputError("E-IMAGES", text, "Keep one copy, or give a folder with one of them.")
        found[image.series_uid] = image
    if not found:
        text = f"no CT series in {root.name} (expected .mhd files, or folders of .dcm files)."
        raise InputError("E-IMAGES", text, "Unpack the scans there.")
    return found


def _images(root: Path) -> Iterable[SeriesImage]:
    """CT series in a folder and its sub-folders."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((LUNG_MASKS, ".")))
        for path in image_files(Path(folder)):
            yield SeriesImage(path, path.stem)
        header = _first_header(Path(folder), names)
        if header is not None and header.get("Modality") == "CT":  # LIDC-IDRI has chest radiographs too
            yield SeriesImage(Path(folder), str(header.SeriesInstanceUID), str(header.get("PatientID", "")))


def image_files(folder: Path) -> list[Path]:
    """MetaImage files of a folder by name; hidden files, such as the copies that macOS makes, are none."""
    found = (path for path in folder.glob("[!.]*") if path.suffix in SUFFIXES)
    return sorted(path for path in found if path.is_file())


def _first_header(folder: Path, names: Iterable[str]) -> Dataset | None:
    """Header of the first DICOM file with a SeriesInstanceUID, None where there is none."""
    for name in sorted(names):
        if name.endswith(".dcm"):
            try:
                header = dcmread(folder / name, stop_before_pixels=True, specific_tags=_TAGS)
            except InvalidDicomError:
                continue
            if "SeriesInstanceUID" in header:
                return header
    return None


def read_grid(image: SeriesImage, all_slices: bool = False) -> SliceGrid:
    """Read the geometry of a series.

    Args:
        image: location of the series.
        all_slices: whether to read the header of every DICOM file, for the positions of all slices.

    Raises:
        InputError: E-IMAGES, the header lacks geometry or cannot be read.
    """
    try:
        return _mhd_grid(image.path) if image.path.suffix in SUFFIXES else _dicom_grid(image.path, all_slices)
    except (RuntimeError, AttributeError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[-120:]
        text = f"series {image.series_uid}: no geometry in its header: {reason}."
        raise InputError("E-IMAGES", text, "Fetch the series again, or take it out of the folder.") from error


def _mhd_grid(path: Path) -> SliceGrid:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    spacing, origin = np.array(reader.GetSpacing()), np.array(reader.GetOrigin())
    axes = np.array(reader.GetDirection()).reshape(3, 3) * spacing
    to_xy = np.column_stack([axes[:2, :2], origin[:2]])
    slice_z = origin[2] + axes[2, 2] * np.arange(reader.GetSize()[2])
    return SliceGrid(float(spacing[0]), float(spacing[2]), np.sort(slice_z), to_xy)


def _dicom_grid(folder: Path, all_slices: bool) -> SliceGrid:
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".dcm"))
    first = _first_header(folder, names)
    if first is None:
        raise ValueError("no DICOM file left in its folder")
    row_mm, column_mm = map(float, first.PixelSpacing)
    along_row, along_column = np.array(first.ImageOrientationPatient, dtype=float).reshape(2, 3)
    x, y, z = map(float, first.ImagePositionPatient)
    to_xy = np.column_stack([along_row[:2] * column_mm, along_column[:2] * row_mm, [x, y]])
    if all_slices:
        headers = [_first_header(folder, [name]) for name in names]
        positions = [float(h.ImagePositionPatient[2]) for h in headers if h and "ImagePositionPatient" in h]
    return SliceGrid(row_mm, float(first.SliceThickness), np.sort(positions if all_slices else [z]), to_xy)
