# SPDX-License-Identifier: Apache-2.0
"""DICOM objects grouped by SeriesInstanceUID, and within a series by kind."""

import re
from dataclasses import dataclass

from lungcad.dicom.discover import Found
from lungcad.dicom.header import Header
from lungcad.dicom.image_type import could_be_slice, kind_of
from lungcad.dicom.leniency import Leniency

SAFE_UID = re.compile(r"[0-9A-Za-z]([0-9A-Za-z_-]|\.(?!\.)){0,63}")
"""SeriesInstanceUID that is safe as the name of a folder; a UID has digits and dots, but anonymisers write letters."""
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
