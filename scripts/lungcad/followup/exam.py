# SPDX-License-Identifier: Apache-2.0
"""Exam: one scan of a pair with its findings, and what its DICOM header says about patient, date and protocol."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.printable import printable
from lungcad.results.result import Result
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

DATES = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")
"""Attributes with the date of a scan, the most exact first."""


@dataclass(frozen=True)
class Header:
    """Header of a scan, as far as a comparison needs it; None or empty where it is not known.

    Attributes:
        patient_id, birth_date: patient, for the check that both scans are of one; never printed or written.
        date: date of the scan.
        kernel: convolution kernel.
        thickness_mm: slice thickness.
        maker: manufacturer and model of the scanner.
        contrast: whether a contrast agent is named.
    """

    patient_id: str = ""
    birth_date: str = ""
    date: datetime.date | None = None
    kernel: str = ""
    thickness_mm: float | None = None
    maker: str = ""
    contrast: bool | None = None


@dataclass
class Exam:
    """Exam: a scan and its findings.

    Attributes:
        scan: volume and lungs.
        result: findings of the chain, ranked, with thresholds.
        header: what the header says.
        tracking: tracking UIDs by the findings' numbers (1 for the first of ``result.findings``), where known.
    """

    scan: Scan
    result: Result
    header: Header = field(default_factory=Header)
    tracking: Mapping[int, str] = field(default_factory=dict)

    @property
    def volume(self) -> Volume:
        """Volume of the scan."""
        return self.scan.volume

    @property
    def findings(self) -> list[Finding]:
        """Findings in the order of their numbers."""
        return list(self.result.findings)


def read_header(volume: Volume) -> Header:
    """Header of a volume's DICOM series; an empty one where the volume is no DICOM series.

    Raises:
        DicomSeriesError: the series can no longer be read.
    """
    from lungcad.reading.volume_file import is_volume_file

    origin = volume.origin
    if origin is None or is_volume_file(origin.path):
        return Header()

    from pydicom.config import disable_value_validation

    from lungcad.dicom.discover import find_objects
    from lungcad.dicom.leniency import Leniency
    from lungcad.dicom.select import choose_series
    from lungcad.results.dicom.source import patient_and_study

    options = {name: value for name, value in origin.leniency.items() if name != "acquisition"}
    with disable_value_validation():
        series = choose_series(find_objects(origin.path), volume.series_uid, Leniency.from_options(options))
        tags = patient_and_study((series.images or series.all)[0])
        return Header(
            _text(tags, "PatientID"), _text(tags, "PatientBirthDate"), _date(tags), _text(tags, "ConvolutionKernel"),
            _millimetres(tags, "SliceThickness"),
            " ".join(filter(None, (_text(tags, "Manufacturer"), _text(tags, "ManufacturerModelName")))),
            bool(_text(tags, "ContrastBolusAgent")),
        )  # fmt: skip


def read_exam(scan: Scan, folder: Path, header: Header, tracking: Mapping[int, str] | None = None) -> Exam:
    """Exam of a scan with the findings of an earlier run.

    Args:
        scan: volume, which must be the one that was analysed.
        folder: folder of the results, with nodules.json and run.json.
        header: header of the scan.
        tracking: tracking UIDs by the findings' numbers.

    Raises:
        InputError: E-PAIR-RESULTS, nodules.json cannot be read or is of another series.
    """
    document = _document(folder / "nodules.json")
    if not is_of(document, scan.volume):
        raise InputError("E-PAIR-RESULTS", "nodules.json is of another series or of other voxels than the scan.",
                         "Give the results of this scan, or none.")  # fmt: skip
    try:
        findings = [Finding.from_dict(entry) for entry in document["findings"]]
        run = _document(folder / "run.json") if (folder / "run.json").is_file() else {}
        result = Result(
            scan.volume, findings, document["thresholds"], document["operating_point"],
            document["software"]["bundles"], str(run.get("device", "cpu")),
            weights_sha256=run.get("weights_sha256", {}),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(error) from error
    return Exam(scan, result, header, tracking or {})


def is_of(document: Mapping[str, Any], volume: Volume) -> bool:
    """Whether nodules.json is about a volume: the same series, matrix and place."""
    series = document.get("series")
    if not isinstance(series, Mapping):
        return False
    affine = np.array(series.get("affine_lps_mm") or np.zeros((4, 4)), dtype=float)
    same_place = affine.shape == (4, 4) and np.allclose(affine, volume.affine, atol=1e-3)
    return (
        series.get("series_uid") == volume.public_uid
        and list(series.get("size_vox", [])) == list(volume.hu.shape)
        and same_place
    )


def find_results(volume: Volume, *folders: Path) -> Path | None:
    """First of several folders that holds nodules.json of a volume; None if none does."""
    for folder in folders:
        if (folder / "nodules.json").is_file() and is_of(_document(folder / "nodules.json"), volume):
            return folder
    return None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(error) from error
    if not isinstance(document, dict):
        raise _unreadable(ValueError("no object"))
    return document


def _unreadable(error: Exception) -> InputError:
    text = f"the results of an earlier run cannot be read: {printable(error, 120)}."
    return InputError("E-PAIR-RESULTS", text, "Run lungcad on the scan again.")


def _text(tags: Any, name: str) -> str:
    value = tags.get(name)
    parts = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return printable(" ".join(str(part).strip() for part in parts if part is not None).strip(), 64)


def _millimetres(tags: Any, name: str) -> float | None:
    """Length in mm, above 0 and below 100; None for any other value."""
    try:
        value = float(_text(tags, name))
    except ValueError:
        return None
    return value if 0 < value < 100 else None


def _date(tags: Any) -> datetime.date | None:
    """Date of the scan; None where no tag holds one."""
    for name in DATES:
        try:
            return datetime.datetime.strptime(_text(tags, name), "%Y%m%d").date()
        except ValueError:
            continue
    return None
