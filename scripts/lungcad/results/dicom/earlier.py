# SPDX-License-Identifier: Apache-2.0
"""Earlier reports of the same series by the same chain, which a new version of the report names as predecessors."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from lungcad.results.dicom.equipment import MANUFACTURER

REPORT_CLASSES = (Comprehensive3DSRStorage, ComprehensiveSRStorage)
"""SOP classes of our reports."""


def earlier_reports(paths: Iterable[Path], instance: Dataset, chain: str) -> list[Dataset]:
    """Read, among files, our own reports by the same chain on the same series; others are skipped.

    Args:
        paths: files that may be reports; each UID counts once.
        instance: an instance of the series.
        chain: name of the chain.
    """
    found: dict[str, Dataset] = {}
    for path in paths:
        try:
            report = dcmread(path, force=False)
            is_ours = (report.SOPClassUID in REPORT_CLASSES and report.Manufacturer == MANUFACTURER
                    and report.ManufacturerModelName == chain)  # fmt: skip
            if is_ours and report.StudyInstanceUID == instance.StudyInstanceUID and _is_about(report, instance):
                found.setdefault(str(report.SOPInstanceUID), report)
        except Exception:  # no DICOM, damaged, or without these attributes; pydicom raises many kinds
            continue
    return list(found.values())


def predecessors(reports: Sequence[Dataset], uid_of: Callable[[Sequence[Dataset]], str]) -> list[Dataset]:
    """Reports that a new one replaces; for a retry of one of them, the reports that it replaced itself.

    Args:
        reports: earlier reports.
        uid_of: function that gives the SOPInstanceUID of the new report by its predecessors.

    Returns:
        data sets with the UIDs of study, series, class and instance, ordered by instance.
    """
    replaced = {str(report.SOPInstanceUID): _replaced_by(report) for report in reports}
    for uid, before in replaced.items():
        if uid_of(before) == uid:
            return before
    older = {str(replaced_uids.SOPInstanceUID) for before in replaced.values() for replaced_uids in before}
    latest = [_uids(report, report.StudyInstanceUID, report.SeriesInstanceUID) for report in reports]
    return sorted(
        (replaced_uids for replaced_uids in latest if replaced_uids.SOPInstanceUID not in older),
        key=lambda replaced_uids: str(replaced_uids.SOPInstanceUID),
    )


def _is_about(report: Dataset, instance: Dataset) -> bool:
    """Whether the series of an instance is among the evidence of a report."""
    return any(
        series.SeriesInstanceUID == instance.SeriesInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
    )


def _replaced_by(report: Dataset) -> list[Dataset]:
    """UIDs of the reports that a report names as its predecessors, ordered by instance."""
    found = []
    for study in report.get("PredecessorDocumentsSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                uids = _uids(report, study.StudyInstanceUID, series.SeriesInstanceUID)
                uids.SOPClassUID, uids.SOPInstanceUID = item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID
                found.append(uids)
    return sorted(found, key=lambda uids: str(uids.SOPInstanceUID))


def _uids(report: Dataset, study_uid: str, series_uid: str) -> Dataset:
    """Data set with UIDs only."""
    uids = Dataset()
    uids.StudyInstanceUID, uids.SeriesInstanceUID = study_uid, series_uid
    uids.SOPClassUID, uids.SOPInstanceUID = report.SOPClassUID, report.SOPInstanceUID
    return uids
