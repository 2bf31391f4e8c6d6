# SPDX-License-Identifier: Apache-2.0
"""What the formats have in common: the header as it is kept, and how it is refused."""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class VolumeHeader:
    """The header of a volume file.

    Attributes:
        image_io: ITK's reader of the format, so that none reads a file whose header was read as another's.
        place: (4, 4) affine, index to LPS mm.
        data: the file with the pixels.
        start: where the pixels, or the stream that holds them, begin in it, in bytes.
        packing: of that stream, ``gzip``, ``zlib`` or empty.
        lead: bytes of the unpacked stream before the pixels.
        voxel_bytes: None where it is that of the pixel type, and ITK itself notices that a file is too short.
    """

    image_io: str
    place: np.ndarray
    data: Path
    start: int
    packing: str
    lead: int = 0
    voxel_bytes: int | None = None

    def unpacked(self) -> Iterator[int]:
        """Lengths of the pieces of the stream, to its end, where its checksum is.

        Raises:
            EOFError, OSError, zlib.error: it ends early or is damaged.
        """
        with self.data.open("rb") as opened:
            opened.seek(self.start)
            if self.packing == "gzip":
                with gzip.GzipFile(fileobj=opened) as stream:
                    yield from map(len, iter(lambda: stream.read(CHUNK_BYTES), b""))
            elif self.packing == "zlib":
                yield from map(len, _inflated(iter(lambda: opened.read(CHUNK_BYTES), b"")))
            else:
                yield opened.seek(0, os.SEEK_END) - self.start


def missing(file: Path, what: str) -> InputError:
    """E-TAG-MISSING, to be raised."""
    text = f"{file.name} does not say where its voxels lie: no {what} in the header."
    return InputError("E-TAG-MISSING", text, "Write the file again with spacing, origin and orientation.")


def wrong(file: Path, what: str) -> InputError:
    """E-TAG-VALUE, to be raised."""
    return InputError("E-TAG-VALUE", f"{file.name} cannot be placed: {what}.", "Repair the file's header.")


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Of a zlib stream, or gzip, which MetaIO takes as well."""
    stream = zlib.decompressobj(wbits=47)
    for piece in pieces:
        yield stream.decompress(piece)
        if stream.eof:
            return
    raise EOFError("the compressed data end early")
