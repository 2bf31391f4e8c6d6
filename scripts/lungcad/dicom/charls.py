# SPDX-License-Identifier: Apache-2.0
"""Decoder of JPEG-LS frames: the CharLS library that the package pyjpegls contains.

pyjpegls decodes while holding Python's global lock, so threads gain nothing. Its extension module exports CharLS's
own C functions; called through ctypes they run without the lock and write into our array (218 slices of 512 x 512:
half the time on two cores). Where the symbols are hidden, pyjpegls itself is called. CharLS, unlike GDCM, reports
damaged streams.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np

MESSAGE_BYTES = 256
"""Size of the buffer into which CharLS writes its error text."""


@cache
def _decoder() -> Any | None:
    """Function ``JpegLsDecode(dst, dst_size, src, src_size, params, message)`` of CharLS; None where not exported."""
    import _CharLS

    try:
        function = ctypes.CDLL(_CharLS.__file__).JpegLsDecode
    except (OSError, AttributeError):
        return None
    size = ctypes.c_size_t
    function.restype = ctypes.c_int
    function.argtypes = [ctypes.c_void_p, size, ctypes.c_char_p, size, ctypes.c_void_p, ctypes.c_char_p]
    return function


def decode_jpeg_ls(source: bytes, rows: int, columns: int, precision: int) -> np.ndarray:
    """Decode one grey JPEG-LS frame.

    Args:
        source: the JPEG-LS stream.
        rows, columns, precision: as the stream's own frame header states them.

    Returns:
        (rows, columns) uint8 or uint16, unsigned as JPEG-LS always is.

    Raises:
        RuntimeError: the stream is damaged.
    """
    pixels = np.empty((rows, columns), np.uint8 if precision <= 8 else np.uint16)
    function = _decoder()
    if function is None:
        import jpeg_ls

        return np.frombuffer(jpeg_ls.decode_pixel_data(source)[0], pixels.dtype).reshape(rows, columns)
    message = ctypes.create_string_buffer(MESSAGE_BYTES)
    if function(pixels.ctypes.data, pixels.nbytes, source, len(source), None, message):
        raise RuntimeError(message.value.decode("ascii", "replace"))
    return pixels
