# SPDX-License-Identifier: Apache-2.0
"""What ITK takes on trust in a volume file: that its pixels lie beside it, that they are whole, and where they are."""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lungcad.errors import InputError

IMAGE_IO = {
    ".mhd": "MetaImageIO", ".mha": "MetaImageIO", ".nhdr": "NrrdImageIO", ".nrrd": "NrrdImageIO",
    ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO",
}  # fmt: skip
"""ITK's reader by suffix, so that none reads a file whose header was checked as another's."""

HEADER_BYTES = 1 << 20
"""Of a text header; it must end within so many."""
CHUNK_BYTES = 1 << 16

PLACE_FIELDS = {
    "MetaImageIO": (("ElementSpacing", "ElementSize"), ("Offset", "Position", "Origin")),
    "NrrdImageIO": (("space",), ("space directions",), ("space origin",)),
}
"""Of each group one must be there: without it ITK assumes 1 mm, or a place, without a word."""
META_NUMBERS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "TransformMatrix")
"""ITK reads what is no number there as 0."""
NRRD_SPACES = (
    "left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las",
)  # fmt: skip
"""ITK takes every other as if it were the first."""


@dataclass(frozen=True)
class TextHeader:
    """The header of a MetaImage or NRRD file.

    Attributes:
        fields: value by name, as :func:`_key` writes it.
        data: the file that holds the pixels.
        start: where they begin in it, in bytes.
    """

    fields: dict[str, str]
    data: Path
    start: int


def check_place(file: Path, header: TextHeader | None, reader: Any) -> None:
    """Refuse a volume that does not say how large its voxels are and where they lie in the patient.

    Args:
        file: the volume file.
        header: its text header; None of NIfTI.
        reader: ``SimpleITK.ImageFileReader`` that has read the information of ``file``.

    Raises:
        InputError: E-TAG-MISSING, E-TAG-VALUE.
    """
    if header is None:
        codes = [int(reader.GetMetaData(name)) for name in ("qform_code", "sform_code")]
        missing = [] if any(codes) else ["qform_code or sform_code above 0"]
    else:
        groups = PLACE_FIELDS[IMAGE_IO[file.suffix.lower()]]
        missing = [" or ".join(group) for group in groups if not any(_key(name) in header.fields for name in group)]
    if missing:
        text = f"{file.name} does not say where its voxels lie (expected {', '.join(missing)} in the header)."
        raise InputError("E-TAG-MISSING", text, "Write the file again with spacing, origin and orientation.")
    wrong = "" if header is None else _wrong_field(header.fields)
    if not np.isfinite([*reader.GetOrigin(), *reader.GetDirection()]).all():
        wrong = "its origin or direction is not finite"
    if not all(0 < step < np.inf for step in reader.GetSpacing()):
        wrong = f"its spacing is {reader.GetSpacing()} (expected above 0)"
    if wrong:
        raise InputError("E-TAG-VALUE", f"{file.name} cannot be placed: {wrong}.", "Repair the file's header.")


def _wrong_field(fields: dict[str, str]) -> str:
    """What is wrong with a text header's own words, which ITK reads as something else without a word."""
    for name in META_NUMBERS:
        if not all(_is_finite(word) for word in fields.get(_key(name), "").split()):
            return f"{name} is {fields[_key(name)]} (expected numbers)"
    space = fields.get("space", NRRD_SPACES[0]).lower()
    return "" if space in NRRD_SPACES else f"its space is {space} (expected {' or '.join(NRRD_SPACES[:3])})"


def check_whole(file: Path, header: TextHeader | None, reader: Any) -> None:
    """Refuse pixels that end early or are damaged, where ITK would give what memory happens to hold.

    It notices only that uncompressed MetaImage and NRRD files are too short. The arguments are those of
    :func:`check_place`.

    Raises:
        EOFError, OSError, zlib.error: not whole.
    """
    import SimpleITK as sitk

    voxels = int(np.prod(reader.GetSize(), dtype=np.int64))
    if header is None:
        needed = int(float(reader.GetMetaData("vox_offset"))) + int(reader.GetMetaData("bitpix")) // 8 * voxels
        held = sum(_gunzipped(file, 0)) if file.suffix.lower() == ".gz" else file.stat().st_size
    else:
        needed = sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent() * voxels
        if header.fields.get("encoding", "").lower() in ("gz", "gzip"):
            held = sum(_gunzipped(header.data, header.start))
        elif header.fields.get("compresseddata", "").lower() in ("true", "1"):
            held = sum(_inflated(header.data, header.start))
        else:
            return
    if held < needed:
        raise EOFError(f"{held} bytes (expected {needed})")


def read_text_header(file: Path) -> TextHeader | None:
    """Read the header of a MetaImage or NRRD file; None where the suffix is another.

    Raises:
        InputError: E-CORRUPT (it does not end), E-ARCHIVE (the pixels lie in another folder, which could make us
            read any file, or in several files).
        OSError: the file cannot be read.
    """
    kind = IMAGE_IO.get(file.suffix.lower(), "")
    if kind not in PLACE_FIELDS:
        return None
    fields: dict[str, str] = {}
    with file.open("rb") as opened:
        for line in _lines(opened):
            if kind == "NrrdImageIO" and not line:
                break
            if match := re.match(r"([^:=#]+?)\s*[:=]+\s*(.*)", line):
                fields.setdefault(_key(match[1]), match[2])
                if _key(match[1]) == "elementdatafile":
                    break
        end = opened.tell()
    if end > HEADER_BYTES:
        raise InputError("E-CORRUPT", f"The header of {file.name} does not end.", "Copy the file again.")
    name = fields.get("elementdatafile") or fields.get("datafile") or "LOCAL"
    if name.upper() == "LOCAL":
        return TextHeader(fields, file, end)
    data = file.parent / name
    if name.upper().startswith("LIST") or "%" in name or not data.resolve().is_relative_to(file.parent.resolve()):
        text = f"{file.name} takes its pixels from several files or another folder: {data.name}."
        raise InputError("E-ARCHIVE", text, "Write the volume as one file, or as a header and one file beside it.")
    return TextHeader(fields, data, 0)


def _lines(opened: BinaryIO) -> Iterator[str]:
    while opened.tell() <= HEADER_BYTES and (line := opened.readline(HEADER_BYTES)):
        yield line.decode("latin-1").strip()


def _key(name: str) -> str:
    return name.lower().replace(" ", "")


def _is_finite(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _gunzipped(file: Path, start: int) -> Iterator[int]:
    """Lengths of the pieces of a gzip stream, to its end, where the checksum is."""
    with file.open("rb") as opened:
        opened.seek(start)
        with gzip.GzipFile(fileobj=opened) as stream:
            while piece := stream.read(CHUNK_BYTES):
                yield len(piece)


def _inflated(file: Path, start: int) -> Iterator[int]:
    """Lengths of the pieces of a zlib (or gzip) stream, to its end, where the checksum is."""
    stream = zlib.decompressobj(wbits=47)  # either, as MetaIO does
    with file.open("rb") as opened:
        opened.seek(start)
        while not stream.eof:
            piece = opened.read(CHUNK_BYTES)
            if not piece:
                raise EOFError("the compressed data end early")
            yield len(stream.decompress(piece))
