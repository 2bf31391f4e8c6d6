# SPDX-License-Identifier: Apache-2.0
"""Choose the one CT series to read; never by chance and never by sort order."""

import re
from collections import Counter
from dataclasses import dataclass

from pydicom import uid

from lungcad.dicom.advice import ALLOW_DERIVED, CHOOSE_SERIES
from lungcad.dicom.discover import Found
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.header import Damaged, Header
from lungcad.dicom.image_type import could_be_slice, kind_of, name_of
from lungcad.dicom.leniency import Leniency
from lungcad.printable import file_label, names_person
from lungcad.volume import Notice

SAFE_UID = re.compile(r"[0-9A-Za-z]([0-9A-Za-z_-]|\.(?!\.)){0,63}")
"""What may become the name of a folder. Strictly digits and dots, but anonymisers write letters."""
KINDS = ("image", "derived", "processed", "localizer", "other")


@dataclass(frozen=True)
class Series:
    """The objects of one SeriesInstanceUID: images to stack, original or derived, and what is no slice in HU."""

    uid: str
    images: list[Header]
    derived: list[Header]
    processed: list[Header]
    localizers: list[Header]
    others: list[Header]

    @property
    def all(self) -> list[Header]:
        """Every object of the series."""
        return [*self.images, *self.derived, *self.processed, *self.localizers, *self.others]

    def candidates(self, leniency: Leniency) -> list[Header]:
        """Objects that may hold slices: images of the CT classes that are neither scouts nor processed further."""
        odd = [header for header in self.others if could_be_slice(header)]
        return self.images + self.derived + odd + (self.processed if leniency.allow_derived else [])

    def doubtful(self, leniency: Leniency) -> list[Header]:
        """Objects that say they are something else, but have a place in the patient."""
        others = [header for header in self.others if not could_be_slice(header)]
        others += [] if leniency.allow_derived else self.processed
        return [header for header in self.localizers + others if header.text("ImagePositionPatient")]


def group(found: Found) -> list[Series]:
    """Group objects by SeriesInstanceUID; objects without one form a series with an empty uid."""
    by_uid: dict[str, list[Header]] = {}
    for header in found.headers:
        by_uid.setdefault(header.text("SeriesInstanceUID"), []).append(header)
    grouped = []
    for series_uid, headers in sorted(by_uid.items()):
        kinds: dict[str, list[Header]] = {kind: [] for kind in KINDS}
        for header in headers:
            kinds[kind_of(header)].append(header)
        grouped.append(Series(series_uid, *(kinds[kind] for kind in KINDS)))
    return grouped


