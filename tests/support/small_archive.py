# SPDX-License-Identifier: Apache-2.0
"""Small archive of CT series, good and bad ones."""

import shutil
from pathlib import Path

import pydicom
from dicom_phantom import SERIES_UID, STEP_MM, make_series, save
from pydicom import uid
from pydicom.dataset import FileDataset
from small_cases import small_chest

from lungcad.phantom import write_series

PATIENT = "Secret^Person"


def numbered(number: int, slices: int = 20, **tags: object) -> list[FileDataset]:
    """The self-describing series with UIDs of its own, in a study of two."""
    series = make_series(slices)
    for k, dataset in enumerate(series):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = f"{SERIES_UID}.{number}", f"{SERIES_UID}.{number}.{k}"
        dataset.StudyInstanceUID = f"{SERIES_UID}.0.{number // 2}"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    return series


def add_series(archive: Path, number: int, slices: int = 20, **tags: object) -> Path:
    """Write one series to a folder of its own within a folder of its study."""
    return save(numbered(number, slices, **tags), archive / f"study{number // 2}" / f"series{number}")


def add_bad_series(archive: Path, first: int) -> None:
    """Write ten series that cannot be analysed, each for a reason of its own, from this number on."""
    few, gap, cut, text, tilted, odd, colour, other, empty, garbled = (numbered(first + k) for k in range(10))
    del few[3:]
    del gap[9:11]
    cut[5].PixelData = cut[5].PixelData[:100]
    for one in text:
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = uid.BasicTextSRStorage
        one.Modality = "SR"
    for k, one in enumerate(tilted):
        one.ImagePositionPatient = [one.ImagePositionPatient[0], float(one.ImagePositionPatient[1]) + k, k * STEP_MM]
    odd[7].PixelSpacing = [2.0, 2.0]
    for one in colour:
        one.PhotometricInterpretation, one.SamplesPerPixel = "RGB", 3
    other[3].PatientID = "ANOTHER"
    for one in empty:
        del one.RescaleSlope
    for k, one in enumerate((few, gap, cut, text, tilted, odd, colour, other, empty, garbled)):
        folder = save(one, archive / "bad" / f"series{first + k}")
    (folder / "IM003.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 300)


def add_chest(archive: Path, number: int, template: list[Path]) -> None:
    """Copy a series that a chain can analyse, under other UIDs."""
    folder = archive / f"study{number}" / "chest"
    folder.mkdir(parents=True)
    for path in template:
        dataset = pydicom.dcmread(path)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, keyword, uid.generate_uid(entropy_srcs=[str(getattr(dataset, keyword)), str(number)]))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / path.name)


def chest_archive(archive: Path, good: int) -> Path:
    """Archive of chests that a chain can analyse, and ten bad series."""
    template = write_series(archive.parent / "template", small_chest()[0].round(), small_chest()[1], PATIENT, "ID12345")
    for number in range(good):
        add_chest(archive, number, template)
    shutil.rmtree(archive.parent / "template")
    add_bad_series(archive, 100)
    return archive
