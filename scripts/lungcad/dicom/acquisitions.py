# SPDX-License-Identifier: Apache-2.0
"""Several acquisitions in one series: phases, second passes, bolus tracking, two scans that interleave.

Stacked by position alone, two scans would become one stack that mixes two states of the body. The tags that
distinguish acquisitions are therefore compared along the stack, where images of one acquisition must lie together.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np

from lungcad.dicom.advice import choose_acquisition
from lungcad.dicom.enhanced import is_enhanced
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.dicom.labels import DESCRIBING_TAGS, KEYS, SERIES_TAGS, label_of
from lungcad.volume import Notice

SAME_PLACE_MM = 0.01
"""Distance along the normal below which two images share a place."""
UNEVEN_MM = 0.2
"""Largest spread of the distances between places of one stack: positions are rounded to 0.1 mm."""
FEW_REVERSALS = 3
"""Smallest number of returns to an earlier time that proves two scans; fewer can be one repeated image: a warning."""
FEW_UNKNOWN = 1 / 3
"""Largest share of images without a tag that says nothing, because a system that altered headers may have lost it."""
MIN_BLOCK = 8
"""Smallest number of images with the same AcquisitionNumber that may be a separate scan."""
MIN_PLACES = 8
"""Smallest number of places of an acquisition that is offered as a choice."""
USUAL_SHARE = 0.6
"""Smallest share of the images with the usual value of a tag, where that of the others was edited."""
NEVER_EDITED = frozenset({
    "ConvolutionKernel", "KVP", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
})  # fmt: skip
"""Tags that say how an image was made, which no edit of a header changes: images that differ are not stacked."""


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
            if keyword not in DESCRIBING_TAGS:
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
    return len(gaps) > 1 and bool(gaps.min() < SAME_PLACE_MM or np.ptp(gaps) > UNEVEN_MM)


def _is_stack(slices: Sequence[Slice], min_places: int) -> bool:
    """Whether images form an even stack of ``min_places`` places or more; several may share a place."""
    gaps = np.diff(np.sort(_heights_mm(slices)))
    gaps = gaps[gaps >= SAME_PLACE_MM]
    return len(gaps) + 1 >= min_places and bool(not len(gaps) or np.ptp(gaps) <= UNEVEN_MM)


def readable_acquisitions(slices: Sequence[Slice], min_places: int = MIN_PLACES) -> list[str]:
    """Labels of the acquisitions that can be read, the largest first: even stacks of ``min_places`` places or more."""
    found = {label: group for label, group in find_acquisitions(slices).items() if _is_stack(group, min_places)}
    return sorted(found, key=lambda label: -len(found[label]))


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
    numbered = [piece for piece in slices if (label_of(piece, "AcquisitionNumber") or "none") == acquisition]
    if acquisition in found or numbered:
        return found.get(acquisition) or numbered
    labels = sorted(found or {label_of(piece, "AcquisitionNumber") or "none" for piece in slices})
    text = f"No acquisition {acquisition} in the series; there are: {', '.join(labels[:12])}."
    raise DicomSeriesError("E-ACQUISITION", text, "Give one of these, or none.")


def check_acquisitions(slices: Sequence[Slice], min_places: int = MIN_PLACES) -> list[Notice]:
    """Refuse two acquisitions that interleave along the stack.

    Args:
        slices: images of a series.
        min_places: smallest number of places that form a stack.

    Returns:
        W-ACQUISITION where acquisitions follow each other along the stack, single images have another time, the times
        are in no order, a tag of some images was edited, or the numbers of every second image run on by themselves.

    Raises:
        DicomSeriesError: E-ACQUISITION.
    """
    along = _sorted_by_place(slices)
    notices: list[Notice] = []
    edited: dict[str, list[Slice]] = {}
    for keyword in KEYS:
        if keyword in ("ContrastBolusAgent", "FrameOfReferenceUID", *DESCRIBING_TAGS):
            continue
        values = _values_by_place(along, keyword)
        if keyword in SERIES_TAGS and len(set(values)) > len(values) // 2:
            continue  # written image by image, against the standard: it tells no series apart
        returns = _count_returns(values)
        if keyword in ("AcquisitionTime", "AcquisitionNumber") and not returns and _count_turns(values):
            text = f"{keyword} rises and falls along the stack, as in the order of reconstruction."
            notices.append(Notice("W-ACQUISITION", text))
        elif keyword == "AcquisitionTime" and 0 < returns < FEW_REVERSALS:
            text = "one or two images inside the stack were taken at another time."
            notices.append(Notice("W-ACQUISITION", text))
        elif returns:
            found = _edited_images(along, keyword, min_places)
            if not found:
                raise _interleaved(along, keyword, values, min_places)
            edited[keyword] = found
    if edited:
        notices.append(_edited_notice(along, edited))
    return notices or _successive_scans(along) or _numbers_interleave(along)


def _interleaved(along: Sequence[Slice], keyword: str, values: Sequence[str], min_places: int) -> DicomSeriesError:
    """Refusal E-ACQUISITION of a stack in which a tag alternates; offers only what can be read."""
    kinds = Counter(value or "none" for value in values)
    text = f"Several acquisitions interleave along the stack: {keyword} alternates ({', '.join(list(kinds)[:4])})"
    if labels := readable_acquisitions(along, min_places):
        return DicomSeriesError("E-ACQUISITION", f"{text}.", choose_acquisition(labels))
    usual = kinds.most_common(1)[0][0]
    found = zip(KEYS[keyword](along), along, strict=True)
    odd = next((piece for value, piece in found if (value or "none") != usual), along[0])
    return DicomSeriesError("E-ACQUISITION", f"{text}, first at {odd.where}; none is a whole stack.", AGAIN)


def _edited_images(along: Sequence[Slice], keyword: str, min_places: int) -> list[Slice]:
    """Images with another value of a tag, where it must have been edited: no value has a stack of its own.

    Empty where they may be images of another scan.
    """
    values = KEYS[keyword](along)
    if keyword in NEVER_EDITED and len({value.split("\\")[0] for value in values if value}) > 1:
        return []  # the first value of ConvolutionKernel is the kernel, the second a strength
    groups: dict[str, list[Slice]] = {}
    for value, piece in zip(values, along, strict=True):
        groups.setdefault(value, []).append(piece)
    usual = max(groups, key=lambda value: len(groups[value]))
    is_another_scan = len(groups[usual]) < USUAL_SHARE * len(along) or any(
        _is_stack(group, min_places) for group in groups.values()
    )
    if is_another_scan or _is_crowded(along):
        return []
    return [piece for value, piece in zip(values, along, strict=True) if value != usual]


def _edited_notice(along: Sequence[Slice], edited: dict[str, list[Slice]]) -> Notice:
    """Notice W-ACQUISITION that names the images of which a tag was edited, six at most."""
    kept = {id(piece) for pieces in edited.values() for piece in pieces}
    odd = [piece for piece in along if id(piece) in kept]
    shown = ", ".join(piece.where for piece in odd[:6]) + (f" and {len(odd) - 6} more" if len(odd) > 6 else "")
    text = f"{len(odd)} of {len(along)} images have another {', '.join(edited)} than the rest: {shown}"
    return Notice("W-ACQUISITION", f"{text}; edited and sent again? Check that they are of the same scan.")


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

    Where nearly all values differ, it is the number of changes between two ranges of values, since two scans of single
    rotations interleave like 1, 25, 2, 26; few changes count as 0. So do missing values that are few.
    """
    known = [value for value in values if value]
    if known and len(values) - len(known) <= FEW_UNKNOWN * len(values):
        values = known
    kinds, runs = len(set(values)), sum(1 for _ in groupby(values))
    if kinds <= max(2, len(values) // 2):
        return runs - kinds
    return _count_alternations(values) if _count_turns(values) else 0


def _numbers(values: Sequence[str]) -> np.ndarray:
    """Numbers or times (n,) of values; empty where one is none."""
    try:
        return np.array([float(value.replace(":", "").replace("-", "")) for value in values])
    except ValueError:
        return np.array([])


def _count_turns(values: Sequence[str]) -> int:
    """Number of times that the order of numbers or times reverses; few reversals count as 0."""
    signs = np.sign(np.diff(_numbers(values)))
    turns = int(np.count_nonzero(np.diff(signs[signs != 0])))
    return turns if turns > max(FEW_REVERSALS, len(values) // 4) else 0


def _count_alternations(values: Sequence[str]) -> int:
    """Largest number of changes along the stack between numbers below and above any limit; few changes count as 0.

    The limit between two scans separates them; the times of a reconstruction that swaps neighbours have none.
    """
    numbers = _numbers(values)
    found = max(int(np.count_nonzero(np.diff(numbers >= limit))) for limit in np.unique(numbers))
    return found if found > len(values) / 2 else 0


def _successive_scans(along: Sequence[Slice]) -> list[Notice]:
    """Notice W-ACQUISITION where several scans follow each other along the stack."""
    sizes = Counter(_values_by_place(along, "AcquisitionNumber"))
    if len(sizes) < 2 or min(sizes.values()) < MIN_BLOCK:
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
    shared = np.diff(_heights_mm(along)) < SAME_PLACE_MM
    if not distinct or shared.any() or any(is_enhanced(piece.header) for piece in along) or _is_monotone(known):
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
