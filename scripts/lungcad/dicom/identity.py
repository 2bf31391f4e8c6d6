# SPDX-License-Identifier: Apache-2.0
"""Identity of a series: one patient, one study and one frame of reference, or results would go to the wrong person.

A SeriesInstanceUID is no proof: scanners, anonymisers and merged archives have put two patients under one uid.
PS3.3 A.1.2: all instances of a series have one frame of reference, come from one equipment and belong to one study of
one patient.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.header import Header
from lungcad.volume import Notice

EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName")
SPLIT = "Put the files of each patient and study into a folder of its own, or export the series again."


def _normalised_name(value: str) -> str:
    """Name without case, accents, punctuation and order of its parts: systems write one name in several ways."""
    plain = unicodedata.normalize("NFKD", value.split("=")[0]).casefold()
    return " ".join(sorted(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))))


PERSON: dict[str, Callable[[str], str]] = {
    "PatientID": str.casefold,
    "IssuerOfPatientID": str.casefold,
    "PatientName": _normalised_name,
    "PatientBirthDate": str,
    "PatientSex": str.casefold,
    "StudyInstanceUID": str,
}
"""Tags that must not differ within a series, each with the function that normalises its value before comparison."""


def check_person(headers: Sequence[Header]) -> list[Notice]:
    """Refuse images of several patients or studies; messages never contain the values themselves.

    Returns:
        W-IDENTITY where a tag is empty in some images and set in others.

    Raises:
        DicomSeriesError: E-IDENTITY.
    """
    partial = []
    for keyword, normal in PERSON.items():
        counts = Counter(normal(header.text(keyword)) for header in headers)
        empty = counts.pop("", 0)
        if len(counts) > 1:
            sizes = " and ".join(str(count) for _, count in counts.most_common(4))
            text = f"The series holds images of {len(counts)} patients or studies: {keyword} differs"
            raise DicomSeriesError("E-IDENTITY", f"{text} ({sizes} images).", SPLIT)
        if empty and counts:
            partial.append(f"{keyword} is empty in {empty} of {len(headers)} images")
    return [Notice("W-IDENTITY", f"{'; '.join(partial)}: check that all belong to one patient.")] if partial else []


def check_frame_of_reference(headers: Sequence[Header]) -> list[Notice]:
    """Refuse images of several frames of reference, whose positions cannot be compared.

    Some anonymisers gave every image a frame of reference of its own (LIDC-IDRI). This is accepted, with a warning,
    where no two images share one, some may have none, and all have the same equipment; the caller has checked patient
    and study, and checks that the images are evenly spaced.

    Returns:
        W-FRAME-OF-REFERENCE where some images have none, or each has its own.

    Raises:
        DicomSeriesError: E-IDENTITY.
    """
    by_instance = {
        (header.text("SOPInstanceUID") or str(id(header)), header.text("ImagePositionPatient")): header
        for header in headers
    }
    counts = Counter(header.text("FrameOfReferenceUID") for header in by_instance.values())
    empty = counts.pop("", 0)
    if len(counts) == 1 and empty:
        text = f"FrameOfReferenceUID is empty in {empty} of {len(by_instance)} images: check that all are of one scan."
        return [Notice("W-FRAME-OF-REFERENCE", text)]
    if len(counts) < 2:
        return []
    equipment = {tuple(header.text(keyword) for keyword in EQUIPMENT) for header in headers}
    if len(counts) + empty == len(by_instance) and len(counts) > max(2, empty) and len(equipment) == 1:
        text = "every image has a FrameOfReferenceUID of its own, as some anonymisers leave it; read as one scan."
        return [Notice("W-FRAME-OF-REFERENCE", text)]
    sizes = ", ".join(str(count) for _, count in counts.most_common(4)) + (", ..." if len(counts) > 4 else "")
    text = f"The series holds images of {len(counts)} frames of reference ({sizes} images)"
    advice = "Put the images of each scan into a folder of its own."
    raise DicomSeriesError("E-IDENTITY", f"{text}: their positions cannot be compared.", advice)
