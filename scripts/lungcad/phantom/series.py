# SPDX-License-Identifier: Apache-2.0
"""DICOM series of a volume: CT Image Storage objects (DICOM PS3.3, A.3), one per slice."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungcad.geometry import to_world

WHEN_DATE, WHEN_TIME = "20260101", "120000"
"""Date and time in all files; fixed, so that equal volumes give equal files."""


def write_series(
    folder: str | Path,
    hu: np.ndarray,
    affine: np.ndarray,
    patient_name: str = "DEMO^PHANTOM",
    patient_id: str = "DEMO",
    description: str = "Synthetic chest",
    date: str = WHEN_DATE,
) -> list[Path]:
    """Write one file per slice; UIDs follow from the content, so equal volumes give equal files.

    Args:
        folder: folder of the files, created if needed.
        hu: (X, Y, Z) Hounsfield units, whole numbers in [-1024, 3071].
        affine: (4, 4) index to LPS mm; axial, X to the left and Y to the back.
        patient_name, patient_id, description: values of PatientName, PatientID and SeriesDescription.
        date: date of all files, YYYYMMDD.

    Returns:
        Paths of the files, by ascending Z.

    Raises:
        ValueError: the affine's directions are not the patient's axes.
    """
    if not np.allclose(affine[:3, :3], np.diag(np.abs(np.diag(affine))[:3])):
        raise ValueError(f"affine is not axial: {affine[:3, :3].tolist()} (expected a diagonal above 0).")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.rint(hu).astype(np.int16)
    content = hashlib.sha256(stored.tobytes()).hexdigest() + np.array2string(affine)
    common = _common(content, affine, patient_name, patient_id, description, date)

    def write(k: int) -> Path:
        ds = Dataset()
        ds.update(common)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[content, f"slice {k}"])
        position = to_world(affine, (0, 0, k))
        ds.ImagePositionPatient = [_decimal(c) for c in position]
        ds.SliceLocation = _decimal(position[2])
        # Scanners number from the head down.
        ds.InstanceNumber = hu.shape[2] - k
        ds.AcquisitionNumber = 1
        ds.Rows, ds.Columns = hu.shape[1], hu.shape[0]
        ds.PixelData = np.ascontiguousarray(stored[:, :, k].T + 1024).astype("<u2").tobytes()
        path = folder / f"IM{ds.InstanceNumber:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        return path

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(write, range(hu.shape[2])))


def _decimal(value: float) -> str:
    """Decimal string of a number, within the 16 characters of the VR DS."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _common(
    content: str, affine: np.ndarray, patient_name: str, patient_id: str, description: str, date: str
) -> Dataset:
    """Attributes that all slices share: patient, study, series, frame of reference, equipment, CT, pixel format."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for level in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{level}Date", date)
        setattr(ds, f"{level}Time", WHEN_TIME)
    ds.PatientName, ds.PatientID = patient_name, patient_id
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "1"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[content, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[content, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[content, "frame of reference"])
    ds.PositionReferenceIndicator = ""
    ds.SeriesNumber, ds.StudyDescription, ds.SeriesDescription = 1, "Demonstration", description
    ds.BodyPartExamined, ds.PatientPosition = "CHEST", "HFS"
    ds.Manufacturer, ds.ManufacturerModelName = "lungcad", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "0"
    ds.KVP, ds.ConvolutionKernel = "120", "SYNTHETIC"
    x, y, z = np.diag(affine)[:3]
    ds.PixelSpacing = [_decimal(y), _decimal(x)]
    ds.SliceThickness = _decimal(z)
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "-600", "1500"
    return ds
