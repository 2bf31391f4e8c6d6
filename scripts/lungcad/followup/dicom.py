# SPDX-License-Identifier: Apache-2.0
"""Structured report of a comparison, in the study of the current scan: its nodules, resolved ones, and their course.

A nodule has the tracking UID that the prior's report gave it, so that viewers list its sizes over time. One that the
current scan does not show is a group without measurements: a resolved one has the finding "problem resolved" at the
place that was looked at, any other words alone.
"""

import sys
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from highdicom.sr import FindingSite, MeasurementsAndQualitativeEvaluations, TrackingIdentifier
from pydicom.config import disable_value_validation
from pydicom.sr.coding import Code

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.followup.category import category_words
from lungcad.followup.comparison import Comparison, Lesion
from lungcad.results.dicom.codes import ABNORMAL, LUNG, SIDES, concept
from lungcad.results.dicom.equipment import Algorithm
from lungcad.results.dicom.groups import center_item, comment_item
from lungcad.results.dicom.nodules import Nodule, reported_nodules
from lungcad.results.dicom.source import Source, read_source
from lungcad.results.dicom.structured_report import make_report
from lungcad.results.dicom.uids import object_key
from lungcad.results.dicom.write import save_dataset, without_highdicom_messages
from lungcad.results.nodules_json import nodules_document
from lungcad.results.result import Result
from lungcad.scan.location import side_of_body

REPORT_FILE = "comparison.sr.dcm"
COMPARED = "compared"
"""Operating point of the report: every nodule of the comparison."""
DIFFERENCE = Code("442714003", "SCT", "Difference in size")
COURSES = {
    "growing": Code("15454001", "SCT", "Increase in size"),
    "shrinking": Code("19776001", "SCT", "Decrease in size"),
    "stable": Code("129723006", "SCT", "No significant changes in the finding"),
    "new": Code("RID5720", "RADLEX", "new"),
}
"""Codes by status; a nodule that is not comparable has none."""
RESOLVED = Code("413322009", "SCT", "Problem resolved")
"""Finding of a resolved nodule: no nodule, so that no reader of the report counts one."""


def write_comparison_dicom(folder: Path, comparison: Comparison) -> None:
    """Write comparison.sr.dcm into a folder, and report on stderr why it is missing; a failure stops nothing else."""
    try:
        note = _write_report(folder, comparison)
    except Exception as error:  # its text could name the patient
        (folder / REPORT_FILE).unlink(missing_ok=True)
        note = f"no report: internal error {type(error).__name__}"
    if note:
        print(f"{'dicom':<14}{note}", file=sys.stderr)


def _write_report(folder: Path, comparison: Comparison) -> str:
    """Write the report; returns the reason why it is missing, empty if it is not."""
    from lungcad.reading.volume_file import is_volume_file

    volume = comparison.current.volume
    if volume.origin is None or is_volume_file(volume.origin.path):
        return "no report: the current scan is not DICOM"
    try:
        source = read_source(volume.origin.path, volume.series_uid, **volume.origin.leniency)
    except InputError as error:
        return f"no report: {error.message}"
    document = nodules_document(comparison.current.result) | {"summary": comparison.summary}
    algorithm = Algorithm.from_document(document, comparison.current.result.weights_sha256)
    nodules = compared_nodules(comparison, source, algorithm)
    about = [f"{nodule.tracking_uid} {nodule.key} {nodule.comments}" for nodule in nodules]
    about += [f"{lesion.tracking_uid} {lesion.status} {lesion.reason}" for lesion in comparison.lesions]
    key = object_key(source.instances, algorithm, [comparison.prior.volume.series_uid, *about])
    with disable_value_validation(), without_highdicom_messages():
        absent = absent_groups(comparison, source, algorithm)
        report = make_report(source, document, nodules, None, algorithm, key, further_groups=absent)
        save_dataset(report, folder / REPORT_FILE)
    return ""


def compared_nodules(comparison: Comparison, source: Source, algorithm: Algorithm) -> list[Nodule]:
    """Nodules that the current scan shows, each with its course and tracking UID, numbered as in comparison.json."""
    shown = {
        number: lesion
        for number, lesion in enumerate(comparison.lesions, start=1)
        if lesion.current.finding is not None
    }
    findings: dict[int, Finding] = {
        number: replace(lesion.current.finding, mask=None) for number, lesion in shown.items() if lesion.current.finding
    }
    result = Result(comparison.current.volume, list(findings.values()), {COMPARED: 0.0}, COMPARED)
    numbers = {id(finding): number for number, finding in findings.items()}
    order = [numbers[id(finding)] for finding in result.findings]
    nodules = zip(order, reported_nodules(result, source, algorithm), strict=True)
    return [
        _with_course(nodule, number, shown[number], comparison) for number, nodule in sorted(nodules, key=itemgetter(0))
    ]


def absent_groups(
    comparison: Comparison, source: Source, algorithm: Algorithm
) -> list[MeasurementsAndQualitativeEvaluations]:
    """Groups (TID 1501) of the nodules that only the prior scan shows: tracking UID, place, and the course in words.

    Only a resolved one has a finding; of one that the current scan cannot show, the words say why.
    """
    groups = []
    for number, lesion in enumerate(comparison.lesions, start=1):
        if lesion.current.finding is None:
            known = lesion.current.is_known
            side = side_of_body(comparison.current.volume, lesion.current.place) if known else None
            finding = {"finding_type": concept(RESOLVED)} if lesion.status == "resolved" else {}
            group = MeasurementsAndQualitativeEvaluations(
                TrackingIdentifier(lesion.tracking_uid, f"nodule {number}"), algorithm_id=algorithm.for_report(),
                finding_category=concept(ABNORMAL), **finding,
                finding_sites=[FindingSite(concept(LUNG), concept(SIDES[side]) if side else None)],
            )  # fmt: skip
            if known and source.frame_of_reference_uid:
                group[0].ContentSequence.append(center_item(lesion.current.place, source))
            group[0].ContentSequence.append(comment_item(_course_words(lesion, comparison)))
            groups.append(group)
    return groups


def _course_words(lesion: Lesion, comparison: Comparison) -> str:
    """Course of a nodule in a sentence, with the series that it was compared with."""
    interval = "" if comparison.days is None else f" {comparison.days:g} days before"
    return f"{lesion.status}: {lesion.reason}. Compared with series {comparison.prior.volume.series_uid}{interval}."


def _with_course(nodule: Nodule, number: int, lesion: Lesion, comparison: Comparison) -> Nodule:
    """Nodule with the tracking UID over time, its course as a code and in words."""
    size = lesion.current.finding.measurement if lesion.current.finding else None
    category = (category_words(lesion.lung_rads),) if lesion.lung_rads else ()
    course = COURSES.get(lesion.status)
    volume = nodule.entry["volume_mm3"] if size is None else size.volume_mm3
    return replace(
        nodule, entry={**nodule.entry, "id": number, "volume_mm3": volume}, tracking_id=f"nodule {number}",
        tracking_uid=lesion.tracking_uid, evaluations=((DIFFERENCE, course),) if course else (),
        comments=(_course_words(lesion, comparison), *category),
        axes_mm=nodule.axes_mm if size is None else (size.long_axis_mm, size.short_axis_mm),
    )  # fmt: skip
