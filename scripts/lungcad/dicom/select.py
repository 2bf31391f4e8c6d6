# SPDX-License-Identifier: Apache-2.0
"""Choice of the one CT series to read; never by chance and never by sort order."""

import re
from collections import Counter
from dataclasses import dataclass

from pydicom import uid

from lungcad.dicom.advice import ALLOW_DERIVED, CHOOSE_SERIES
from lungcad.dicom.discover import Found
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.header import Damaged, Header
from lungcad.dicom.image_type import could_be_slice, kind_of, name_if_processed
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.tags import TagError, read_numbers
from lungcad.printable import file_label, names_person
from lungcad.volume import Notice

SAFE_UID = re.compile(r"[0-9A-Za-z]([0-9A-Za-z_-]|\.(?!\.)){0,63}")
"""SeriesInstanceUID that is safe as the name of a folder; a UID has digits and dots, but anonymisers write letters."""
FEW_PLACES = 0.25
"""Largest number of places of bolus tracking, as a share of the scan's; more could be every second slice of it."""
KINDS = ("image", "derived", "processed", "localizer", "other")
"""Kinds of :func:`lungcad.dicom.image_type.kind_of`, in the order of the fields of :class:`Series`."""


@dataclass(frozen=True)
class Series:
    """Objects with one SeriesInstanceUID, by kind.

    Attributes:
        uid: SeriesInstanceUID, empty where missing.
        images, derived: original and derived CT images, to be stacked.
        processed: projections, maps and other images that are not slices in HU.
        localizers: scout images.
        others: objects of other classes or modalities.
    """

    uid: str
    images: list[Header]
    derived: list[Header]
    processed: list[Header]
    localizers: list[Header]
    others: list[Header]

    @property
    def all(self) -> list[Header]:
        """Objects of the series, of all kinds."""
        return [*self.images, *self.derived, *self.processed, *self.localizers, *self.others]

    def candidates(self, leniency: Leniency) -> list[Header]:
        """Objects that may hold slices: CT images that are neither localizers nor, unless allowed, processed images."""
        odd = [header for header in self.others if could_be_slice(header)]
        return self.images + self.derived + odd + (self.processed if leniency.allow_derived else [])

    def doubtful(self, leniency: Leniency) -> list[Header]:
        """Objects that are not slices by their header, but have a position in the patient."""
        others = [header for header in self.others if not could_be_slice(header)]
        others += [] if leniency.allow_derived else self.processed
        return [header for header in self.localizers + others if header.text("ImagePositionPatient")]


def group_by_series(found: Found) -> list[Series]:
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


def choose_series(found: Found, series_uid: str | None, leniency: Leniency) -> Series:
    """Choose the series asked for, or the only one with original CT images, or the only one with derived ones.

    Raises:
        DicomSeriesError: E-MULTI-SERIES, E-NOT-CT, E-NO-DICOM (no such uid), E-CORRUPT (a damaged file that may
            belong to the series), E-TAG-MISSING (no SeriesInstanceUID).
    """
    grouped = group_by_series(found)
    if series_uid:
        chosen = [series for series in grouped if series.uid == series_uid]
        if not chosen:
            text = f"No series {series_uid} here; there are {_series_list(grouped) or 'none'}."
            raise DicomSeriesError("E-NO-DICOM", text, "Give the SeriesInstanceUID of one of these.")
    else:
        chosen = [series for series in grouped if series.images]
        chosen = _without_monitoring(chosen, leniency.min_slices)
        chosen = chosen or [series for series in grouped if series.derived]
        chosen = chosen or [series for series in grouped if leniency.allow_derived and series.processed]
    if len(chosen) > 1:
        single = [series for series in chosen if [h.text("SOPClassUID") for h in series.all] == [uid.CTImageStorage]]
        if len(single) == len(chosen) >= leniency.min_slices:
            text = f"Each of {len(chosen)} CT images has a SeriesInstanceUID of its own, as some anonymisers leave it."
            raise DicomSeriesError("E-MULTI-SERIES", text, "Anonymise again so that a series keeps one UID.")
        text = f"{len(chosen)} CT series in the folder: {_series_list(chosen)}."
        raise DicomSeriesError("E-MULTI-SERIES", text, CHOOSE_SERIES)
    check_damaged(found, chosen[0].uid if chosen else "")
    if not chosen:
        kinds = Counter(_kind_text(header) for header in found.headers)
        text = f"No CT series of axial images, only: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, _derived_advice(grouped))
    check_kinds(chosen[0], leniency)
    return chosen[0]


def _without_monitoring(grouped: list[Series], min_slices: int) -> list[Series]:
    """Series without those of bolus tracking and its planning, which show few places, all inside the only scan.

    Few images beyond the scan's ends, without a place or without a series could be lost slices of it, and those of
    another study the ones that were meant.
    """
    heights = [_heights_mm(series) for series in grouped] if len(grouped) > 1 else []
    scans = [index for index, places in enumerate(heights) if len(places) >= min_slices]
    if len(scans) != 1:
        return grouped
    (scan,) = scans
    low, high, max_places = min(heights[scan]), max(heights[scan]), FEW_PLACES * len(heights[scan])
    studies = [series.images[0].text("StudyInstanceUID") for series in grouped]
    for index, places in enumerate(heights):
        inside = bool(places) and low < min(places) and max(places) < high and studies[index] == studies[scan]
        if index != scan and not (grouped[index].uid and inside and len(places) <= max_places):
            return grouped
    return [grouped[scan]]


