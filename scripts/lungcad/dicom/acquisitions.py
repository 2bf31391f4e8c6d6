# SPDX-License-Identifier: Apache-2.0
"""Several acquisitions in one series: phases, second passes, bolus tracking, two scans that interleave.

Stacked by position alone, two scans would become one stack that mixes two states of the body. The tags that
distinguish acquisitions are therefore compared along the stack, where images of one acquisition must lie together.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import numpy as np

from lungcad.dicom.advice import choose_acquisition
from lungcad.dicom.enhanced import is_enhanced
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.printable import short_label
from lungcad.volume import Notice

SAME_PLACE_MM = 0.01
"""Distance along the normal below which two images share a place."""
TIME_GAP_S = 1.0
"""Longest time between successive images of one helical scan."""
FEW_REVERSALS = 3
"""Smallest number of returns to an earlier time that proves two scans; fewer can be one repeated image: a warning."""
FEW_UNKNOWN = 1 / 3
"""Largest share of images without a tag that says nothing, because a system that altered headers may have lost it."""
SERIES_TAGS = ("SeriesNumber", "SeriesDescription", "ProtocolName", "SeriesTime", "StationName", "DeviceSerialNumber")
"""Tags of the series and the scanner: where they alternate, two series were merged under one uid."""
BLOCK = 8
"""Smallest number of images with the same AcquisitionNumber that may be a separate scan."""


HEADER_TAGS = frozenset({"FrameOfReferenceUID", *SERIES_TAGS})
"""Tags that are one per object, never one per frame."""


def _value(piece: Slice, keyword: str) -> str:
    """Value of a tag that distinguishes acquisitions, as a label without names; empty where absent."""
    text = piece.labels.get(keyword, "") or (piece.header.text(keyword) if keyword in HEADER_TAGS else "")
    header = piece.header
    return short_label(text, [header.text("PatientName")], header.identifiers) if text else ""


def _label(keyword: str) -> Callable[[Sequence[Slice]], list[str]]:
    """Function that returns the label ``keyword`` of each slice, empty where absent.

    Spellings of one value, such as ``120`` and ``120.0``, have the same label.
    """

    def labels(slices: Sequence[Slice]) -> list[str]:
        """Labels of slices."""
        values = [_value(piece, keyword) for piece in slices]
        spellings: dict[str, str] = {}
        for value in sorted(set(values)):
            spellings.setdefault(_normalised(value), value)
        return [spellings[_normalised(value)] for value in values]

    return labels


def _normalised(value: str) -> str:
    """Value without case, and as the shortest number where it is one."""
    is_number = re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value)
    return f"{float(value):.15g}" if is_number else value.casefold()


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
    "AcquisitionNumber": _label("AcquisitionNumber"),
    "AcquisitionUID": _label("AcquisitionUID"),
    "IrradiationEventUID": _label("IrradiationEventUID"),
    "TemporalPositionIdentifier": _label("TemporalPositionIdentifier"),
    "NominalPercentageOfCardiacPhase": _label("NominalPercentageOfCardiacPhase"),
    "AcquisitionTime": _scan_starts,
    "ConvolutionKernel": _label("ConvolutionKernel"),
    "KVP": _label("KVP"),
    "ContrastBolusAgent": _label("ContrastBolusAgent"),
    "FrameOfReferenceUID": _label("FrameOfReferenceUID"),
    **{keyword: _label(keyword) for keyword in SERIES_TAGS},
}
"""Functions that return one value per slice, by the tag that distinguishes acquisitions, in order of use."""


def find_acquisitions(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    """Group the images of a series by acquisition; empty where no tag distinguishes several.

    Labels are the values of the tags that differ, joined by ``/`` where one tag is not enough.
    """
    groups: dict[str, list[Slice]] = {"": list(slices)}
    for keyword, values_of in KEYS.items():
        parts: dict[str, list[Slice]] = {}
        for label, group in groups.items():
            values = values_of(group)
            kinds = len(set(values))
            splits = keyword == "AcquisitionNumber" or _is_crowded(group)
            splits = splits or _count_returns(_values_by_place(_sorted_by_place(group), keyword)) > 0
            if 1 < kinds <= max(2, len(group) // 2) and splits:
                for value, piece in sorted(zip(values, group, strict=True), key=lambda pair: _natural(pair[0])):
                    parts.setdefault("/".join(filter(None, [label, value or "none"])), []).append(piece)
            else:
                parts[label] = group
        groups = parts
    return groups if len(groups) > 1 else {}


def _natural(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, before texts."""
    return (False, float(value), value) if value.isdecimal() else (True, 0.0, value)


def _sorted_by_place(slices: Sequence[Slice]) -> list[Slice]:
    """Slices in ascending order along the normal."""
    return [slices[int(index)] for index in np.argsort(_heights_mm(slices), kind="stable")]


def _is_crowded(slices: Sequence[Slice]) -> bool:
    """Whether several images share a place, or the distances between places are uneven."""
    along = np.sort(_heights_mm(slices))
    gaps = np.diff(along)
    return len(gaps) > 1 and bool(gaps.min() < SAME_PLACE_MM or np.ptp(gaps) > 0.2)


