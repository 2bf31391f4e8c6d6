# SPDX-License-Identifier: Apache-2.0
"""Does the volume look like calibrated CT? Damage that no decoder reported, and scanners without calibration."""

from collections import Counter

import numpy as np

from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.dicom.neighbours import compare_neighbours
from lungcad.dicom.pixels import PADDING_HU, SliceStatistics
from lungcad.volume import MAX_HU, Notice, air_hu, warn_without_air

METAL_HU = 4095.0
MAX_METAL_FRACTION = 0.2
UNCALIBRATED_ABOVE_HU = -300.0
DENSE_HU = 700.0
TISSUE_ABOVE_HU = -900.0
FEW_SHARE = 0.1
"""Share of the slices up to which a differing rescale is told."""
RESCALE_TYPES = ("OD", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT")
"""Defined terms (PS3.3 C.11.1.1.2); other texts are not told, since they could hold anything."""


def check_hu(hu: np.ndarray, statistics: list[SliceStatistics], groups: list[list[Slice]]) -> list[Notice]:
    """Judge HU (Z, Y, X).

    Returns:
        N-PADDING, W-PADDING, W-HU, W-SLICE, W-RESCALE, N-DROPPED, N-TRAILING, W-TRAILING.

    Raises:
        DicomSeriesError: E-HU-RANGE.
    """
    for index, (single, group) in enumerate(zip(statistics, groups, strict=True)):
        z = group[0].position_mm[2]
        if single.maximum_hu > MAX_HU:
            raise _implausible(f"{single.maximum_hu:.0f} HU at z={z:.1f} mm (expected at most {MAX_HU:.0f})")
        if single.maximum_hu > METAL_HU:
            fraction = float(np.mean(hu[index] > METAL_HU))
            if fraction > MAX_METAL_FRACTION:
                raise _implausible(f"{fraction:.0%} of the slice at z={z:.1f} mm is denser than metal implants")
    _check_blank(statistics, groups)
    notices = compare_neighbours(hu, [group[0] for group in groups]) + _rescale(groups)
    notices += _twins(statistics, groups)
    return notices + _copies(statistics) + _padding(hu, statistics) + _calibration(hu, groups)


def _check_blank(statistics: list[SliceStatistics], groups: list[list[Slice]]) -> None:
    """Refuse a slice of one value between others: the hole that an interrupted copy leaves."""
    if max(single.maximum_hu for single in statistics) < TISSUE_ABOVE_HU:
        raise _implausible(f"no value above {TISSUE_ABOVE_HU:.0f} HU")
    full = [index for index, single in enumerate(statistics) if single.maximum_hu > single.minimum_hu]
    if not full:
        raise _implausible("every slice is blank")
    for index in range(full[0], full[-1]):
        if statistics[index].maximum_hu == statistics[index].minimum_hu:
            raise _implausible(f"the slice at z={groups[index][0].position_mm[2]:.1f} mm is blank")


def _implausible(text: str) -> DicomSeriesError:
    return DicomSeriesError("E-HU-RANGE", f"Not plausible for CT: {text}.", AGAIN)


def _twins(statistics: list[SliceStatistics], groups: list[list[Slice]]) -> list[Notice]:
    """W-SLICE where two places hold the same values: noise never repeats, so one slice was stored as another."""
    places: dict[int, list[float]] = {}
    for single, group in zip(statistics, groups, strict=True):
        if single.maximum_hu > single.minimum_hu:
            places.setdefault(single.checksum, []).append(group[0].position_mm[2])
    twins = [same for same in places.values() if len(same) > 1]
    if not twins:
        return []
    shown = "; ".join(", ".join(f"z={z:.1f} mm" for z in same[:4]) for same in twins[:3])
    more = f" and {len(twins) - 3} more" if len(twins) > 3 else ""
    return [Notice("W-SLICE", f"slices at different places hold the same image: {shown}{more}.")]


def _rescale(groups: list[list[Slice]]) -> list[Notice]:
    """W-RESCALE where few slices have another slope or intercept than all others: one altered header shifts a slice."""
    pairs = Counter((group[0].slope, group[0].intercept) for group in groups)
    (_, most), *others = pairs.most_common()
    few = sum(count for _, count in others)
    if not few or few > FEW_SHARE * len(groups) or most < len(groups) - few:
        return []
    odd = [group[0] for group in groups if pairs[group[0].slope, group[0].intercept] < most]
    places = ", ".join(f"z={piece.position_mm[2]:.1f} mm" for piece in odd[:6]) + (", ..." if len(odd) > 6 else "")
    return [Notice("W-RESCALE", f"{few} slice(s) have another rescale slope or intercept than all others: {places}.")]


def _copies(statistics: list[SliceStatistics]) -> list[Notice]:
    """N-DROPPED for images that are there twice, N-TRAILING and W-TRAILING for what follows the pixels of a file."""
    notices = []
    if copies := sum(single.copies for single in statistics):
        notices.append(Notice("N-DROPPED", f"{copies} identical copies of slices left out."))
    if broken := sum(single.broken_copies for single in statistics):
        text = f"{broken} interrupted copies of slices left out; the whole ones were read."
        notices.append(Notice("N-DROPPED", text))
    if filled := sum(single.tail == "fill" for single in statistics):
        notices.append(Notice("N-TRAILING", f"the pixel elements of {filled} slice(s) end with filling bytes."))
    if junk := sum(single.tail == "junk" for single in statistics):
        text = f"{junk} slice(s) are followed by bytes that are no DICOM element: the files may have been altered."
        notices.append(Notice("W-TRAILING", text))
    return notices


def _padding(hu: np.ndarray, statistics: list[SliceStatistics]) -> list[Notice]:
    padded = sum(single.padded_pixels for single in statistics)
    tissue = sum(single.padded_tissue for single in statistics)
    lowest = min(single.minimum_hu for single in statistics)
    if not padded and lowest > PADDING_HU:
        return []
    text = f"{padded / hu.size:.1%} of the pixels are declared padding" if padded else f"values down to {lowest:.0f} HU"
    notices = [Notice("N-PADDING", f"{text}; set to -1024 HU.")]
    if tissue:
        text = f"the declared padding covers values of tissue: {tissue / hu.size:.2%} of the pixels became -1024 HU."
        notices.append(Notice("W-PADDING", text))
    return notices


def _calibration(hu: np.ndarray, groups: list[list[Slice]]) -> list[Notice]:
    thinned = hu[:, ::4, ::4]  # enough to judge the histogram
    air = air_hu(thinned)
    if air > UNCALIBRATED_ABOVE_HU and float(np.mean(thinned > DENSE_HU)) > 0.3:
        raise _implausible(f"no air (nothing below {air:.0f} HU) and mostly denser than bone: not calibrated in HU")
    types = {group[0].rescale_type for group in groups} - {"", "HU"}
    shown = sorted({kind if kind in RESCALE_TYPES else "another text" for kind in types})
    foreign = [Notice("W-HU", f"RescaleType is {', '.join(shown)} (expected HU).")] if types else []
    return warn_without_air(air) + foreign
