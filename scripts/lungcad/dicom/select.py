# SPDX-License-Identifier: Apache-2.0
"""Choose the one CT series to read; never by chance and never by sort order."""

import re
from collections import Counter
from dataclasses import dataclass

from pydicom import uid

from lungcad.dicom.discover import Found
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.header import CT_CLASSES, Header
from lungcad.dicom.leniency import Leniency
from lungcad.volume import Notice

SAFE_UID = re.compile(r"[0-9A-Za-z]([0-9A-Za-z_-]|\.(?!\.)){0,63}")
"""What may become the name of a folder. Strictly digits and dots, but anonymisers write letters."""
SCOUT_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
DERIVED_WORDS = frozenset({"MPR", "MIP", "MINIP", "REFORMATTED", "PROJECTION IMAGE"})


@dataclass(frozen=True)
class Series:
    """The objects of one SeriesInstanceUID: images to stack, and what does not belong in the stack."""

    uid: str
    images: list[Header]
    derived: list[Header]
    localizers: list[Header]
    others: list[Header]

    @property
    def all(self) -> list[Header]:
        """Every object of the series."""
        return [*self.images, *self.derived, *self.localizers, *self.others]


def kind_of(header: Header) -> str:
    """Say what an object is: image | derived | localizer | other (not CT, colour, secondary capture, report)."""
    if header.text("SOPClassUID") not in CT_CLASSES or header.text("Modality").upper() != "CT":
        return "other"
    return kind_of_type(header.image_type)


def kind_of_type(image_type: tuple[str, ...]) -> str:
    """Say what an ImageType (or an enhanced FrameType) stands for: image | derived | localizer."""
    words = set(image_type)
    if words & SCOUT_WORDS:
        return "localizer"
    if image_type[:1] == ("DERIVED",) or image_type[1:2] == ("SECONDARY",) or words & DERIVED_WORDS:
        return "derived"
    return "image"


def group(found: Found) -> list[Series]:
    """Group objects by SeriesInstanceUID; objects without one form a series with an empty uid."""
    by_uid: dict[str, list[Header]] = {}
    for header in found.headers:
        by_uid.setdefault(header.text("SeriesInstanceUID"), []).append(header)
    grouped = []
    for series_uid, headers in sorted(by_uid.items()):
        kinds: dict[str, list[Header]] = {"image": [], "derived": [], "localizer": [], "other": []}
        for header in headers:
            kinds[kind_of(header)].append(header)
        grouped.append(Series(series_uid, kinds["image"], kinds["derived"], kinds["localizer"], kinds["other"]))
    return grouped


def choose(found: Found, series_uid: str | None, leniency: Leniency) -> Series:
    """Return the series asked for, or the only one with CT images.

    Raises:
        DicomSeriesError: E-MULTI-SERIES, E-NOT-CT, E-NO-DICOM (no such uid), E-CORRUPT (a damaged file that may
            belong to the series), E-TAG-MISSING (no SeriesInstanceUID).
    """
    grouped = group(found)
    if series_uid:
        chosen = [series for series in grouped if series.uid == series_uid]
        if not chosen:
            text = f"No series {series_uid} here; there are {_listed(grouped) or 'none'}."
            raise DicomSeriesError("E-NO-DICOM", text, "Give the SeriesInstanceUID of one of these.")
    else:
        chosen = [series for series in grouped if series.images or (leniency.allow_derived and series.derived)]
    if len(chosen) > 1:
        text = f"{len(chosen)} CT series in the folder: {_listed(chosen)}."
        raise DicomSeriesError("E-MULTI-SERIES", text, "Choose one with series_uid.")
    check_damaged(found, chosen[0].uid if chosen else "")
    if not chosen:
        kinds = Counter(_kind_text(header) for header in found.headers)
        text = f"No CT series of original axial images, only: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, _derived_advice(grouped))
    check_kinds(chosen[0], leniency)
    return chosen[0]


def check_damaged(found: Found, series_uid: str) -> None:
    """Refuse where a file that cannot be read belongs, or may belong, to the series.

    Raises:
        DicomSeriesError: with the code of the damage.
    """
    for damaged in found.damaged:
        if series_uid.startswith(damaged.series_uid) or not series_uid:  # an unread or cut uid may be any
            text = f"{damaged.path.name}: {damaged.reason}; it may be a slice of the series."
            raise DicomSeriesError(damaged.code, text, AGAIN)


def check_kinds(series: Series, leniency: Leniency) -> None:
    """Refuse a series without CT images, or in which original and derived images are mixed.

    Raises:
        DicomSeriesError: E-NOT-CT, E-TAG-MISSING, E-TAG-VALUE.
    """
    if not series.uid:
        text = f"SeriesInstanceUID missing in {len(series.all)} object(s), e.g. {series.all[0].path.name}."
        raise DicomSeriesError("E-TAG-MISSING", text, AGAIN)
    if not SAFE_UID.fullmatch(series.uid):
        raise DicomSeriesError("E-TAG-VALUE", "SeriesInstanceUID is not a UID (expected digits and dots).", AGAIN)
    strays = [header for header in series.others if header.text("SOPClassUID") in CT_CLASSES]
    if strays and (series.images or series.derived):
        text = f"{len(strays)} of {len(series.all)} CT images say Modality {strays[0].text('Modality') or 'nothing'}."
        raise DicomSeriesError("E-NOT-CT", text, AGAIN)
    if series.derived and not leniency.allow_derived:
        text = f"{len(series.derived)} of {len(series.all)} objects are derived: {_kind_text(series.derived[0])}."
        raise DicomSeriesError("E-NOT-CT", text, _derived_advice([series]))
    if not series.images and not series.derived:
        kinds = Counter(_kind_text(header) for header in series.all)
        text = f"The series holds no CT images: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, "Choose an original axial CT series of the chest.")


def dropped(found: Found, series: Series) -> list[Notice]:
    """Note what was left out of the stack, in the series and beside it."""
    notices = []
    if series.localizers:
        notices.append(Notice("N-DROPPED", f"{len(series.localizers)} localizer image(s) in the series left out."))
    if series.others:
        notices.append(Notice("N-DROPPED", f"{len(series.others)} object(s) of the series are no CT image: left out."))
    beside = len(found.headers) - len(series.all)
    if beside:
        notices.append(Notice("N-DROPPED", f"{beside} object(s) of other series not read."))
    return notices


def printable_description(header: Header) -> str:
    """SeriesDescription, unless someone wrote the patient's name or id into it."""
    text = header.text("SeriesDescription")
    private = [*header.text("PatientName").replace("^", " ").replace("=", " ").split(), header.text("PatientID")]
    if any(len(part) > 2 and part.lower() in text.lower() for part in private):
        return ""
    return text


def _listed(grouped: list[Series]) -> str:
    shown = [f"{s.uid} ({printable_description(s.all[0]) or kind_of(s.all[0])}, {len(s.all)} objects)" for s in grouped]
    return "; ".join(shown[:10]) + (f"; and {len(shown) - 10} more" if len(shown) > 10 else "")


def _kind_text(header: Header) -> str:
    modality = header.text("Modality") or "without Modality"
    name = uid.UID(header.text("SOPClassUID")).name or "unknown object"
    return f"{modality} {name}" + (f" [{'/'.join(header.image_type[:3])}]" if kind_of(header) != "other" else "")


def _derived_advice(grouped: list[Series]) -> str:
    if any(series.derived for series in grouped):
        return "Choose the original axial series, or pass allow_derived=True to accept derived images."
    return "Choose an original axial CT series of the chest."
