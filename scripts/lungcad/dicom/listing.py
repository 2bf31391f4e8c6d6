# SPDX-License-Identifier: Apache-2.0
"""List of the series under a path, each with its verdict by its headers, for a user to choose from."""

import os
from dataclasses import dataclass
from typing import Any

from lungcad.dicom.acquisitions import find_acquisitions
from lungcad.dicom.damaged import check_damaged
from lungcad.dicom.discover import Found, find_objects
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.grouped import Series, group_by_series
from lungcad.dicom.image_type import kind_of
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.pixels import check_duplicates
from lungcad.dicom.plan import make_plan, read_slices
from lungcad.dicom.quiet import quiet
from lungcad.dicom.select import dropped_notices
from lungcad.dicom.wording import printable_description, shown_modality, shown_uid


@dataclass(frozen=True)
class AcquisitionSummary:
    """Acquisition of a series: label, number of images, and the heights of its outermost images in mm."""

    label: str
    slices: int
    low_mm: float
    high_mm: float


@dataclass(frozen=True)
class SeriesSummary:
    """Series of a folder, for a user to choose from; never with a patient's name or id.

    Attributes:
        uid: SeriesInstanceUID, empty where missing or no UID.
        description, modality: as in the header, empty where missing or where they could name the patient.
        slices: number of slices, or of objects where the series is not usable.
        spacing_mm: between columns, rows, slices; None where the series is no regular stack.
        matrix: columns, rows; None where unknown.
        usable: whether the series passes the checks of its headers; pixels are decoded only where images share a place.
        code, reason: refusal, empty where usable.
        notices: notices of :func:`lungcad.dicom.read_series` on the headers and the folder.
        acquisitions: acquisitions of the series, where there are several; their labels are for ``acquisition`` of
            :func:`lungcad.dicom.read_series`.
    """

    uid: str
    description: str
    modality: str
    slices: int
    spacing_mm: tuple[float, float, float] | None
    matrix: tuple[int, int] | None
    usable: bool
    code: str = ""
    reason: str = ""
    notices: tuple[str, ...] = ()
    acquisitions: tuple[AcquisitionSummary, ...] = ()


def list_series(path: str | os.PathLike[str], **leniency: Any) -> list[SeriesSummary]:
    """List every series under a path with its verdict; one bad series does not hide the others.

    Args:
        path: as for :func:`lungcad.dicom.read_series`.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        DicomSeriesError: E-NO-DICOM, E-ARCHIVE, E-CORRUPT (no series can be listed).
    """
    options = Leniency.from_options(leniency)
    found = find_objects(path)
    if not found.headers:
        check_damaged(found, "")
    with quiet():
        return [summarise(series, found, options) for series in group_by_series(found)]


def summarise(series: Series, found: Found, options: Leniency) -> SeriesSummary:
    """Check one series by its headers and summarise it."""
    header = (series.images or series.all)[0]
    spacing: tuple[float, float, float] | None = None
    count, code, reason = len(series.all), "", ""
    notices = found.notices + dropped_notices(found, series, options)
    try:
        check_damaged(found, series.uid)
        plan = make_plan(series, options)
        notices += plan.notices
        x, y, z = (float((column @ column) ** 0.5) for column in plan.stack.affine[:3, :3].T)
        spacing, count = (x, y, z), len(plan.stack.groups)
        check_duplicates(plan.stack.groups)
    except DicomSeriesError as error:
        code, reason = error.code, f"{error.message} {error.advice}".strip()
    columns, rows = header.text("Columns"), header.text("Rows")
    return SeriesSummary(
        uid=shown_uid(series),
        description=printable_description(header) or (kind_of(header) if not series.images else ""),
        modality=shown_modality(header),
        slices=count,
        spacing_mm=spacing,
        matrix=(int(columns), int(rows)) if columns.isdecimal() and rows.isdecimal() else None,
        usable=not code,
        code=code,
        reason=reason,
        notices=tuple(notices),
        acquisitions=_summarise_acquisitions(series, options),
    )


def _summarise_acquisitions(series: Series, options: Leniency) -> tuple[AcquisitionSummary, ...]:
    """Acquisitions of a series; none where there is only one, or no image can be read."""
    try:
        slices = read_slices(series, options).slices
    except DicomSeriesError:
        return ()
    found = find_acquisitions(slices) if slices else {}
    heights = {label: [piece.position_mm[2] for piece in pieces] for label, pieces in found.items()}
    return tuple(AcquisitionSummary(label, len(z), min(z), max(z)) for label, z in heights.items())