def choose(found: Found, series_uid: str | None, leniency: Leniency) -> Series:
    """Return the series asked for, or the only one with original CT images, or the only one with derived ones.

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
        chosen = [series for series in grouped if series.images]
        chosen = chosen or [series for series in grouped if series.derived]
        chosen = chosen or [series for series in grouped if leniency.allow_derived and series.processed]
    if len(chosen) > 1:
        text = f"{len(chosen)} CT series in the folder: {_listed(chosen)}."
        raise DicomSeriesError("E-MULTI-SERIES", text, CHOOSE_SERIES)
    check_damaged(found, chosen[0].uid if chosen else "")
    if not chosen:
        kinds = Counter(_kind_text(header) for header in found.headers)
        text = f"No CT series of axial images, only: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, _derived_advice(grouped))
    check_kinds(chosen[0], leniency)
    return chosen[0]


def check_damaged(found: Found, series_uid: str) -> None:
    """Refuse where a file that cannot be read belongs, or may belong, to the series.

    Raises:
        DicomSeriesError: with the code of the damage.
    """
    whole = {header.text("SOPInstanceUID") for header in found.headers} - {""}
    uids = {header.text("SeriesInstanceUID") for header in found.headers}
    for damaged in found.damaged:
        if damaged.instance_uid in whole or (series_uid and not _may_belong(damaged, series_uid, uids)):
            continue  # an interrupted copy beside the whole file; a file of another series
        text = f"{file_label(damaged.path.name)}: {damaged.reason}; it may be a slice of the series."
        advice = f"{AGAIN} If it is no slice of the scan, take the file out of the folder."
        raise DicomSeriesError(damaged.code, text, advice)


def _may_belong(damaged: Damaged, series_uid: str, known: set[str]) -> bool:
    """Whether a damaged file can be of a series: its uid may be missing, cut or garbled itself."""
    if damaged.among is not None:
        return series_uid in damaged.among
    others = any(uid.startswith(damaged.series_uid) for uid in known - {series_uid})
    return not damaged.series_uid or series_uid.startswith(damaged.series_uid) or not others


def check_kinds(series: Series, leniency: Leniency) -> None:
    """Refuse a series without slices in HU, by what it is.

    Raises:
        DicomSeriesError: E-NOT-CT, E-TAG-MISSING, E-TAG-VALUE.
    """
    if not series.uid:
        text = f"SeriesInstanceUID missing in {len(series.all)} object(s), e.g. {file_label(series.all[0].path.name)}."
        raise DicomSeriesError("E-TAG-MISSING", text, AGAIN)
    if not SAFE_UID.fullmatch(series.uid):
        raise DicomSeriesError("E-TAG-VALUE", "SeriesInstanceUID is not a UID (expected digits and dots).", AGAIN)
    if not series.images and not series.derived and not (leniency.allow_derived and series.processed):
        kinds = Counter(_kind_text(header) for header in series.all)
        text = f"The series holds no CT images: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, _derived_advice([series]))


def dropped(found: Found, series: Series, leniency: Leniency) -> list[Notice]:
    """Note what was left out of the stack, in the series and beside it."""
    notices = []
    if series.localizers:
        notices.append(Notice("N-DROPPED", f"{len(series.localizers)} localizer image(s) in the series left out."))
    if series.processed and not leniency.allow_derived:
        kinds = Counter(name_of(header) for header in series.processed)
        text = ", ".join(f"{count} {name}" for name, count in kinds.items())
        notices.append(Notice("N-DROPPED", f"images in the series that are no slices left out: {text}."))
    others = [header for header in series.others if not could_be_slice(header)]
    if others:
        notices.append(Notice("N-DROPPED", f"{len(others)} object(s) of the series are no CT image: left out."))
    whole = {header.text("SOPInstanceUID") for header in found.headers} - {""}
    if broken := sum(damaged.instance_uid in whole for damaged in found.damaged):
        notices.append(Notice("N-DROPPED", f"{broken} interrupted copies of files that are there whole left out."))
    beside = len(found.headers) - len(series.all)
    if beside:
        notices.append(Notice("N-DROPPED", f"{beside} object(s) of other series not read."))
    return notices


def printable_description(header: Header) -> str:
    """SeriesDescription, unless someone wrote parts of the patient's name or id into it."""
    text = header.text("SeriesDescription")
    private = names_person(text, [header.text("PatientName")], [header.text("PatientID")])
    return "" if private else text


def _listed(grouped: list[Series]) -> str:
    shown = [f"{s.uid} ({printable_description(s.all[0]) or kind_of(s.all[0])}, {len(s.all)} objects)" for s in grouped]
    return "; ".join(shown[:10]) + (f"; and {len(shown) - 10} more" if len(shown) > 10 else "")


def _kind_text(header: Header) -> str:
    """What an object is, in words of the standard only: other values could hold anything."""
    modality = header.text("Modality").upper()
    modality = modality if modality.isalpha() and len(modality) < 9 else "without Modality"
    name = uid.UID(header.text("SOPClassUID")).name
    name = "unknown object" if not name or name[0].isdigit() else name
    kind = kind_of(header)
    return f"{modality} {name}" + (f" [{name_of(header) or kind}]" if kind != "other" else "")


def _derived_advice(grouped: list[Series]) -> str:
    if any(series.processed for series in grouped):
        return f"Choose the original axial series, or pass {ALLOW_DERIVED}."
    return "Choose an original axial CT series of the chest."
