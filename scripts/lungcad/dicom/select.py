# SPDX-License-Identifier: Apache-2.0
"""Choice of the one CT series to read; never by chance and never by sort order."""

from collections import Counter

from pydicom import uid

from lungcad.dicom.advice import CHOOSE_SERIES
from lungcad.dicom.damaged import check_damaged, copied_uids
from lungcad.dicom.discover import Found
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.grouped import SAFE_UID, Series, group_by_series
from lungcad.dicom.image_type import could_be_slice, name_if_processed
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.tags import TagError, read_numbers
from lungcad.dicom.wording import derived_advice, kind_text, series_list
from lungcad.printable import file_label
from lungcad.volume import Notice

FEW_PLACES = 0.25
"""Largest number of places of bolus tracking, as a share of the scan's; more could be every second slice of it."""


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
            text = f"No series {series_uid} here; there are {series_list(grouped) or 'none'}."
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
        text = f"{len(chosen)} CT series in the folder: {series_list(chosen)}."
        raise DicomSeriesError("E-MULTI-SERIES", text, CHOOSE_SERIES)
    check_damaged(found, chosen[0].uid if chosen else "")
    if not chosen:
        kinds = Counter(kind_text(header) for header in found.headers)
        text = f"No CT series of axial images, only: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, derived_advice(grouped))
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
        kinds = Counter(kind_text(header) for header in series.all)
        text = f"The series holds no CT images: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}."
        raise DicomSeriesError("E-NOT-CT", text, derived_advice([series]))


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
    copied = copied_uids(found)
    if broken := sum(damaged.instance_uid in copied for damaged in found.damaged):
        notices.append(Notice("N-DROPPED", f"{broken} interrupted copies of files that are there whole left out."))
    beside = len(found.headers) - len(series.all)
    if beside:
        notices.append(Notice("N-DROPPED", f"{beside} object(s) of other series not read."))
    return notices
