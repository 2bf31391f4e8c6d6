# SPDX-License-Identifier: Apache-2.0
"""Voxels of a volume file, read and unpacked in chunks into one array of bounded size.

Only this module reads the pixels, at the place and with the type that the checked header states: a library that parses
the header again could find another image in the same file.
"""

import gzip
import os
import zlib
from collections.abc import Iterator

import numpy as np

from lungcad.dicom import Leniency
from lungcad.errors import InputError
from lungcad.reading.header import VolumeHeader
from lungcad.volume import Notice

CHUNK_BYTES = 1 << 18
SLACK_BYTES = 1 << 20
"""Largest number of bytes that compressed data may hold besides the image."""
DEFLATE_RATIO = 1032
"""Largest expansion that the deflate format allows."""


def read_voxels(
    header: VolumeHeader, options: Leniency, out: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Read the pixels of a volume file as HU.

    Args:
        header: checked header.
        options: limit ``memory_limit_bytes``.
        out: (voxels,) float32 to read into; None for a new array.

    Returns:
        (X, Y, Z) float32, and notice W-HEADER where bytes follow the pixels.

    Raises:
        InputError: E-SIZE, E-CORRUPT.
        EOFError, OSError, zlib.error: the data end early or are damaged.
    """
    check_size(header, options)
    hu = np.empty(header.voxels, dtype=np.float32) if out is None else out
    itemsize, waiting, skip, done, held = header.pixel.itemsize, b"", header.lead, 0, 0
    for piece in _pieces(header):
        held += len(piece)
        if held > header.lead + header.pixel_bytes + SLACK_BYTES:
            text = f"The data hold more than the {header.pixel_bytes} bytes of the header's image."
            raise InputError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
        if skip:
            skip, piece = max(skip - len(piece), 0), piece[skip:]
        waiting += piece
        count = min(len(waiting) // itemsize, header.voxels - done)
        values = np.frombuffer(waiting, header.pixel, count)
        hu[done : done + count] = _rescaled(values, header)
        waiting, done = waiting[count * itemsize :], done + count
    if done < header.voxels:
        raise EOFError(f"{held} bytes (expected {header.lead + header.pixel_bytes})")
    return hu.reshape(header.size, order="F"), _trailing_notices(header, held - header.lead - header.pixel_bytes)


def check_size(header: VolumeHeader, options: Leniency) -> None:
    """Refuse an image that exceeds the memory limit, or that is too large for its file.

    Raises:
        InputError: E-SIZE; E-CORRUPT, there is no file with the pixels.
        EOFError: the file with the pixels is too short.
    """
    if 4 * header.voxels > options.memory_limit_bytes:
        text = f"{' x '.join(map(str, header.size))} voxels exceed the limit of {options.memory_limit_bytes} bytes."
        raise InputError("E-SIZE", text, "Raise memory_limit_bytes if the data are right.")
    if not os.path.isfile(header.data):
        # a pipe is none either: it would never end
        text = "There is no file of the name that the header states for its pixels."
        raise InputError("E-CORRUPT", text, "Put the file with the pixels beside the header, named as it says.")
    stored = os.path.getsize(header.data)
    if header.packing and stored * DEFLATE_RATIO + SLACK_BYTES < header.pixel_bytes:
        text = f"{stored} bytes of compressed data cannot hold the {header.pixel_bytes} bytes of the header's image."
        raise InputError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
    start = _first_byte(header, stored)
    if not header.packing and not 0 <= start + header.lead + header.pixel_bytes <= stored:
        raise EOFError(f"{max(stored - start - header.lead, 0)} bytes (expected {header.pixel_bytes})")


def _first_byte(header: VolumeHeader, stored: int) -> int:
    """First byte of the pixels in a file of ``stored`` bytes."""
    return stored - header.pixel_bytes if header.start < 0 else header.start


def _pieces(header: VolumeHeader) -> Iterator[bytes]:
    """Yield the unpacked stream in pieces, up to its end, where its checksum is verified."""
    with header.data.open("rb") as opened:
        opened.seek(_first_byte(header, os.path.getsize(header.data)))
        if header.packing == "gzip":
            with gzip.GzipFile(fileobj=opened) as stream:
                yield from iter(lambda: stream.read(CHUNK_BYTES), b"")
        elif header.packing == "zlib":
            yield from _inflated(iter(lambda: opened.read(CHUNK_BYTES), b""))
        else:
            left = os.fstat(opened.fileno()).st_size - opened.tell()
            while left > 0 and (piece := opened.read(min(CHUNK_BYTES, left))):
                left -= len(piece)
                yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield an unpacked zlib or gzip stream, both of which MetaIO accepts, in pieces of at most CHUNK_BYTES."""
    stream = zlib.decompressobj(wbits=47)
    for piece in pieces:
        while piece:
            yield stream.decompress(piece, CHUNK_BYTES)
            piece = stream.unconsumed_tail
        if stream.eof:
            return
    yield stream.flush()
    if not stream.eof:
        raise EOFError("the compressed data end early")


def _rescaled(values: np.ndarray, header: VolumeHeader) -> np.ndarray:
    """Values in HU, computed in double precision so that they are rounded once."""
    if (header.slope, header.intercept) == (1.0, 0.0):
        return values
    with np.errstate(over="ignore", invalid="ignore"):  # values out of range are refused with all others
        return (values.astype(np.float64) * header.slope + header.intercept).astype(np.float32)


def _trailing_notices(header: VolumeHeader, count: int) -> tuple[Notice, ...]:
    """Notice W-HEADER on ``count`` bytes behind the pixels; raises E-CORRUPT for a slice or more: the size is wrong."""
    if header.start < 0 or count == 0:
        return ()
    x, y, z = header.size
    if count >= min(x * y, y * z, x * z) * header.pixel.itemsize:
        text = f"The file holds {count} bytes more than the {' x '.join(map(str, header.size))} voxels of its header."
        raise InputError("E-CORRUPT", text, "Repair the header's size or pixel type, or copy the file again.")
    return (Notice("W-HEADER", f"{count} bytes behind the pixels were not read."),)
