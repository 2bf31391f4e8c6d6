# SPDX-License-Identifier: Apache-2.0
"""The door to the DICOM results: from nodules.json, and the series that it is about, to files."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from lungcad.errors import InputError
from lungcad.finding import Masks
from lungcad.volume import Volume

REPORT_FILE, SEGMENTATION_FILE = "nodules.sr.dcm", "nodules.seg.dcm"


@dataclass
class DicomWriter:
    """Adds the DICOM objects to the other result files; ``also`` of :func:`lungcad.results.documents.write_results`.

    Attributes:
        volume, path, masks, leniency: see :func:`write_dicom_results`.
        wanted: ``False`` writes nothing.
        notes: why an object is missing, once it was called.
    """

    volume: Volume
    path: str | os.PathLike[str]
    masks: Masks
    leniency: Mapping[str, Any] = field(default_factory=dict)
    wanted: bool = True
    notes: list[str] = field(default_factory=list)

    def __call__(self, folder: Path, document: Mapping[str, Any]) -> None:
        """Write into the folder what the document tells; a failure takes no other result with it."""
        if not self.wanted:
            return
        try:
            self.notes += write_dicom_results(folder, document, self.volume, self.path, self.masks, self.leniency)
        except Exception as error:  # its text could name the patient
            for name in (REPORT_FILE, SEGMENTATION_FILE):
                (folder / name).unlink(missing_ok=True)
            self.notes.append(f"no report and no segmentation: internal error {type(error).__name__}")

    def tell(self) -> None:
        """Print the notes where progress is shown."""
        for note in self.notes:
            print(f"{'dicom':<14}{note}", file=sys.stderr)


def write_dicom_results(
    folder: str | os.PathLike[str], document: Mapping[str, Any], volume: Volume, path: str | os.PathLike[str],
    masks: Masks | None = None, leniency: Mapping[str, Any] | None = None,
) -> list[str]:  # fmt: skip
    """Write ``nodules.sr.dcm``, and ``nodules.seg.dcm`` where reported findings have masks, into a folder.

    Told are the findings at or above the operating point of the document, none as a statement. What is unknown is left
    out. Patient and study are those of the series; series and instances are new.

    Args:
        folder: that exists.
        document: nodules.json as built by :func:`lungcad.results.documents.nodules_document`.
        volume: the scan that it is about.
        path: where the scan was read from; its headers are read again.
        masks: by a finding's centre, such as :attr:`lungcad.scan.scan.Scan.masks`.
        leniency: with which the scan was read.

    Returns:
        notes for the user, each a line: why an object is missing. Nothing is written for a scan that is not DICOM.
    """
    from lungcad.reading.volume_file import is_volume_file

    if is_volume_file(path):
        return ["no report and no segmentation: the input is not DICOM"]

    from lungcad.results.dicom.equipment import Algorithm
    from lungcad.results.dicom.nodules import reported_nodules
    from lungcad.results.dicom.segmentation import make_segmentation, why_no_segmentation
    from lungcad.results.dicom.source import read_source
    from lungcad.results.dicom.structured_report import make_report

    try:
        source = read_source(path, volume.series_uid, **(leniency or {}))
    except InputError as error:
        return [f"no report and no segmentation: {error.message}"]
    if volume.sop_instance_uids and list(volume.sop_instance_uids) != [one.SOPInstanceUID for one, _ in source.slices]:
        return ["no report and no segmentation: the series is no longer the one that was analysed"]
    algorithm, segmentation = Algorithm.of(document), None
    nodules = reported_nodules(document, volume, source, masks or {})
    reason = why_no_segmentation(source, nodules)
    with disable_value_validation(), _discreet():
        if not reason:
            segmentation = make_segmentation(source, nodules, algorithm)
            _save(segmentation, Path(folder) / SEGMENTATION_FILE)
        _save(make_report(source, document, nodules, segmentation, algorithm), Path(folder) / REPORT_FILE)
    return [f"no segmentation: {reason}"] if reason and any(nodule.mask for nodule in nodules) else []


def _save(dataset: Dataset, path: Path) -> None:
    dataset.save_as(path, enforce_file_format=True)


@contextlib.contextmanager
def _discreet() -> Iterator[None]:
    """Keep highdicom from telling a patient's name that it finds odd, in a warning or a log line."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
