# SPDX-License-Identifier: Apache-2.0
"""Bytes of each frame of one object, from a native, deflated or encapsulated pixel element."""

import os
import struct
from threading import Lock

from pydicom import uid
from pydicom.encaps import generate_frames

from lungcad.dicom.codecs import NATIVE, Decoded, FrameError, decode_frame, native_frame
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.frames import PixelFormat
from lungcad.dicom.header import Header
from lungcad.dicom.inflate import inflate
from lungcad.dicom.tags import read_integer

EXTRA_BYTES = 1 << 16
"""Largest number of filling bytes, all of one value, behind the pixels in their element: writers fill disk blocks."""
TRAILER_BYTES = 1 << 20
"""Largest number of bytes behind the pixel element, such as padding and signatures."""
ITEM, END = 0xE000FFFE, 0xE0DDFFFE
"""Tags of an item and of the end of a sequence, as little-endian words."""


class FrameSource:
    """Frames of one object, shared safely by threads; a deflated or encapsulated element is unpacked once and kept.

    Attributes:
        tail: kind of bytes behind the pixels, known once a frame was read: empty, ``fill`` (filling bytes inside the
            pixel element) or ``junk`` (bytes that are no DICOM element).
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._count = max(read_integer(header.dataset, "NumberOfFrames", 0, 2**31, 1), 1)
        self._lock = Lock()
        self._unpacked: list[bytes] | None = None
        self.tail = ""

    def frame(self, index: int, layout: PixelFormat) -> Decoded:
        """Read the raw bits (rows, columns) of one frame, and the number of bits used.

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
                self._unpacked = self._inflate(size, layout) if syntax in NATIVE else self._read_encapsulated(size)
            source = self._unpacked[index]
        if self._count == 1:
            self._unpacked = None  # single frames are asked for once
        return native_frame(source, syntax, layout) if syntax in NATIVE else decode_frame(source, syntax, layout)

    def _read_native(self, index: int, size: int, layout: PixelFormat) -> bytes:
        """Read one uncompressed frame of ``size`` bytes; raises FrameError."""
        pixels = self._header.pixels
        assert pixels is not None
        end = pixels.offset + size * self._count
        with self._header.path.open("rb") as file:
            if index == 0:
                available = os.fstat(file.fileno()).st_size - pixels.offset
                file.seek(end)
                self._check_element(available, file.read(EXTRA_BYTES), layout)
            file.seek(pixels.offset + index * size)
            source = file.read(size)
        if len(source) < size:
            raise FrameError(f"the file ends {size - len(source)} bytes early")
        return source

    def _check_element(self, available: int, behind: bytes, layout: PixelFormat) -> None:
        """Refuse a pixel element that does not hold what Rows, Columns, BitsAllocated and NumberOfFrames say.

        Args:
            available: number of bytes from the first pixel to the end of the file.
            behind: first bytes behind the pixels.
            layout: format of one frame.

        Raises:
            FrameError: the file ends early, or the element has another length.
        """
        row = layout.columns * layout.bits_allocated // 8
        expected = self._count * layout.rows * row
        if available < expected:
            raise FrameError(f"the file ends {expected - available} bytes early")
        assert self._header.pixels is not None
        length = self._header.pixels.length
        if length is None:  # forbidden for uncompressed pixels (PS3.5 A.1), but written
            big = self._header.transfer_syntax == uid.ExplicitVRBigEndian
            if struct.unpack_from(">HH" if big else "<HH", behind.ljust(4, b"\0")) != (END & 0xFFFF, END >> 16):
                raise FrameError(f"pixels of undefined length do not end after the {expected} bytes of Rows x Columns")
            return
        extra = length - expected
        filled = 0 <= extra < min(len(behind) + 1, expected) and len(set(behind[:extra])) == 1
        if not (0 <= extra < max(row, 2) or filled):
            text = f"the pixel element has {length} bytes (expected {expected}"
            raise FrameError(f"{text} for {layout.columns} x {layout.rows} pixels)")
        if extra > 1:
            self.tail = "fill"
        if not _is_element(behind[extra:]):
            self.tail = "junk"

    def _inflate(self, size: int, layout: PixelFormat) -> list[bytes]:
        """Inflate a deflated data set to its frames; raises FrameError, DicomSeriesError (E-SIZE), zlib.error."""
        pixels = self._header.pixels
        assert pixels is not None
        end = pixels.offset + size * self._count
        with self._header.path.open("rb") as file:
            file.seek(self._header.body_offset)
            body, ended = inflate(file, end + TRAILER_BYTES)
        if len(body) >= end + TRAILER_BYTES:
            text = f"A deflated file inflates to more than the {end} bytes that its header describes."
            raise DicomSeriesError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
        if not ended:
            raise FrameError("the deflated stream ends early")
        self._check_element(len(body) - pixels.offset, body[end : end + EXTRA_BYTES], layout)
        if self.tail == "junk" or (pixels.length is not None and pixels.offset + pixels.length > len(body)):
            raise FrameError("the deflated stream is damaged: what follows the pixels is no element")
        return [body[at : at + size] for at in range(pixels.offset, end, size)]

    def _read_encapsulated(self, size: int) -> list[bytes]:
        """Read the compressed frames of an encapsulated pixel element (PS3.5 A.4); raises FrameError."""
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
    """Fragments after the offset table; raises FrameError where the end is missing or a fragment is cut."""
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


def _is_element(behind: bytes) -> bool:
    """Whether the bytes behind the pixels are none, an even number of zeros, or begin like an element of higher tag."""
    if not behind.strip(b"\0"):
        return len(behind) % 2 == 0
    if len(behind) < 8:
        return False
    little, big = struct.unpack_from("<HHL", behind), struct.unpack_from(">HHL", behind)
    explicit = behind[4:6].isalpha() and behind[4:6].isupper()
    return (little[0] > 0x7FE0 and (explicit or little[2] < 1 << 24)) or (big[0] > 0x7FE0 and explicit)
