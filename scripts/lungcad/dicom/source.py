# SPDX-License-Identifier: Apache-2.0
"""The bytes of each frame of one object, whichever way the pixel element is stored."""

import struct
from threading import Lock

from pydicom import uid
from pydicom.encaps import generate_frames

from lungcad.dicom.codecs import NATIVE, Decoded, FrameError, decode_frame, native_frame
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.frames import PixelFormat
from lungcad.dicom.header import Header
from lungcad.dicom.inflate import inflate

TRAILER_BYTES = 1 << 20
"""What may follow the pixels in a file: padding, signatures."""
ITEM, END = 0xE000FFFE, 0xE0DDFFFE


class FrameSource:
    """Frames of one object; threads may share it. What must be unpacked as a whole is unpacked once and kept."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._count = int(header.dataset.get("NumberOfFrames") or 1)
        self._lock = Lock()
        self._unpacked: list[bytes] | None = None

    def frame(self, index: int, layout: PixelFormat) -> Decoded:
        """Raw bits (rows, columns) of one frame, and how many of them are used.

        Raises:
            FrameError, zlib.error, OSError: truncated or damaged.
            DicomSeriesError: E-SIZE, a deflated file holds more than its header says.
        """
        syntax = self._header.transfer_syntax
        size = layout.rows * layout.columns * layout.bits_allocated // 8
        if syntax in NATIVE and syntax != uid.DeflatedExplicitVRLittleEndian:
            return native_frame(self._read_native(index, size, layout), syntax, layout)
        with self._lock:
            if self._unpacked is None:
                self._unpacked = self._inflate(size) if syntax in NATIVE else self._unpack(size)
            source = self._unpacked[index]
        if self._count == 1:
            self._unpacked = None  # single frames are asked for once
        return native_frame(source, syntax, layout) if syntax in NATIVE else decode_frame(source, syntax, layout)

    def _read_native(self, index: int, size: int, layout: PixelFormat) -> bytes:
        pixels = self._header.pixels
        assert pixels is not None
        self._check_length(pixels.length, size, layout.columns * layout.bits_allocated // 8)
        with self._header.path.open("rb") as file:
            file.seek(pixels.offset + index * size)
            source = file.read(size)
        if len(source) < size:
            raise FrameError(f"the file ends {size - len(source)} bytes early")
        return source

    def _check_length(self, length: int | None, size: int, row_size: int) -> None:
        """Refuse a pixel element that does not hold what Rows, Columns and NumberOfFrames say."""
        expected = size * self._count
        if length is None or not expected <= length < expected + max(row_size, 2):
            raise FrameError(f"the pixel element has {length} bytes (expected {expected})")

    def _inflate(self, size: int) -> list[bytes]:
        pixels = self._header.pixels
        assert pixels is not None
        end = pixels.offset + size * self._count
        with self._header.path.open("rb") as file:
            file.seek(self._header.body_offset)
            body, ended = inflate(file, end + TRAILER_BYTES)
        if len(body) >= end + TRAILER_BYTES:
            text = f"{self._header.path.name} inflates to more than the {end} bytes that its header describes."
            raise DicomSeriesError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
        if not ended:
            raise FrameError("the deflated stream ends early")
        self._check_length(pixels.length, size, TRAILER_BYTES)
        return [body[at : at + size] for at in range(pixels.offset, end, size)]

    def _unpack(self, size: int) -> list[bytes]:
        """Compressed frames of an encapsulated pixel element (PS3.5 A.4)."""
        pixels = self._header.pixels
        assert pixels is not None
        with self._header.path.open("rb") as file:
            file.seek(pixels.offset)
            # no compressed frame is twice as large as its pixels: more is not looked for
            body = file.read(2 * size * self._count + TRAILER_BYTES)
        fragments = _fragments(body, pixels.length)
        if self._count == 1:
            return [b"".join(fragments)]
        if len(fragments) == self._count:
            return fragments
        frames = list(generate_frames(body, number_of_frames=self._count))
        if len(frames) != self._count:
            raise FrameError(f"{len(frames)} compressed frames (expected {self._count})")
        return frames


def _fragments(body: bytes, length: int | None) -> list[bytes]:
    """Fragments after the offset table; a missing end or a cut fragment means a truncated file."""
    found: list[bytes] = []
    at = 0
    end = len(body) if length is None else min(length, len(body))
    while at + 8 <= end:
        tag, size = struct.unpack_from("<LL", body, at)
        at += 8
        if tag == END:
            return found[1:]
        if tag != ITEM or at + size > end:
            break
        found.append(body[at : at + size])
        at += size
    if length is not None and at == length and len(found) > 1:
        return found[1:]
    raise FrameError("the compressed pixels end early")


