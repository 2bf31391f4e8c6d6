# SPDX-License-Identifier: Apache-2.0
"""Inflation of a deflated DICOM data set under a size limit, which ``zlib.decompress`` does not have."""

import zlib
from typing import BinaryIO

CHUNK_BYTES = 1 << 20


def inflate(file: BinaryIO, limit_bytes: int) -> tuple[bytes, bool]:
    """Inflate a raw deflate stream (PS3.5 A.5) from the file's position.

    Args:
        file: positioned at the first deflated byte.
        limit_bytes: largest number of inflated bytes.

    Returns:
        the inflated bytes, and whether the stream ended within the limit.

    Raises:
        zlib.error: the stream is damaged.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    room = limit_bytes
    while room > 0 and not engine.eof:
        source = engine.unconsumed_tail or file.read(CHUNK_BYTES)
        if not source:
            break
        parts.append(engine.decompress(source, min(room, 16 * CHUNK_BYTES)))
        room -= len(parts[-1])
    return b"".join(parts), engine.eof
