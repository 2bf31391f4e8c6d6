# SPDX-License-Identifier: Apache-2.0
"""Writer of the DICOM objects of a result, from the headers of its source series."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from lungcad.errors import InputError
from lungcad.results.nodules_json import nodules_document
from lungcad.results.result import Result

REPORT_FILE, SEGMENTATION_FILE = "nodules.sr.dcm", "nodules.seg.dcm"


def write_dicom(folder: Path, result: Result, comprehensive: bool = False) -> None:
    """Write the DICOM objects of a result into a folder, and report on stderr why one is missing.

    A failure is reported in the same way and does not stop the other formats of the result.
    """
    try:
        notes = write_dicom_results(folder, result, comprehensive)
    except Exception as error:  # its text could name the patient
        for name in (REPORT_FILE, SEGMENTATION_FILE):
            (folder / name).unlink(missing_ok=True)
        notes = [f"no report and no segmentation: internal error {type(error).__name__}"]
    for note in notes:
        print(f"{'dicom':<14}{note}", file=sys.stderr)


def write_dicom_results(folder: Path, result: Result, comprehensive: bool = False) -> list[str]:
    """Write ``nodules.sr.dcm``, and ``nodules.seg.dcm`` where reported findings have masks, into a folder.

    The objects hold the findings at or above the operating point, or the statement that there are none. Unknown values
    are left out. Patient and study are those of the series; its headers are read again only where the volume does not
    hold them, or files have changed since. Series and instances are new, with UIDs that follow from images, chain,
    weights and findings: a retry makes the same ones. A report of another version names as predecessors the chain's
    reports of the series that it replaces or that lie beside the images.

    Args:
        folder: folder for the files.
        result: result of a DICOM series.
        comprehensive: write a Comprehensive SR instead of a Comprehensive 3D SR.

    Returns:
        reasons why an object is missing, each a line for the user. Nothing is written for a scan that is not DICOM.
    """
    from lungcad.reading.volume_file import is_volume_file

    volume = result.volume
    if volume.origin is None or is_volume_file(volume.origin.path):
        return ["no report and no segmentation: the input is not DICOM"]

    from lungcad.results.dicom.earlier import earlier_reports
    from lungcad.results.dicom.equipment import Algorithm
    from lungcad.results.dicom.nodules import reported_nodules
    from lungcad.results.dicom.segmentation import make_segmentation, why_no_segmentation
    from lungcad.results.dicom.source import read_source, source_of
    from lungcad.results.dicom.structured_report import make_report
    from lungcad.results.dicom.uids import object_key

    known = volume.origin.series
    try:
        if known is not None and known.is_unchanged():
            source = source_of(known)
        else:
            source = read_source(volume.origin.path, volume.series_uid, **volume.origin.leniency)
    except InputError as error:
        return [f"no report and no segmentation: {error.message}"]
    instance_uids = tuple(str(instance.SOPInstanceUID) for instance, _ in source.slices)
    if volume.sop_instance_uids and tuple(volume.sop_instance_uids) != instance_uids:
        return ["no report and no segmentation: the series is no longer the one that was analysed"]
    document, segmentation = nodules_document(result), None
    algorithm = Algorithm.from_document(document, result.weights_sha256)
    nodules = reported_nodules(result, source, algorithm)
    said = [" ".join((nodule.key, *nodule.comments)) for nodule in nodules]
    key = object_key(source.instances, algorithm, said)
    reason = why_no_segmentation(source, nodules)
    with disable_value_validation(), without_highdicom_messages():
        if not reason:
            segmentation = make_segmentation(source, nodules, algorithm, key)
            save_dataset(segmentation, folder / SEGMENTATION_FILE)
        before = [] if result.earlier is None else [result.earlier / REPORT_FILE]
        earlier = earlier_reports([*before, *source.reports], source.instances[0], algorithm.name)
        report = make_report(source, document, nodules, segmentation, algorithm, key, comprehensive, earlier)
        save_dataset(report, folder / REPORT_FILE)
    lost = sum(nodule.mask is None and result.findings[nodule.entry["id"] - 1].mask is not None for nodule in nodules)
    notes = [f"no segmentation: {reason}"] if reason and any(nodule.mask for nodule in nodules) else []
    return notes + ([f"the masks of {lost} nodule(s) fill half of no pixel and are left out"] if lost else [])


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write a DICOM object with its file meta information."""
    dataset.save_as(path, enforce_file_format=True)


@contextlib.contextmanager
def without_highdicom_messages() -> Iterator[None]:
    """Suppress highdicom's warnings and log lines, which can quote an unusual patient's name."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
