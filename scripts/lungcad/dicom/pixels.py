# SPDX-License-Identifier: Apache-2.0
"""Pixels of a stack to Hounsfield units, in threads, straight into one array."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lungcad.dicom.codecs import FrameError, to_signed
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.dicom.source import FrameSource
from lungcad.volume import LOWEST_HU

PADDING_HU = -1500.0
"""Values below this are padding even where no PixelPaddingValue says so."""


@dataclass(frozen=True)
class SliceStatistics:
    """What the plausibility checks need to know about a slice before clipping."""

    minimum_hu: float
    maximum_hu: float
    padded_pixels: int


def decode_stack(groups: list[list[Slice]]) -> tuple[np.ndarray, list[SliceStatistics]]:
    """Decode every slice and compare images that share a place.

    Args:
        groups: slices by position, all of one size.

    Returns:
        hu: (Z, Y, X) float32, at least -1024, contiguous; statistics by slice.

    Raises:
        DicomSeriesError: E-PIXELS, E-SIZE (a deflated file holds more than its header says), E-GEOM-DUP.
    """
    layout = groups[0][0].format
    hu = np.empty((len(groups), layout.rows, layout.columns), np.float32)
    sources = {id(piece.header): FrameSource(piece.header) for group in groups for piece in group}

    def fill(index: int) -> SliceStatistics:
        first, *copies = groups[index]
        statistics = _to_hu(sources[id(first.header)], first, hu[index])
        for copy in copies:
            again = np.empty_like(hu[index])
            _to_hu(sources[id(copy.header)], copy, again)
            if not np.array_equal(again, hu[index]):
                raise _duplicate_error(groups)
        return statistics

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        try:
            return hu, list(pool.map(fill, range(len(groups))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def check_duplicates(groups: list[list[Slice]]) -> None:
    """Decode only the images that share a place; raises as :func:`decode_stack`."""
    shared = [group for group in groups if len(group) > 1]
    if shared:
        decode_stack(shared)


def _duplicate_error(groups: list[list[Slice]]) -> DicomSeriesError:
    """Name the places that hold different images."""
    shared = [group[0].position_mm[2] for group in groups if len(group) > 1]
    places = ", ".join(f"z={z:.1f} mm" for z in shared[:3]) + (" ..." if len(shared) > 3 else "")
    text = f"{len(shared)} position(s) hold several different images: {places}."
    return DicomSeriesError("E-GEOM-DUP", text, "Choose a series of one acquisition, phase and reconstruction.")


def _to_hu(source: FrameSource, piece: Slice, out: np.ndarray) -> SliceStatistics:
    dataset = piece.header.dataset
    try:
        raw, used_bits = source.frame(piece.frame, piece.format)
        overlay = int(dataset.get(0x60000102).value or 0) > 0 if 0x60000102 in dataset else False
        stored = to_signed(raw, used_bits, piece.format, overlay)
    except (FrameError, OSError, zlib.error) as error:
        where = f"z={piece.position_mm[2]:.1f} mm" + (f" (image {piece.number})" if piece.number is not None else "")
        text = f"The pixels at {where} cannot be read: {error}."
        raise DicomSeriesError("E-PIXELS", text, AGAIN) from error
    np.multiply(stored, np.float32(piece.slope), out=out, casting="unsafe")
    out += np.float32(piece.intercept)
    padding = padding_range(piece)
    padded = (stored >= padding[0]) & (stored <= padding[1]) if padding else None
    count = 0
    if padded is not None and padded.any():
        count = int(np.count_nonzero(padded))
        out[padded] = LOWEST_HU
    statistics = SliceStatistics(float(out.min()), float(out.max()), count)
    np.maximum(out, np.float32(LOWEST_HU), out=out)
    return statistics


def padding_range(piece: Slice) -> tuple[int, int] | None:
    """Stored values that mean "no image here" (PS3.3 C.7.5.1.1.2), inclusive; None where not declared."""
    dataset, layout = piece.header.dataset, piece.format
    values: dict[str, int] = {}
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        try:
            value = dataset.get(keyword)
            if value is None or isinstance(value, str):
                continue
            number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
        except (TypeError, ValueError, AttributeError, NotImplementedError, struct.error):
            continue
        modulus = 1 << layout.bits_allocated
        number %= modulus  # writers mix up US and SS: 63536 is -2000 in a signed image
        values[keyword] = number - modulus if layout.is_signed and number >= modulus // 2 else number
    return (min(values.values()), max(values.values())) if "PixelPaddingValue" in values else None
