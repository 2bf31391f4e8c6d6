# SPDX-License-Identifier: Apache-2.0
"""Decoders of frames to stored values, one strict decoder per transfer syntax.

pydicom tries every plugin in turn: where a strict plugin refuses a damaged JPEG-LS stream, a lax one returns garbage.
Here each syntax has one decoder, and the size that the stream states is checked before the decoder runs.
"""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import uid

from lungcad.dicom.charls import decode_jpeg_ls
from lungcad.dicom.frames import PixelFormat

NATIVE = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K)
RLE_MAX_RATIO = 64
"""Largest expansion of RLE, which writes at most 128 bytes for every two."""

Decoded = tuple[np.ndarray, int]
"""Integer array (rows, columns) of raw bits, and the number of bits that the stream uses."""


class FrameError(ValueError):
    """Error of a frame that cannot be decoded faithfully.

    Attributes:
        code: code of the refusal.
    """

    code = "E-PIXELS"


class LeftJustifiedError(FrameError):
    """Error of a frame with the values in the upper bits of its pixels, as HighBit says."""

    code = "E-TAG-VALUE"


def _decode_jpeg(source: bytes, layout: PixelFormat) -> Decoded:
    """Decode JPEG baseline, extended (8 and 12 bit) and lossless with GDCM."""
    import gdcm

    precision = _jpeg_frame_header(source, layout)
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    process = uid.JPEGExtended12Bit if source[_frame_marker(source) + 1] in (0xC0, 0xC1) else uid.JPEGLosslessSV1
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(process))))
    allocated = 8 if precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, precision, precision - 1, 0))
    raw = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands bytes over as text
    pixels = np.frombuffer(raw, f"u{allocated // 8}")
    if pixels.size != layout.rows * layout.columns:
        raise FrameError("the JPEG stream ends early")
    return _unsigned(pixels.reshape(layout.rows, layout.columns), precision, layout)


def _decode_jpeg_ls_checked(source: bytes, layout: PixelFormat) -> Decoded:
    """Decode JPEG-LS with CharLS."""
    precision = _jpeg_frame_header(source, layout)
    return _unsigned(decode_jpeg_ls(source, layout.rows, layout.columns, precision), precision, layout)


def _unsigned(pixels: np.ndarray, precision: int, layout: PixelFormat) -> Decoded:
    """Raw bits of a stream without a sign, and the number of bits used.

    A stream of BitsStored bits holds the bit pattern that the header describes, sign included. An encoder takes fewer
    bits where the largest value of the slice needs no more: then no value is negative.
    """
    if layout.is_signed and precision < layout.bits_stored:
        return pixels.astype(f"u{layout.bits_allocated // 8}"), layout.bits_stored
    return pixels, precision


def _decode_jpeg_2000(source: bytes, layout: PixelFormat) -> Decoded:
    """Decode JPEG 2000 and HTJ2K with OpenJPEG."""
    import openjpeg

    found = openjpeg.get_parameters(BytesIO(source))
    _check_size(int(found["rows"]), int(found["columns"]), int(found["samples_per_pixel"]), layout)
    pixels, precision = openjpeg.decode(BytesIO(source)), int(found["precision"])
    if pixels.dtype.kind == "i":  # raw bits, like the other decoders
        return pixels.view(pixels.dtype.str.replace("i", "u")) & ((1 << precision) - 1), precision
    return _unsigned(pixels, precision, layout)