def _heights_mm(series: Series) -> set[float]:
    """Heights of the images of a series; empty where one has no position."""
    try:
        places = [read_numbers(header.dataset, "ImagePositionPatient", 3) for header in series.images + series.derived]
    except TagError:
        return set()
    return {round(z, 3) for _, _, z in places}


def check_damaged(found: Found, series_uid: str) -> None:
    """Refuse a series to which a file that cannot be read belongs, or may belong.

    Raises:
        DicomSeriesError: the code of the damaged file.
    """
    copied = _copied_uids(found)
    uids = {header.text("SeriesInstanceUID") for header in found.headers}
    for damaged in found.damaged:
        if damaged.instance_uid in copied or (series_uid and not _may_belong(damaged, series_uid, uids)):
            continue  # an interrupted copy beside the whole file; a file of another series
        text = f"{file_label(damaged.path.name)}: {damaged.reason}; it may be a slice of the series."
        advice = f"{AGAIN} If it is no slice of the scan, take the file out of the folder."
        raise DicomSeriesError(damaged.code, text, advice)


def _copied_uids(found: Found) -> set[str]:
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


def check_kinds(series: Series, leniency: Leniency) -> None:
    """Refuse a series without a valid uid, or without slices in HU.

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


def dropped_notices(found: Found, series: Series, leniency: Leniency) -> list[Notice]:
    """Notices N-DROPPED on objects that are left out, in the series and in other series."""
    notices = []
    if series.localizers:
        notices.append(Notice("N-DROPPED", f"{len(series.localizers)} localizer image(s) in the series left out."))
    if series.processed and not leniency.allow_derived:
        kinds = Counter(name_if_processed(header) for header in series.processed)
        text = ", ".join(f"{count} {name}" for name, count in kinds.items())
        notices.append(Notice("N-DROPPED", f"images in the series that are no slices left out: {text}."))
    others = [header for header in series.others if not could_be_slice(header)]
    if others:
        notices.append(Notice("N-DROPPED", f"{len(others)} object(s) of the series are no CT image: left out."))
    copied = _copied_uids(found)
    if broken := sum(damaged.instance_uid in copied for damaged in found.damaged):
        notices.append(Notice("N-DROPPED", f"{broken} interrupted copies of files that are there whole left out."))
    beside = len(found.headers) - len(series.all)
    if beside:
        notices.append(Notice("N-DROPPED", f"{beside} object(s) of other series not read."))
    return notices


def printable_description(header: Header) -> str:
    """SeriesDescription; empty where it holds a part of the patient's name or id."""
    text = header.text("SeriesDescription")
    private = names_person(text, [header.text("PatientName")], header.identifiers)
    return "" if private else text


def shown_modality(header: Header) -> str:
    """Modality; empty where it is none of DICOM's form, or names the patient."""
    text = header.text("Modality").upper()
    names, ids = [header.text("PatientName")], header.identifiers
    return text if re.fullmatch(r"[A-Z]{2,8}", text) and not names_person(text, names, ids) else ""


def shown_uid(series: Series) -> str:
    """SeriesInstanceUID; empty where it is missing, no UID, which could be any text, or names the patient."""
    header = series.all[0]
    private = re.search(r"[A-Za-z]", series.uid) and names_person(
        series.uid, [header.text("PatientName")], header.identifiers
    )
    return series.uid if SAFE_UID.fullmatch(series.uid) and not private else ""


def _series_list(grouped: list[Series]) -> str:
    """Uid, description and number of objects of each series, in one line; ten series at most."""
    shown = [
        f"{shown_uid(s) or 'no UID'} ({printable_description(s.all[0]) or kind_of(s.all[0])}, {len(s.all)} objects)"
        for s in grouped
    ]
    return "; ".join(shown[:10]) + (f"; and {len(shown) - 10} more" if len(shown) > 10 else "")


def _kind_text(header: Header) -> str:
    """Modality, class and kind of an object in words of the standard only, since other values could hold any text."""
    modality = shown_modality(header) or "without Modality"
    kind_uid = uid.UID(header.text("SOPClassUID"))
    name = kind_uid.name if kind_uid.is_valid and not kind_uid.name[:1].isdigit() else "unknown object"
    kind = kind_of(header)
    return f"{modality} {name}" + (f" [{name_if_processed(header) or kind}]" if kind != "other" else "")


def _derived_advice(grouped: list[Series]) -> str:
    """Advice where no series holds original axial images."""
    if any(series.processed for series in grouped):
        return f"Choose the original axial series, or pass {ALLOW_DERIVED}."
    return "Choose an original axial CT series of the chest."