def _heights_mm(slices: Sequence[Slice]) -> np.ndarray:
    """Position (n,) of each slice along the normal of the first slice, in mm."""
    orientation = np.array(slices[0].orientation)
    return np.array([piece.position_mm for piece in slices]) @ np.cross(orientation[:3], orientation[3:])


def take_acquisition(slices: list[Slice], acquisition: str) -> list[Slice]:
    """Images of one acquisition.

    Raises:
        DicomSeriesError: E-ACQUISITION, no acquisition has that label.
    """
    found = find_acquisitions(slices)
    numbered = [piece for piece in slices if (_value(piece, "AcquisitionNumber") or "none") == acquisition]
    if acquisition in found or numbered:
        return found.get(acquisition) or numbered
    labels = sorted(found or {_value(piece, "AcquisitionNumber") or "none" for piece in slices})
    text = f"No acquisition {acquisition} in the series; there are: {', '.join(labels[:12])}."
    raise DicomSeriesError("E-ACQUISITION", text, "Give one of these, or none.")


def check_acquisitions(slices: Sequence[Slice]) -> list[Notice]:
    """Refuse two acquisitions that interleave along the stack.

    Returns:
        W-ACQUISITION where acquisitions follow each other along the stack, single images have another time, or the
        numbers of every second image run on by themselves.

    Raises:
        DicomSeriesError: E-ACQUISITION.
    """
    along = _sorted_by_place(slices)
    for keyword in KEYS:
        if keyword in ("ContrastBolusAgent", "FrameOfReferenceUID"):
            continue
        values = _values_by_place(along, keyword)
        if keyword in SERIES_TAGS and len(set(values)) > len(values) // 2:
            continue  # written image by image, against the standard: it tells no series apart
        returns = _count_returns(values)
        if returns >= (FEW_REVERSALS if keyword == "AcquisitionTime" else 1):
            text = f"Several acquisitions interleave along the stack: {keyword} alternates"
            kinds = ", ".join(value or "none" for value in list(Counter(values))[:4])
            labels = list(find_acquisitions(slices))
            raise DicomSeriesError(
                "E-ACQUISITION", f"{text} ({kinds}).", choose_acquisition(labels) if labels else AGAIN
            )
        if returns:
            return [Notice("W-ACQUISITION", "one or two images inside the stack were taken at another time.")]
    return _successive_scans(along) or _numbers_interleave(along)


def _values_by_place(along: Sequence[Slice], keyword: str) -> list[str]:
    """Value of a tag at each place along the stack; places whose images disagree are left out."""
    values = KEYS[keyword](along)
    kept = []
    heights = _heights_mm(along)
    starts = [0, *(int(index) + 1 for index in np.flatnonzero(np.diff(heights) >= SAME_PLACE_MM)), len(values)]
    for begin, end in pairwise(starts):
        if len(set(values[begin:end])) == 1:
            kept.append(values[begin])
    return kept


def _count_returns(values: Sequence[str]) -> int:
    """Number of times that a value comes back after another one.

    Where nearly all values differ, it is the number of times that their order reverses, since two scans of single
    rotations interleave like 1, 25, 2, 26; few reversals count as 0. So do missing values that are few.
    """
    known = [value for value in values if value]
    if known and len(values) - len(known) <= FEW_UNKNOWN * len(values):
        values = known
    kinds, runs = len(set(values)), sum(1 for _ in groupby(values))
    if kinds <= max(2, len(values) // 2):
        return runs - kinds
    try:
        numbers = np.array([float(value.replace(":", "")) for value in values])
    except ValueError:
        return 0
    signs = np.sign(np.diff(numbers))
    turns = int(np.count_nonzero(np.diff(signs[signs != 0])))
    return turns if turns > max(FEW_REVERSALS, len(values) // 4) else 0


def _successive_scans(along: Sequence[Slice]) -> list[Notice]:
    """Notice W-ACQUISITION where several scans follow each other along the stack."""
    sizes = Counter(_value(piece, "AcquisitionNumber") for piece in along)
    if len(sizes) < 2 or min(sizes.values()) < BLOCK:
        return []
    parts = ", ".join(f"{value or 'none'}: {count} images" for value, count in list(sizes.items())[:6])
    return [Notice("W-ACQUISITION", f"the stack joins {len(sizes)} acquisitions ({parts}); they may not match.")]


def _numbers_interleave(along: Sequence[Slice]) -> list[Notice]:
    """Notice W-ACQUISITION where InstanceNumber runs on by itself along every second or third place of the stack.

    Frames of a multi-frame object may stand in any order.
    """
    numbers = [piece.number for piece in along]
    known = np.array([number for number in numbers if number is not None])
    distinct = len(set(numbers)) == len(known) == len(numbers)
    if not distinct or any(is_enhanced(piece.header) for piece in along) or _is_monotone(known):
        return []
    for count in (2, 3):
        parts = [known[start::count] for start in range(count)]
        if len(known) >= 4 * count and all(map(_is_monotone, parts)):
            text = f"InstanceNumber runs on by itself along every {'second' if count == 2 else 'third'} image"
            return [Notice("W-ACQUISITION", f"{text}: {count} scans may interleave.")]
    return []


def _is_monotone(numbers: np.ndarray) -> bool:
    """Whether numbers (n,) always rise or always fall."""
    steps = np.diff(numbers)
    return bool((steps > 0).all() or (steps < 0).all())
