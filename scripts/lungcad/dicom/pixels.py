# SPDX-License-Identifier: Apache-2.0
"""Decoding of the pixels of a stack to Hounsfield units, in threads, straight into one array."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from lungcad.dicom.acquisitions import MIN_PLACES, readable_acquisitions
from lungcad.dicom.advice import choose_acquisition
from lungcad.dicom.codecs import NATIVE, FrameError, to_signed
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.dicom.header import OVERLAY_BITS
from lungcad.dicom.source import FrameSource
from lungcad.volume import AIR_BELOW_HU, BELOW_AIR_HU, LOWEST_HU

PADDING_SPREAD_HU = 100.0
"""Largest spread of the values of padding."""


@dataclass(frozen=True)
class SliceStatistics:
    """Statistics of a slice before clipping, for the plausibility checks.

    Attributes:
        minimum_hu, maximum_hu: range of the pixels that are not padding.
        padded_pixels: number of pixels of declared padding.
        padded_tissue: number of those whose values are in the range of tissue.
        below_air: number of further pixels in the range BELOW_AIR_HU.
        wrapped: number of pixels that a wrong PixelRepresentation may have made negative, see :func:`_count_wrapped`.
        tail: see :class:`lungcad.dicom.source.FrameSource`.
        copies, broken_copies: further images at the same place: identical ones, interrupted copies of the same object.
        checksum: Adler-32 of the values in HU.
    """

    minimum_hu: float
    maximum_hu: float
    padded_pixels: int
    padded_tissue: int = 0
    below_air: int = 0
    wrapped: int = 0
    tail: str = ""
    copies: int = 0
    broken_copies: int = 0
    checksum: int = 0


def decode_stack(groups: list[list[Slice]], out: np.ndarray | None = None) -> tuple[np.ndarray, list[SliceStatistics]]:
    """Decode every slice, and compare images that share a place.

    Args:
        groups: slices by position, all of one size. The image that was decoded is moved to the front of its group.
        out: float32 array of as many voxels to decode into; None for a new one.

    Returns:
        hu: (Z, Y, X) float32, at least -1024, contiguous; statistics by slice.

    Raises:
        DicomSeriesError: E-PIXELS, E-SIZE (a deflated file holds more than its header says), E-GEOM-DUP.
    """
    layout = groups[0][0].format
    shape = (len(groups), layout.rows, layout.columns)
    hu = np.empty(shape, np.float32) if out is None else out.reshape(shape)
    headers = {id(piece.header): piece.header for group in groups for piece in group}
    sources = {key: FrameSource(header) for key, header in headers.items()}

    def fill(index: int) -> SliceStatistics:
        """Decode the images of one place into the array."""
        return _decode_place(groups, index, sources, hu[index])

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        try:
            return hu, list(pool.map(fill, range(len(groups))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _decode_place(
    groups: list[list[Slice]], index: int, sources: dict[int, FrameSource], out: np.ndarray
) -> SliceStatistics:
    """Decode the images of one place into ``out`` (Y, X); all must be identical, or interrupted copies.

    Raises:
        DicomSeriesError: E-PIXELS, E-SIZE, E-GEOM-DUP.
    """
    decoded: list[Slice] = []
    failures: list[tuple[Slice, DicomSeriesError]] = []
    statistics = None
    for piece in groups[index]:
        target = out if statistics is None else np.empty_like(out)
        try:
            found = _to_hu(sources[id(piece.header)], piece, target)
        except DicomSeriesError as error:
            failures.append((piece, error))
            continue
        if statistics is None:
            statistics = found
        elif not np.array_equal(target, out):
            raise _duplicate_error(groups)
        decoded.append(piece)
    names = {piece.header.text("SOPInstanceUID") for piece in decoded} - {""}
    for piece, failure in failures:
        if piece.header.text("SOPInstanceUID") not in names:
            raise failure
    assert statistics is not None
    groups[index][:] = decoded + [piece for piece, _ in failures]
    return replace(statistics, copies=len(decoded) - 1, broken_copies=len(failures), checksum=zlib.adler32(out.data))


def check_duplicates(groups: list[list[Slice]]) -> None:
    """Decode the images that share a place, to compare them; raises as :func:`decode_stack`."""
    shared = [group for group in groups if len(group) > 1]
    if not shared:
        return
    try:
        decode_stack(shared)
    except DicomSeriesError as error:
        raise _duplicate_error(groups) if error.code == "E-GEOM-DUP" else error from error


def _duplicate_error(groups: list[list[Slice]]) -> DicomSeriesError:
    """Refusal E-GEOM-DUP of places that hold different images, with the reason and what to choose."""
    shared = [group for group in groups if len(group) > 1]
    places = ", ".join(group[0].height for group in shared[:3])
    text = f"{len(shared)} position(s) hold several different images: {places}{' ...' if len(shared) > 3 else ''}"
    labels = readable_acquisitions([piece for group in groups for piece in group], min(MIN_PLACES, len(groups)))
    if labels:
        return DicomSeriesError("E-GEOM-DUP", f"{text}.", choose_acquisition(labels))
    uids = [{id(piece.header): piece.header.text("SOPInstanceUID") for piece in group} for group in shared]
    has_own_uids = len({name for group in uids for name in group.values()}) > 1  # anonymisers give all images one UID
    if any(len(set(group.values())) < len(group) for group in uids) and (has_own_uids or len(shared) == 1):
        text += ": the same SOPInstanceUID with other pixels, so one is an altered copy"
        advice = "Take one of the two kinds of files out of the folder."
        return DicomSeriesError("E-GEOM-DUP", f"{text}, such as one compressed with loss.", advice)
    return DicomSeriesError("E-GEOM-DUP", f"{text}.", "Choose a series of one acquisition, phase and reconstruction.")


def _to_hu(source: FrameSource, piece: Slice, out: np.ndarray) -> SliceStatistics:
    """Decode one slice into ``out`` (Y, X) in HU; raises DicomSeriesError (E-PIXELS, E-SIZE)."""
    try:
        raw, used_bits = source.frame(piece.frame, piece.format)
        stored = to_signed(raw, used_bits, piece.format, _may_hold_overlay(piece))
    except DicomSeriesError:
        raise
    except (FrameError, OSError, zlib.error, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        text = f"The pixels at {piece.where} cannot be read: {reason}."
        raise DicomSeriesError(getattr(error, "code", "E-PIXELS"), text, AGAIN) from error
    np.multiply(stored, np.float32(piece.slope), out=out, casting="unsafe")
    out += np.float32(piece.intercept)
    wrapped = _count_wrapped(raw, stored, out, piece)
    padding = padding_range(piece)
    padded = (stored >= padding[0]) & (stored <= padding[1]) if padding else None
    count = tissue = 0
    if padded is not None and padded.any():
        count = int(np.count_nonzero(padded))
        tissue = int(np.count_nonzero(out[padded] > AIR_BELOW_HU))
        out[padded] = LOWEST_HU
    lowest = float(out.min())
    below = int(np.count_nonzero((out > BELOW_AIR_HU[0]) & (out < BELOW_AIR_HU[1]))) if lowest < BELOW_AIR_HU[1] else 0
    statistics = SliceStatistics(lowest, float(out.max()), count, tissue, below, wrapped, source.tail)
    np.maximum(out, np.float32(LOWEST_HU), out=out)
    return statistics


def _count_wrapped(raw: np.ndarray, stored: np.ndarray, hu: np.ndarray, piece: Slice) -> int:
    """Number of pixels that look like the densest ones of an unsigned image under PixelRepresentation 1.

    They are negative by their sign bit, which is not extended to the unused bits, and fall to several values below air.
    """
    layout = piece.format
    if not layout.is_signed or layout.bits_stored >= 8 * raw.itemsize or piece.header.transfer_syntax not in NATIVE:
        return 0
    values = hu[(stored < 0) & (raw >> layout.bits_stored == 0) & (hu < BELOW_AIR_HU[1])]
    return values.size if values.size and np.ptp(values) > PADDING_SPREAD_HU else 0


def _may_hold_overlay(piece: Slice) -> bool:
    """Whether the header declares an overlay in the unused bits of the pixels."""
    dataset = piece.header.dataset
    for tag in OVERLAY_BITS:
        try:
            if tag in dataset and int(dataset[tag].value or 0) > 0:
                return True
        except Exception:  # of an unknown representation
            continue
    return False


def padding_range(piece: Slice) -> tuple[int, int] | None:
    """Lowest and highest stored value of declared padding (PS3.3 C.7.5.1.1.2); None where none is declared."""
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
