# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be read: which of them may be slices of a series, and which are copies of whole files."""

from lungcad.dicom.discover import Found
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.header import Damaged
from lungcad.printable import file_label


def check_damaged(found: Found, series_uid: str) -> None:
    """Refuse a series to which a file that cannot be read belongs, or may belong.

    Raises:
        DicomSeriesError: the code of the damaged file.
    """
    copied = copied_uids(found)
    uids = {header.text("SeriesInstanceUID") for header in found.headers}
    for damaged in found.damaged:
        if damaged.instance_uid in copied or (series_uid and not _may_belong(damaged, series_uid, uids)):
            continue  # an interrupted copy beside the whole file; a file of another series
        text = f"{file_label(damaged.path.name)}: {damaged.reason}; it may be a slice of the series."
        advice = f"{AGAIN} If it is no slice of the scan, take the file out of the folder."
        raise DicomSeriesError(damaged.code, text, advice)


def copied_uids(found: Found) -> set[str]:
    """SOPInstanceUIDs of single images: a damaged file with one of them is a copy. Anonymisers give one to all."""
    places: dict[str, set[str]] = {}
    for header in found.headers:
        places.setdefault(header.text("SOPInstanceUID"), set()).add(header.text("ImagePositionPatient"))
    return {name for name, positions in places.items() if name and len(positions) == 1}


def _may_belong(damaged: Damaged, series_uid: str, uids: set[str]) -> bool:
    """Whether a damaged file may belong to a series; its own series uid may be missing, cut or garbled."""
    if damaged.among is not None:
        return series_uid in damaged.among
    others = any(uid.startswith(damaged.series_uid) for uid in uids - {series_uid})
    return not damaged.series_uid or series_uid.startswith(damaged.series_uid) or not others
