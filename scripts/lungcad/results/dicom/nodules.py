# SPDX-License-Identifier: Apache-2.0
"""Nodules that the DICOM objects report: one list gives report and segmentation the same names and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.sr.coding import Code

from lungcad.finding import Finding
from lungcad.measure.axes import transverse_axes
from lungcad.results.dicom.codes import LUNG_RADS, LUNG_RADS_CATEGORIES
from lungcad.results.dicom.equipment import Algorithm
from lungcad.results.dicom.source import Source
from lungcad.results.dicom.source_mask import SourceMask, on_source, on_thin_slices
from lungcad.results.dicom.uids import derived_uid, finding_key
from lungcad.results.nodules_json import nodules_document
from lungcad.results.proposals.plain_words import open_questions
from lungcad.results.result import Result
from lungcad.results.ris_text import condition
from lungcad.scan.location import side_of_body


@dataclass(frozen=True)
class Nodule:
    """Finding that the DICOM objects report.

    Attributes:
        entry: entry of the finding in nodules.json.
        tracking_id, tracking_uid: identifiers, the same in report and segmentation; the id is that of nodules.json.
        side: side of the body, ``right`` or ``left``; None near the middle.
        mask: mask on the pixels of the series; None where no stage segmented the nodule.
        segment: number of its segment in the segmentation; None without a mask.
        axes_mm: long and short axis of the mask in mm; None without a mask.
        key: text that is the same for the same finding.
        evaluations: further evaluations, each a concept and its value.
        comments: further remarks.
    """

    entry: Mapping[str, Any]
    tracking_id: str
    tracking_uid: str
    side: str | None
    mask: SourceMask | None
    segment: int | None
    axes_mm: tuple[float, float] | None
    key: str
    evaluations: tuple[tuple[Code, Code], ...] = ()
    comments: tuple[str, ...] = ()


def reported_nodules(result: Result, source: Source, algorithm: Algorithm) -> list[Nodule]:
    """Reported findings, those of report.html, as nodules of the series.

    Args:
        result: findings with their masks, and the scan, which shows the side of the body.
        source: series of the scan.
        algorithm: chain that found them; the tracking UIDs follow from chain, series and finding.
    """
    nodules: list[Nodule] = []
    segments, document = 0, nodules_document(result)
    for number, finding in result.numbered:
        entry, mask, axes_mm = document["findings"][number - 1], None, None
        if finding.mask is not None:
            mask, axes_mm = on_source(finding.mask, source), _axes_mm(finding, source)
        segments += mask is not None
        key = finding_key(entry, finding.mask)
        nodules.append(Nodule(
            entry, f"nodule {entry['id']}", derived_uid("finding", result.volume.series_uid, repr(algorithm), key),
            side_of_body(result.volume, entry["center_lps_mm"]), mask, None if mask is None else segments, axes_mm, key,
            *_category_items(document["assessment"], entry["id"], result.indication),
        ))  # fmt: skip
    return nodules


def _category_items(
    assessment: Mapping[str, Any] | None, number: int, indication: str | None
) -> tuple[tuple[tuple[Code, Code], ...], tuple[str, ...]]:
    """Evaluation and comment on a finding's Lung-RADS category; empty where it has none.

    A code has no "if": it is written only where the user said that the scan is a screening CT, the words always.
    """
    assessed = (
        next((finding for finding in assessment["findings"] if finding["id"] == number), None) if assessment else None
    )
    if assessment is None or assessed is None or (category := assessed["category"]) is None:
        return (), ()
    asked = f" Open: {open_questions(assessed['not_computed'])}." if assessed["not_computed"] else ""
    words = (
        f"{condition(assessment)}: proposed Lung-RADS {category} ({assessed['reason']}). "
        f"Taken for granted: {'; '.join(assessment['assumptions'])}.{asked}"
    )
    coded = ((LUNG_RADS, LUNG_RADS_CATEGORIES[category]),) if indication == "screening" else ()
    return coded, (words,)


def _axes_mm(finding: Finding, source: Source) -> tuple[float, float] | None:
    """Long and short axis in mm: as measured, else those of the mask on the series; None without a mask."""
    if finding.measurement is not None:
        return finding.measurement.long_axis_mm, finding.measurement.short_axis_mm
    thin = None if finding.mask is None else on_thin_slices(finding.mask, source)
    if thin is None:
        return None
    axes = transverse_axes(thin.mask, source.spacing_mm)
    return axes.long_mm, axes.short_mm
