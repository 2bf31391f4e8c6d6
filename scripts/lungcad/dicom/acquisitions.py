# SPDX-License-Identifier: Apache-2.0
"""Several acquisitions in one series: phases, second passes, bolus tracking, two scans that interleave.

Stacked by position alone they would become one finer stack of two different bodies. The tags that tell acquisitions
apart are compared along the stack: what belongs to one acquisition lies together there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import numpy as np

from lungcad.dicom.advice import choose_acquisition
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.volume import Notice

SAME_PLACE_MM = 0.01
TIME_GAP_S = 1.0
"""Images of one helical scan follow each other faster than this."""
FEW_REVERSALS = 3
"""So many returns to an earlier time are two scans; fewer can be one repeated image, which is only told."""
BLOCK = 8
"""Images from which on a block with an AcquisitionNumber of its own may be a scan of its own."""


def _tag(keyword: str) -> Callable[[Sequence[Slice]], list[str]]:
    return lambda slices: [piece.labels.get(keyword, "") for piece in slices]


def _times(slices: Sequence[Slice]) -> list[str]:
    """Begin of the run of images that each belongs to; runs are more than TIME_GAP_S apart."""
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
    """Seconds of a DICOM date and time (YYYYMMDDHHMMSS.F), months of 31 days, or of a time alone; None for others."""
    whole, _, fraction = text.partition(".")
    digits = whole.replace(":", "").split("+")[0].split("-")[0]
    if not digits.isdigit() or len(digits) not in (2, 4, 6, 8, 10, 12, 14):
        return None
    date, clock = (digits[:8], digits[8:]) if len(digits) >= 8 else ("", digits)
    parts = [int(clock[k : k + 2] or 0) for k in (0, 2, 4)]
    days = int(date[:4]) * 372 + (int(date[4:6]) - 1) * 31 + int(date[6:8]) - 1 if date else 0
    leading = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return days * 86400.0 + parts[0] * 3600 + parts[1] * 60 + parts[2] + float(f"0.{leading or 0}")


def _clock(seconds: float, dated: bool) -> str:
    """HH:MM:SS.F, the date before it where that differs too."""
    day, rest = divmod(seconds, 86400)
    date = f"{int(day // 372):04d}{int(day % 372 // 31) + 1:02d}{int(day % 31) + 1:02d}-" if dated else ""
    return date + f"{int(rest // 3600):02d}:{int(rest // 60 % 60):02d}:{rest % 60:04.1f}"


KEYS: dict[str, Callable[[Sequence[Slice]], list[str]]] = {
    "AcquisitionNumber": _tag("AcquisitionNumber"),
    "AcquisitionUID": _tag("AcquisitionUID"),
    "IrradiationEventUID": _tag("IrradiationEventUID"),
    "TemporalPositionIdentifier": _tag("TemporalPositionIdentifier"),
    "NominalPercentageOfCardiacPhase": _tag("NominalPercentageOfCardiacPhase"),
    "AcquisitionTime": _times,
    "ConvolutionKernel": _tag("ConvolutionKernel"),
    "KVP": _tag("KVP"),
    "ContrastBolusAgent": _tag("ContrastBolusAgent"),
    "FrameOfReferenceUID": lambda slices: [piece.header.text("FrameOfReferenceUID") for piece in slices],
}
"""What tells acquisitions apart, in the order in which it is asked."""


def find_acquisitions(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    """Sort the images of a series by acquisition; empty where nothing tells several apart.

    Labels are the values of the tags that differ, joined by ``/`` where one tag is not enough.
    """
    groups: dict[str, list[Slice]] = {"": list(slices)}
    for keyword, values_of in KEYS.items():
        parts: dict[str, list[Slice]] = {}
        for label, group in groups.items():
            values = values_of(group)
            kinds = len(set(values))
            splits = keyword == "AcquisitionNumber" or _crowded(group) or _returns(_single(_sorted(group), keyword))
            if 1 < kinds <= max(2, len(group) // 2) and splits:
                for value, piece in sorted(zip(values, group, strict=True), key=lambda pair: _natural(pair[0])):
                    parts.setdefault("/".join(filter(None, [label, value or "none"])), []).append(piece)
            else:
                parts[label] = group
        groups = parts
    return groups if len(groups) > 1 else {}


def _natural(value: str) -> tuple[bool, float, str]:
    """Key that sorts numbers by value, before texts."""
    return (False, float(value), value) if value.isdecimal() else (True, 0.0, value)


def _sorted(slices: Sequence[Slice]) -> list[Slice]:
    """Slices in the order of their places."""
    return [slices[int(index)] for index in np.argsort(_along(slices), kind="stable")]


def _crowded(slices: Sequence[Slice]) -> bool:
    """Whether a group still holds several images in one place, or two grids of places."""
    along = np.sort(_along(slices))
    gaps = np.diff(along)
    return len(gaps) > 1 and bool(gaps.min() < SAME_PLACE_MM or np.ptp(gaps) > 0.2)


def _along(slices: Sequence[Slice]) -> np.ndarray:
    """Position of each slice along the normal of the first, in mm."""
    orientation = np.array(slices[0].orientation)
    return np.array([piece.position_mm for piece in slices]) @ np.cross(orientation[:3], orientation[3:])


def take_acquisition(slices: list[Slice], acquisition: str) -> list[Slice]:
    """The images of one acquisition.

    Raises:
        DicomSeriesError: E-ACQUISITION, there is none of that label.
    """
    found = find_acquisitions(slices)
    numbered = [piece for piece in slices if (piece.labels.get("AcquisitionNumber") or "none") == acquisition]
    if acquisition in found or numbered:
        return found.get(acquisition) or numbered
    labels = sorted(found or {piece.labels.get("AcquisitionNumber") or "none" for piece in slices})
    text = f"No acquisition {acquisition} in the series; there are: {', '.join(labels[:12])}."
    raise DicomSeriesError("E-ACQUISITION", text, "Give one of these, or none.")


def check_acquisitions(slices: Sequence[Slice]) -> list[Notice]:
    """Refuse two acquisitions that interleave along the stack.

    Returns:
        W-ACQUISITION where acquisitions lie after each other, or single images were taken at another time.

    Raises:
        DicomSeriesError: E-ACQUISITION.
    """
    along = _sorted(slices)
    for keyword in KEYS:
        if keyword in ("ContrastBolusAgent", "FrameOfReferenceUID"):
            continue
        values = _single(along, keyword)
        returns = _returns(values)
        if returns >= (FEW_REVERSALS if keyword == "AcquisitionTime" else 1):
            text = f"Several acquisitions interleave along the stack: {keyword} alternates"
            kinds = ", ".join(value or "none" for value in list(Counter(values))[:4])
            labels = list(find_acquisitions(slices))
            raise DicomSeriesError(
                "E-ACQUISITION", f"{text} ({kinds}).", choose_acquisition(labels) if labels else AGAIN
            )
        if returns:
            return [Notice("W-ACQUISITION", "one or two images inside the stack were taken at another time.")]
    return _blocks(along)


def _single(along: Sequence[Slice], keyword: str) -> list[str]:
    """Values in the order of places; places that hold several different ones are left out."""
    values = KEYS[keyword](along)
    kept = []
    heights = _along(along)
    starts = [0, *(int(index) + 1 for index in np.flatnonzero(np.diff(heights) >= SAME_PLACE_MM)), len(values)]
    for begin, end in pairwise(starts):
        if len(set(values[begin:end])) == 1:
            kept.append(values[begin])
    return kept


def _returns(values: Sequence[str]) -> int:
    """How often a value comes back after another one.

    Of values that are nearly all different: how often their order turns round, since two scans of single rotations
    interleave like 1, 25, 2, 26.
    """
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


def _blocks(along: Sequence[Slice]) -> list[Notice]:
    """W-ACQUISITION where several scans lie after each other."""
    sizes = Counter(piece.labels.get("AcquisitionNumber", "") for piece in along)
    if len(sizes) < 2 or min(sizes.values()) < BLOCK:
        return []
    parts = ", ".join(f"{value or 'none'}: {count} images" for value, count in list(sizes.items())[:6])
    return [Notice("W-ACQUISITION", f"the stack joins {len(sizes)} acquisitions ({parts}); they may not match.")]