def _decode_rle(source: bytes, layout: PixelFormat) -> Decoded:
    """Decode RLE (PS3.5 annex G) with pydicom."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    if layout.rows * layout.columns * layout.bits_allocated // 8 > RLE_MAX_RATIO * len(source):
        raise FrameError(f"{len(source)} bytes of RLE cannot hold {layout.columns} x {layout.rows} pixels")

    options: dict[str, Any] = {
        "rows": layout.rows, "columns": layout.columns, "number_of_frames": 1, "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2", "pixel_keyword": "PixelData", "pixel_representation": 0,
        "bits_allocated": layout.bits_allocated, "bits_stored": layout.bits_allocated,
    }  # fmt: skip
    pixels, _ = get_decoder(uid.RLELossless).as_array(encapsulate([source]), index=0, raw=True, **options)
    return pixels, layout.bits_stored


DECODERS: dict[str, Callable[[bytes, PixelFormat], Decoded]] = {
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1), _decode_jpeg),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), _decode_jpeg_ls_checked),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), _decode_jpeg_2000),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), _decode_jpeg_2000),
    uid.RLELossless: _decode_rle,
}
"""Decoder by transfer syntax."""


def is_supported(transfer_syntax: str) -> bool:
    """Whether frames of this transfer syntax can be read."""
    return transfer_syntax in NATIVE or transfer_syntax in DECODERS


def decode_frame(source: bytes, transfer_syntax: str, layout: PixelFormat) -> Decoded:
    """Decode one frame.

    Raises:
        FrameError: the frame is truncated, damaged or of another size, or the plugin is not installed.
    """
    end_mark = b"" if transfer_syntax == uid.RLELossless else b"\xff\xd9"
    if end_mark not in source.rstrip(b"\0\xff")[-64:]:  # some writers fill up with zeros
        raise FrameError("the compressed stream has no end mark: it is truncated")
    try:
        return DECODERS[transfer_syntax](source, layout)
    except FrameError:
        raise
    except ImportError as error:
        plugins = "pip install python-gdcm pyjpegls pylibjpeg-openjpeg"
        raise FrameError(f"{error.name} is not installed: {plugins}") from error
    except Exception as error:  # each decoder has its own error types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:120]
        raise FrameError(f"the compressed stream is damaged ({reason})") from error


def native_frame(source: bytes, transfer_syntax: str, layout: PixelFormat) -> Decoded:
    """View uncompressed bytes as stored values; raises FrameError."""
    if layout.bits_allocated == 8 and transfer_syntax == uid.ExplicitVRBigEndian:
        raise FrameError("8-bit pixels in big-endian words are not supported")
    order = ">" if transfer_syntax == uid.ExplicitVRBigEndian else "<"
    expected = layout.rows * layout.columns * layout.bits_allocated // 8
    if len(source) != expected:
        raise FrameError(f"{len(source)} bytes of pixels (expected {expected})")
    pixels = np.frombuffer(source, f"{order}u{layout.bits_allocated // 8}")
    return pixels.reshape(layout.rows, layout.columns), layout.bits_stored


def to_signed(raw: np.ndarray, used_bits: int, layout: PixelFormat, may_hold_overlay: bool = False) -> np.ndarray:
    """Interpret raw bits by BitsStored and PixelRepresentation, as stored values.

    The bits above the used ones must be zero or repeat the sign. Some writers sign-extend values that need more
    bits than they state (padding of -3024 in 12 bits); these are taken as written. HighBit above BitsStored - 1 is
    believed where the values need it, leave the bits below unused, or an overlay is declared: such values are refused,
    as no writer may store them (PS3.5 8.1.1).

    Raises:
        FrameError: the unused bits hold other values, and no overlay is declared there.
        LeftJustifiedError: the values lie, or may lie, in the upper bits.
    """
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    width, used = 8 * raw.itemsize, min(used_bits, layout.bits_stored)
    shift = layout.high_bit + 1 - layout.bits_stored if layout.high_bit < width else 0
    is_shifted = shift > 0 and raw.min() != raw.max() and not (raw & ((1 << shift) - 1)).any()
    if is_shifted or (shift > 0 and may_hold_overlay):
        raise _left_justified(layout)
    plain = raw.view(f"i{raw.itemsize}") if layout.is_signed else raw
    low = -(1 << (used - 1)) if layout.is_signed else 0
    if width == used or (plain.min() >= low and plain.max() < low + (1 << used)):
        return plain
    above = raw >> used
    ones = (1 << (width - used)) - 1
    if not may_hold_overlay and not np.all((above == 0) | ((above == ones) & layout.is_signed)):
        if shift > 0:
            raise _left_justified(layout)
        raise FrameError(f"values need more bits than BitsStored ({layout.bits_stored}) allows")
    if not layout.is_signed:
        return raw & ((1 << used) - 1)
    extended = (plain << (width - used)) >> (width - used)
    return np.where(above == ones, plain, extended)


def _left_justified(layout: PixelFormat) -> LeftJustifiedError:
    """Error that names HighBit and BitsStored."""
    text = f"HighBit is {layout.high_bit} (expected {layout.bits_stored - 1}, BitsStored - 1)"
    return LeftJustifiedError(f"{text}: the values lie in the upper bits, or beside an overlay")


def _frame_marker(source: bytes) -> int:
    """Offset of the start-of-frame marker of a JPEG or JPEG-LS stream (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2)."""
    at = 2
    while at + 10 <= len(source) and source[at] == 0xFF:
        marker = source[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return at
        at += 1 if marker == 0xFF else 2 + int.from_bytes(source[at + 2 : at + 4], "big")
    raise FrameError("the compressed stream has no frame header")


def _jpeg_frame_header(source: bytes, layout: PixelFormat) -> int:
    """Check the size that a stream states against the header; returns the stream's precision in bits."""
    at = _frame_marker(source)
    precision, rows, columns, samples = struct.unpack(">BHHB", source[at + 4 : at + 10])
    _check_size(rows, columns, samples, layout)
    return int(precision)


def _check_size(rows: int, columns: int, samples: int, layout: PixelFormat) -> None:
    """Raise FrameError where the size of a stream is not that of the header."""
    if (rows, columns, samples) != (layout.rows, layout.columns, 1):
        text = f"{columns} x {rows} x {samples} (expected {layout.columns} x {layout.rows} x 1)"
        raise FrameError(f"the compressed stream has another size than the header: {text}")
