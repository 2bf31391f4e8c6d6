# SPDX-License-Identifier: Apache-2.0
"""Does the volume look like calibrated CT? Damage that no decoder reported, and scanners without calibration."""

from itertools import pairwise

import numpy as np

from lungcad.dicom.codecs import SELF_CHECKING
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.dicom.pixels import PADDING_HU, SliceStatistics
from lungcad.volume import MAX_HU, Notice, air_hu, warn_without_air

METAL_HU = 4095.0
MAX_METAL_FRACTION = 0.2
MAX_NOVELTY_RATIO = 2.5
MAX_NOVELTY_HU = 10.0
"""A slice's mean excess over its two neighbours may be so many times that of the slices around, plus so many HU.
In two whole chest CTs (1 and 2.5 mm) the ratio never exceeds 1.2; damage that changes a slice by 10 HU exceeds 2."""
NEARBY = 5
UNCALIBRATED_ABOVE_HU = -300.0
DENSE_HU = 700.0
TISSUE_ABOVE_HU = -900.0


def check_hu(hu: np.ndarray, statistics: list[SliceStatistics], groups: list[list[Slice]]) -> list[Notice]:
    """Judge HU (Z, Y, X).

    Returns:
        N-PADDING, W-HU.

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
    if any(group[0].header.transfer_syntax not in SELF_CHECKING for group in groups):
        _check_neighbours(hu, groups)
    return _padding(hu, statistics) + _calibration(hu, groups)


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


def _check_neighbours(hu: np.ndarray, groups: list[list[Slice]]) -> None:
    """Refuse a slice that stands out of both neighbours far more than the slices around it do.

    Anatomy changes gradually and noise alike from slice to slice; what a decoder makes of damaged data does neither.
    """
    thinned = np.minimum(hu[:, ::2], np.float32(METAL_HU))
    novelty = [_excess(*thinned[index - 1 : index + 2]) for index in range(1, len(hu) - 1)]
    for index, value in enumerate(novelty):
        _judge(value, novelty[max(index - NEARBY, 0) : index + NEARBY + 1], groups[index + 1][0])
    # the outermost slices have one neighbour: the step to it is compared, generously, with the next steps
    for outer, inwards in ((0, 1), (len(hu) - 1, -1)):
        run = range(outer, outer + inwards * min(NEARBY + 2, len(hu)), inwards)
        steps = [float(np.abs(thinned[here] - thinned[there]).mean()) for here, there in pairwise(run)]
        _judge(steps[0] / 4, steps, groups[outer][0])


def _excess(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> float:
    """Mean HU by which a slice lies outside the range of its two neighbours."""
    return float(np.abs(here - np.clip(here, np.minimum(before, after), np.maximum(before, after))).mean())


def _judge(value: float, around: list[float], piece: Slice) -> None:
    if value > MAX_NOVELTY_RATIO * float(np.median(around)) + MAX_NOVELTY_HU:
        z = piece.position_mm[2]
        raise _implausible(f"the slice at z={z:.1f} mm does not match its neighbours, so its data are damaged")


def _implausible(text: str) -> DicomSeriesError:
    return DicomSeriesError("E-HU-RANGE", f"Not plausible for CT: {text}.", AGAIN)


def _padding(hu: np.ndarray, statistics: list[SliceStatistics]) -> list[Notice]:
    padded = sum(single.padded_pixels for single in statistics)
    lowest = min(single.minimum_hu for single in statistics)
    if not padded and lowest > PADDING_HU:
        return []
    text = f"{padded / hu.size:.1%} of the pixels are declared padding" if padded else f"values down to {lowest:.0f} HU"
    return [Notice("N-PADDING", f"{text}; set to -1024 HU.")]


def _calibration(hu: np.ndarray, groups: list[list[Slice]]) -> list[Notice]:
    thinned = hu[:, ::4, ::4]  # enough to judge the histogram
    air = air_hu(thinned)
    if air > UNCALIBRATED_ABOVE_HU and float(np.mean(thinned > DENSE_HU)) > 0.3:
        raise _implausible(f"no air (nothing below {air:.0f} HU) and mostly denser than bone: not calibrated in HU")
    types = {group[0].rescale_type for group in groups} - {"", "HU"}
    foreign = [Notice("W-HU", f"RescaleType is {', '.join(sorted(types))} (expected HU).")] if types else []
    return warn_without_air(air) + foreign
