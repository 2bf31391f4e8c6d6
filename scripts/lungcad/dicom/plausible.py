# SPDX-License-Identifier: Apache-2.0
"""Plausibility of a volume as calibrated CT: finds damage that no decoder reported, and values not calibrated in HU."""

from collections import Counter

import numpy as np

from lungcad.dicom.errors import implausible
from lungcad.dicom.frames import Slice
from lungcad.dicom.neighbours import compare_neighbours
from lungcad.dicom.pixels import SliceStatistics
from lungcad.volume import (
    MAX_HU,
    MAX_METAL_FRACTION,
    METAL_HU,
    PADDING_HU,
    Notice,
    warn_below_air,
    warn_of_scale,
    why_no_hu,
)

FEW_SHARE = 0.1
"""Largest share of slices with a differing rescale that gives a warning."""
HU_TYPES = frozenset({"", "US", "HU", "HOUNSFIELD", "HOUNSFIELD UNITS"})
"""Values of RescaleType that raise no doubt; US (unspecified) is what GDCM writes where there was none."""
RESCALE_TYPES = ("OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT")
"""Defined terms of RescaleType (PS3.3 C.11.1.1.2); messages show no other text, since it could hold anything."""


def check_hu(hu: np.ndarray, statistics: list[SliceStatistics], groups: list[list[Slice]]) -> list[Notice]:
    """Check that the values (Z, Y, X) of a volume can be HU of a chest CT.

    Returns:
        N-PADDING, W-PADDING, W-HU, W-SLICE, W-RESCALE, N-DROPPED, N-TRAILING, W-TRAILING.

    Raises:
        DicomSeriesError: E-HU-RANGE.
    """
    for index, (slice_, group) in enumerate(zip(statistics, groups, strict=True)):
        if slice_.maximum_hu > MAX_HU:
            raise implausible(f"{slice_.maximum_hu:.0f} HU at {group[0].height} (expected at most {MAX_HU:.0f})")
        if slice_.maximum_hu > METAL_HU:
            fraction = float(np.mean(hu[index] > METAL_HU))
            if fraction > MAX_METAL_FRACTION:
                raise implausible(f"{fraction:.0%} of the slice at {group[0].height} is denser than metal implants")
    _check_blank(statistics, groups)
    notices = compare_neighbours(hu, [group[0] for group in groups]) + _rescale_notices(groups)
    notices += _identical_slices(statistics, groups)
    notices += _copy_notices(statistics) + _padding_notices(hu, statistics)
    notices += _check_calibration(hu, max(slice_.maximum_hu for slice_ in statistics), groups)
    if wrapped := sum(slice_.wrapped for slice_ in statistics):
        text = f"{wrapped} pixels lie below air as PixelRepresentation says signed: dense tissue may have become air."
        notices.append(Notice("W-HU", text))
    return notices + warn_below_air(sum(slice_.below_air for slice_ in statistics), hu.size)


def _check_blank(statistics: list[SliceStatistics], groups: list[list[Slice]]) -> None:
    """Refuse a volume with nothing but blank slices, or with one between others, as cut copies leave (E-HU-RANGE)."""
    full = [index for index, slice_ in enumerate(statistics) if slice_.maximum_hu > slice_.minimum_hu]
    if not full:
        raise implausible("every slice is blank")
    for index in range(full[0], full[-1]):
        if statistics[index].maximum_hu == statistics[index].minimum_hu:
            raise implausible(f"the slice at {groups[index][0].height} is blank")


def _identical_slices(statistics: list[SliceStatistics], groups: list[list[Slice]]) -> list[Notice]:
    """Notice W-SLICE where two places hold the same values: noise never repeats, so one slice was stored as another."""
    places: dict[int, list[float]] = {}
    for slice_, group in zip(statistics, groups, strict=True):
        if slice_.maximum_hu > slice_.minimum_hu:
            places.setdefault(slice_.checksum, []).append(group[0].position_mm[2])
    twins = [same for same in places.values() if len(same) > 1]
    if not twins:
        return []
    shown = "; ".join(", ".join(f"z={z:.1f} mm" for z in same[:4]) for same in twins[:3])
    further = f" and {len(twins) - 3} more" if len(twins) > 3 else ""
    return [Notice("W-SLICE", f"slices at different places hold the same image: {shown}{further}.")]


