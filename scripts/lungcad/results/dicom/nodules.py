# SPDX-License-Identifier: Apache-2.0
"""The nodules that the DICOM objects tell: one list, so that report and segmentation name and number them alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.uid import generate_uid

from lungcad.results.dicom.source import Source
from lungcad.results.dicom.source_mask import SourceMask, long_and_short_axis_mm, on_source, on_thin_slices
from lungcad.results.nodules_json import nodules_document
from lungcad.results.result import Result
from lungcad.scan.location import side_of_body


@dataclass(frozen=True)
class Nodule:
    """One reported finding.

    Attributes:
        entry: as in nodules.json.
        tracking_id, tracking_uid: the same in report and segmentation; the id repeats that of nodules.json.
        side: ``right`` or ``left``; None near the middle.
        mask: on the pixels of the series; None where no stage segmented it.
        segment: its number in the segmentation; None without a mask.
        axes_mm: long and short axis of the mask; None without one.
    """

    entry: Mapping[str, Any]
    tracking_id: str
    tracking_uid: str
    side: str | None
    mask: SourceMask | None
    segment: int | None
    axes_mm: tuple[float, float] | None


def reported_nodules(result: Result, source: Source) -> list[Nodule]:
    """Take the findings at or above the operating point, as report.html does; a score that is unknown is reported.

    Args:
        result: findings with their masks, and the scan, to tell right from left.
        source: the series.
    """
    nodules: list[Nodule] = []
    segments = 0
    for entry, finding in zip(nodules_document(result)["findings"], result.findings, strict=True):
        if finding.score is not None and finding.score < result.threshold:
            continue
        mask = axes_mm = None
        if finding.mask is not None:
            mask, thin = on_source(finding.mask, source), on_thin_slices(finding.mask, source)
            axes_mm = None if thin is None else long_and_short_axis_mm(thin, source)
        segments += mask is not None
        nodules.append(Nodule(
            entry, f"nodule {entry['id']}", generate_uid(prefix=None),
            side_of_body(result.volume, entry["center_lps_mm"]), mask, None if mask is None else segments, axes_mm,
        ))  # fmt: skip
    return nodules
