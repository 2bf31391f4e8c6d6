# SPDX-License-Identifier: Apache-2.0
"""Analysis of one complete study: the best series, the chain, and the DICOM objects for the archive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcad.atomic import replaced_folder
from lungcad.dicom import choose_best
from lungcad.dicom.quiet import quiet
from lungcad.errors import InputError
from lungcad.reading.volume_file import read_volume
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE, write_dicom_results
from lungcad.results.result import Result
from lungcad.volume import Volume

Analyse = Callable[[Volume], Result]
"""A chain: a volume to its findings."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a study's analysis.

    Attributes:
        series_uid: series that was chosen.
        summary: what was found, in words.
    """

    series_uid: str
    summary: str


def analyse(
    chain: Analyse, images: Path, target: Path, leniency: Mapping[str, Any] | None = None, comprehensive: bool = False
) -> Outcome:
    """Analyse the best series of a study, and write its report and segmentation into a new folder.

    Args:
        chain: function that finds the nodules of a volume.
        images: folder with the images of one study.
        target: folder for the objects; it appears complete or not at all.
        leniency: options of :func:`lungcad.dicom.read_series`.
        comprehensive: write a Comprehensive SR instead of a Comprehensive 3D SR.

    Raises:
        InputError: no series can be used, or whatever the chain refuses; E-NO-REPORT, no report can be written;
            E-OUTPUT.
    """
    options = dict(leniency or {})
    best = choose_best(images, **options)
    volume = read_volume(images, best.uid, **options)
    result = chain(volume)
    with replaced_folder(target, mark=REPORT_FILE) as folder:
        with quiet():
            notes = write_dicom_results(folder, result, comprehensive)
        if not (folder / REPORT_FILE).is_file():
            raise InputError("E-NO-REPORT", f"{'; '.join(notes)}.", "Look at the images' identifiers.")
    return Outcome(best.uid, result.summary)


def result_files(folder: Path) -> tuple[Path, ...]:
    """DICOM objects of a result: the segmentation before the report that refers to it."""
    return tuple(path for name in (SEGMENTATION_FILE, REPORT_FILE) if (path := folder / name).is_file())
