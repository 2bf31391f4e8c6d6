# SPDX-License-Identifier: Apache-2.0
"""Headers in words: MetaImage (.mhd, .mha) and NRRD (.nrrd, .nhdr)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import affine_of, swap_lps_ras
from lungcad.reading.header import VolumeHeader, missing, wrong

HEADER_BYTES = 1 << 20
"""Of a text header; it must end within so many."""
UNIT_TOLERANCE = 2e-3
"""Largest error of a direction's length, as of DICOM's cosines: headers round to three decimals."""
SPACES = {
    "left-posterior-superior": np.eye(4), "right-anterior-superior": swap_lps_ras(np.eye(4)),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0, 1.0]),
}  # fmt: skip
"""NRRD's, to LPS; ITK takes every other for LPS."""
SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}


def read_meta_image(file: Path) -> VolumeHeader:
    """Read a MetaImage header; raises as :func:`lungcad.reading.volume_file.read_volume_header`."""
    lines, end = _lines(file, last="ElementDataFile *[=:]")
    pairs = [re.split("[=:]", line, maxsplit=1) for line in lines]
    fields = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
    if "ElementDataFile" not in fields:
        raise InputError("E-CORRUPT", f"{file.name} has no MetaImage header.", "Copy the file again.")
    axes = int(_numbers(file, fields, ["NDims"], 1)[0])
    if axes not in (3, 4):
        raise InputError("E-NOT-CT", f"Not one grey 3D image: {axes} axes.", "Give a CT volume in HU.")
    spacing = _numbers(file, fields, ["ElementSpacing", "ElementSize"], axes)
    origin = _numbers(file, fields, ["Offset", "Position", "Origin"], axes)
    rows = np.eye(axes)  # each the direction of an axis; the format's default
    if turned := [name for name in ("TransformMatrix", "Rotation", "Orientation") if name in fields]:
        rows = np.reshape(_numbers(file, fields, turned, axes * axes), (axes, axes))
    if spacing.min() <= 0:
        raise wrong(file, f"its spacing is {spacing} (expected above 0)")
    if np.abs(np.linalg.norm(rows, axis=1) - 1).max() > UNIT_TOLERANCE:
        raise wrong(file, f"{turned[0]} is {fields[turned[0]]} (expected unit vectors)")
    data = _data_file(file, fields["ElementDataFile"])
    packing = "zlib" if fields.get("CompressedData", "")[:1] in ("T", "t", "1") else ""
    place = affine_of(rows[:3, :3].T * spacing[:3], origin[:3])
    return VolumeHeader("MetaImageIO", place, data, end if data == file else 0, packing)


def read_nrrd(file: Path) -> VolumeHeader:
    """Read an NRRD header; raises as :func:`lungcad.reading.volume_file.read_volume_header`."""
    lines, end = _lines(file, last="$")
    pairs = [line.partition(": ") for line in lines]  # key/value pairs have := and are no fields
    fields = {name.lower().replace(" ", ""): value.strip() for name, _, value in pairs}
    space = _field(file, fields, ["space"]).lower()
    to_lps = SPACES.get(SHORT.get(space, space))
    if to_lps is None:
        raise wrong(file, f"its space is {space} (expected {' or '.join(SPACES)})")
    if set(fields.get("spaceunits", "mm").replace('"', " ").split()) != {"mm"}:
        raise wrong(file, f"its space units are {fields['spaceunits']} (expected mm)")
    columns = _vectors(file, _field(file, fields, ["space directions"]), 3)
    (origin,) = _vectors(file, _field(file, fields, ["space origin"]), 1)
    data = _data_file(file, fields.get("datafile", "LOCAL"))
    packing = "gzip" if fields.get("encoding", "").lower() in ("gz", "gzip") else ""
    place = to_lps @ affine_of(columns.T, origin)
    return VolumeHeader("NrrdImageIO", place, data, end if data == file else 0, packing)


def _lines(file: Path, last: str) -> tuple[list[str], int]:
    """Lines of a header, without blanks around them, up to one that begins as ``last`` or the file's end; its bytes."""
    lines: list[str] = []
    with file.open("rb") as opened:
        while line := opened.readline(HEADER_BYTES):
            if opened.tell() > HEADER_BYTES:
                raise InputError("E-CORRUPT", f"The header of {file.name} does not end.", "Copy the file again.")
            lines.append(line.decode("utf-8", "surrogateescape").strip())
            if re.match(last, lines[-1]):
                break
        return lines, opened.tell()


def _data_file(file: Path, name: str) -> Path:
    """The file with the pixels; ITK's words for several files begin with LIST or hold a %."""
    if name.upper() == "LOCAL":
        return file
    data = file.parent / name
    several = name.startswith("LIST") or "%" in name or "\0" in name
    if several or not Path(os.path.realpath(data)).is_relative_to(os.path.realpath(file.parent)):
        text = f"{file.name} takes its pixels from several files or another folder."
        raise InputError("E-ARCHIVE", text, "Write the volume as one file, or as a header and one file beside it.")
    return data


def _field(file: Path, fields: dict[str, str], names: Sequence[str]) -> str:
    for name in names:
        if (key := name.replace(" ", "")) in fields:  # NRRD takes its names with and without
            return fields[key]
    raise missing(file, " or ".join(names))


def _numbers(file: Path, fields: dict[str, str], names: Sequence[str], count: int) -> np.ndarray:
    words = _field(file, fields, names)
    try:
        numbers = np.array([float(word) for word in words.split()])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise wrong(file, f"{' or '.join(names)} is '{words[:80]}' (expected {count} finite number(s))")
    return numbers


def _vectors(file: Path, words: str, count: int) -> np.ndarray:
    """(count, 3) from ``(1,0,0) (0,1,0) ...``; ``none``, of an axis that is not in space, is left out."""
    rows = [part.split(",") for part in re.findall(r"\(([^()]*)\)", words)]
    try:
        vectors = np.array([[float(word) for word in row] for row in rows])
    except ValueError:
        vectors = np.zeros(0)
    if vectors.shape != (count, 3) or not np.isfinite(vectors).all():
        raise wrong(file, f"'{words[:80]}' is no place in space (expected {count} vector(s) of 3 numbers)")
    return vectors
