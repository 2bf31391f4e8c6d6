# SPDX-License-Identifier: Apache-2.0
"""Labels of the images of a series: values of the tags that distinguish acquisitions."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from lungcad.dicom.frames import Slice
from lungcad.printable import short_label

TIME_GAP_S = 1.0
"""Longest time between successive images of one helical scan."""
SERIES_TAGS = ("SeriesNumber", "SeriesDescription", "ProtocolName", "SeriesTime", "StationName", "DeviceSerialNumber")
"""Tags of the series and the scanner: where they alternate, two series were merged under one uid."""
DESCRIBING_TAGS = ("ImageType", "SliceThickness", "ImageComments")
"""Tags that describe an image: they tell reconstructions in the same places apart, but in one stack they may vary."""
HEADER_TAGS = frozenset({"FrameOfReferenceUID", "ImageComments", *SERIES_TAGS})
"""Tags that are one per object, never one per frame."""
KVP_STEP = 5
"""Multiple to which KVP is rounded: some scanners write what they measured, such as 119.43."""


def label_of(piece: Slice, keyword: str) -> str:
    """Value of a tag that distinguishes acquisitions, as a label without names; empty where absent."""
    text = piece.labels.get(keyword, "") or (piece.header.text(keyword) if keyword in HEADER_TAGS else "")
    header = piece.header
    return short_label(text, [header.text("PatientName")], header.identifiers) if text else ""


def _label_reader(keyword: str) -> Callable[[Sequence[Slice]], list[str]]:
    """Function that returns the label ``keyword`` of each slice, empty where absent.

    Spellings of one value, such as ``120`` and ``120.0``, have the same label.
    """

    def labels(slices: Sequence[Slice]) -> list[str]:
        """Labels of slices."""
        values = [label_of(piece, keyword) for piece in slices]
        spellings: dict[str, str] = {}
        for value in sorted(set(values)):
            spellings.setdefault(_normalised(value), value)
        return [spellings[_normalised(value)] for value in values]

    return labels


def _normalised(value: str) -> str:
    """Value without case, and as the shortest number where it is one."""
    is_number = re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value)
    return f"{float(value):.15g}" if is_number else value.casefold()


def _tube_voltages(slices: Sequence[Slice]) -> list[str]:
    """KVP of each slice, to the nearest multiple of KVP_STEP; empty where absent."""
    values = _label_reader("KVP")(slices)
    measured = [re.fullmatch(r"\d{1,4}(\.\d{1,6})?", value) for value in values]
    return [f"{KVP_STEP * round(float(v) / KVP_STEP)}" if m else v for v, m in zip(values, measured, strict=True)]


def _scan_starts(slices: Sequence[Slice]) -> list[str]:
    """Start time of each image's scan, as text; scans are over TIME_GAP_S apart. Empty where a time is unknown."""
    seconds = [seconds_of(piece.labels.get("AcquisitionDateTime", "")) for piece in slices]
    if any(value is None for value in seconds):
        return [""] * len(slices)
    known = sorted({value for value in seconds if value is not None})
    begins: dict[float, float] = {}
    for previous, value in zip([-np.inf, *known], known, strict=False):
        begins[value] = value if value - previous > TIME_GAP_S else begins[previous]
    dated = len({int(begin // 86400) for begin in begins.values()}) > 1
    return [_clock(begins[value], dated) if value is not None else "" for value in seconds]


def _image_types(slices: Sequence[Slice]) -> list[str]:
    """Values of ImageType, or FrameType, of each image that not all have, as a label without names."""
    common = set[str].intersection(*(set(piece.image_type) for piece in slices))
    distinct = ["_".join(value for value in piece.image_type if value not in common) for piece in slices]
    return [short_label(text, [piece.header.text("PatientName")], piece.header.identifiers) if text else ""
            for text, piece in zip(distinct, slices, strict=True)]  # fmt: skip


def seconds_of(text: str) -> float | None:
    """Seconds from a DICOM date and time (YYYYMMDDHHMMSS.F, months of 31 days) or a time alone; None for others."""
    date_and_time, _, fraction = text.partition(".")
    digits = date_and_time.replace(":", "").split("+")[0].split("-")[0]
    if not digits.isdigit() or len(digits) not in (2, 4, 6, 8, 10, 12, 14):
        return None
    date, clock = (digits[:8], digits[8:]) if len(digits) >= 8 else ("", digits)
    parts = [int(clock[k : k + 2] or 0) for k in (0, 2, 4)]
    days = int(date[:4]) * 372 + (int(date[4:6]) - 1) * 31 + int(date[6:8]) - 1 if date else 0
    leading = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return days * 86400.0 + parts[0] * 3600 + parts[1] * 60 + parts[2] + float(f"0.{leading or 0}")


def _clock(seconds: float, dated: bool) -> str:
    """Time as HH:MM:SS.F, after the date YYYYMMDD where ``dated``."""
    day, second = divmod(seconds, 86400)
    date = f"{int(day // 372):04d}{int(day % 372 // 31) + 1:02d}{int(day % 31) + 1:02d}-" if dated else ""
    return date + f"{int(second // 3600):02d}:{int(second // 60 % 60):02d}:{second % 60:04.1f}"


KEYS: dict[str, Callable[[Sequence[Slice]], list[str]]] = {
    "AcquisitionNumber": _label_reader("AcquisitionNumber"),
    "AcquisitionUID": _label_reader("AcquisitionUID"),
    "IrradiationEventUID": _label_reader("IrradiationEventUID"),
    "TemporalPositionIdentifier": _label_reader("TemporalPositionIdentifier"),
    "NominalPercentageOfCardiacPhase": _label_reader("NominalPercentageOfCardiacPhase"),
    "NominalPercentageOfRespiratoryPhase": _label_reader("NominalPercentageOfRespiratoryPhase"),
    "AcquisitionTime": _scan_starts,
    "ConvolutionKernel": _label_reader("ConvolutionKernel"),
    "KVP": _tube_voltages,
    "StackID": _label_reader("StackID"),
    "ContrastBolusAgent": _label_reader("ContrastBolusAgent"),
    "FrameOfReferenceUID": _label_reader("FrameOfReferenceUID"),
    **{keyword: _label_reader(keyword) for keyword in SERIES_TAGS},
    "ImageType": _image_types,
    "SliceThickness": lambda slices: [f"{piece.thickness_mm:g}mm" if piece.thickness_mm else "" for piece in slices],
    "ImageComments": _label_reader("ImageComments"),
}
"""Functions that return one value per slice, by the tag that distinguishes acquisitions, in order of use."""