def _rescale_notices(groups: list[list[Slice]]) -> list[Notice]:
    """Notice W-RESCALE where few slices have another slope or intercept than all others, as an altered header would."""
    pairs = Counter((group[0].slope, group[0].intercept) for group in groups)
    (_, usual), *others = pairs.most_common()
    few = sum(count for _, count in others)
    if not few or few > FEW_SHARE * len(groups) or usual < len(groups) - few:
        return []
    odd = [group[0] for group in groups if pairs[group[0].slope, group[0].intercept] < usual]
    places = ", ".join(piece.height for piece in odd[:6]) + (", ..." if len(odd) > 6 else "")
    return [Notice("W-RESCALE", f"{few} slice(s) have another rescale slope or intercept than all others: {places}.")]


def _copy_notices(statistics: list[SliceStatistics]) -> list[Notice]:
    """Notices N-DROPPED on copies of images, N-TRAILING and W-TRAILING on bytes behind the pixels of a file."""
    notices = []
    if copies := sum(slice_.copies for slice_ in statistics):
        notices.append(Notice("N-DROPPED", f"{copies} identical copies of slices left out."))
    if broken := sum(slice_.broken_copies for slice_ in statistics):
        text = f"{broken} interrupted copies of slices left out; the whole ones were read."
        notices.append(Notice("N-DROPPED", text))
    if filled := sum(slice_.tail == "fill" for slice_ in statistics):
        notices.append(Notice("N-TRAILING", f"the pixel elements of {filled} slice(s) end with filling bytes."))
    if junk := sum(slice_.tail == "junk" for slice_ in statistics):
        text = f"{junk} slice(s) are followed by bytes that are no DICOM element: the files may have been altered."
        notices.append(Notice("W-TRAILING", text))
    return notices


def _padding_notices(hu: np.ndarray, statistics: list[SliceStatistics]) -> list[Notice]:
    """Notices N-PADDING and W-PADDING on pixels that were set to -1024 HU."""
    padded = sum(slice_.padded_pixels for slice_ in statistics)
    tissue = sum(slice_.padded_tissue for slice_ in statistics)
    lowest = min(slice_.minimum_hu for slice_ in statistics)
    if not padded and lowest > PADDING_HU:
        return []
    text = f"{padded / hu.size:.1%} of the pixels are declared padding" if padded else f"values down to {lowest:.0f} HU"
    notices = [Notice("N-PADDING", f"{text}; set to -1024 HU.")]
    if tissue:
        text = f"the declared padding covers values of tissue: {tissue / hu.size:.2%} of the pixels became -1024 HU."
        notices.append(Notice("W-PADDING", text))
    return notices


def _check_calibration(hu: np.ndarray, highest: float, groups: list[list[Slice]]) -> list[Notice]:
    """Refuse values that are not calibrated (E-HU-RANGE); returns W-HU for another scale or RescaleType."""
    thinned = hu[:, ::4, ::4]  # enough to judge the histogram
    if reason := why_no_hu(thinned, highest):
        raise implausible(reason)
    types = {group[0].rescale_type for group in groups} - HU_TYPES
    shown = sorted({kind if kind in RESCALE_TYPES else "another text" for kind in types})
    foreign = [Notice("W-HU", f"RescaleType is {', '.join(shown)} (expected HU).")] if types else []
    return warn_of_scale(thinned, _size_mm(groups)) + foreign


def _size_mm(groups: list[list[Slice]]) -> tuple[float, float, float]:
    """Width, depth and length of a stack in mm."""
    first, last = groups[0][0], groups[-1][0]
    (between_rows, between_columns), layout = first.pixel_spacing_mm, first.format
    length = float(np.linalg.norm(np.subtract(last.position_mm, first.position_mm)))
    return layout.columns * between_columns, layout.rows * between_rows, length * len(groups) / (len(groups) - 1)
