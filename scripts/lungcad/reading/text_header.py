# SPDX-License-Identifier: Apache-2.0
"""Text headers of MetaImage (.mhd, .mha) and NRRD (.nrrd, .nhdr)."""

import re
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import affine_of, swap_lps_ras
from lungcad.printable import file_label
from lungcad.reading.header import VolumeHeader, defaults_notice, not_grey, three_axes, wrong_field
from lungcad.reading.text_fields import (
    Fields,
    data_file,
    fields_of,
    header_lines,
    numbers_of,
    required_field,
    vectors_of,
    whole_numbers_of,
)

UNIT_TOLERANCE = 2e-3
"""Largest error of a direction's length, as for DICOM's cosines: headers round to three decimals."""
SPACES = {
    "left-posterior-superior": np.eye(4), "right-anterior-superior": swap_lps_ras(np.eye(4)),
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0, 1.0]),
}  # fmt: skip
"""Transform (4, 4) to LPS from each space of NRRD."""
SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
META_PIXELS = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
"""Pixel types by MetaImage's names; a long always has four bytes."""
NRRD_PIXELS = {
    word: code
    for code, words in {
        "i1": "signed char,int8,int8_t", "u1": "uchar,unsigned char,uint8,uint8_t",
        "i2": "short,short int,signed short,signed short int,int16,int16_t",
        "u2": "ushort,unsigned short,unsigned short int,uint16,uint16_t", "i4": "int,signed int,int32,int32_t",
        "u4": "uint,unsigned int,uint32,uint32_t",
        "i8": "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t",
        "u8": "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t", "f4": "float", "f8": "double",
    }.items()
    for word in words.split(",")
}  # fmt: skip
"""Pixel types by each of NRRD's names."""
SPACING, ORIGIN = ["ElementSpacing", "ElementSize"], ["Offset", "Position", "Origin"]
DIRECTION = ["TransformMatrix", "Rotation", "Orientation"]
BYTE_ORDER = ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]
META_FIELDS = (
    *SPACING, *ORIGIN, *DIRECTION, *BYTE_ORDER, "NDims", "DimSize", "ElementType", "ElementDataFile", "HeaderSize",
    "CompressedData", "BinaryData", "ObjectType", "ElementNumberOfChannels", "ElementToIntensityFunctionSlope",
    "ElementToIntensityFunctionOffset", "DistanceUnits",
)  # fmt: skip
NRRD_FIELDS = (
    "type", "dimension", "space", "sizes", "spacedirections", "spaceorigin", "spaceunits", "endian", "encoding",
    "datafile", "byteskip", "lineskip",
)  # fmt: skip


def read_meta_image(file: Path) -> VolumeHeader:
    """Read a MetaImage header; raises as :func:`lungcad.reading.volume_file.read_volume_header`."""
    lines, end = header_lines(file, last=r"ElementDataFile\s*[=:]")
    split = [re.split("[=:]", line, maxsplit=1) for line in lines]
    pairs = [(pair[0].strip(), pair[1].strip()) for pair in split if len(pair) == 2]
    if not pairs or pairs[-1][0] != "ElementDataFile":
        raise InputError("E-CORRUPT", f"{file_label(file.name)} has no MetaImage header.", "Copy the file again.")
    data = data_file(file, pairs[-1][1])
    fields = fields_of(file, pairs, META_FIELDS)
    (axes,) = whole_numbers_of(file, fields, "NDims", 1)
    if axes not in (3, 4):
        raise not_grey(f"{axes} axes")
    size = three_axes(file, whole_numbers_of(file, fields, "DimSize", axes))
    spacing = numbers_of(file, fields, [next((name for name in SPACING if name in fields), SPACING[0])], axes)
    origin = numbers_of(file, fields, ORIGIN, axes)
    rows = np.eye(axes)  # each the direction of an axis; the format's default
    if any(name in fields for name in DIRECTION):
        rows = np.reshape(numbers_of(file, fields, DIRECTION, axes * axes), (axes, axes))
    if (unit := fields.get("DistanceUnits", "mm")) not in ("mm", "?", ""):
        raise wrong_field(file, f"its DistanceUnits are {unit} (expected mm)")
    if spacing.min() <= 0:
        raise wrong_field(file, f"its spacing is {spacing} (expected above 0)")
    if np.abs(np.linalg.norm(rows, axis=1) - 1).max() > UNIT_TOLERANCE:
        raise wrong_field(file, f"its axes are {rows.tolist()} (expected unit vectors)")
    packing = "zlib" if _is_true(file, fields, ["CompressedData"], False) else ""
    start = _meta_start(file, fields, packing, end if data == file else 0)
    assumed = [" or ".join(names) for names in (DIRECTION, BYTE_ORDER) if not any(name in fields for name in names)]
    affine = affine_of(rows[:3, :3].T * spacing[:3], origin[:3])
    pixel = _meta_pixel(file, fields)
    return VolumeHeader(affine, size, pixel, data, start, packing, notices=defaults_notice(assumed))


def _meta_pixel(file: Path, fields: Fields) -> np.dtype:
    """Type and byte order of a voxel; little endian where the header does not say."""
    name = required_field(file, fields, ["ElementType"])
    channels = fields.get("ElementNumberOfChannels", "1")
    if name not in META_PIXELS or channels != "1":
        raise not_grey(f"ElementType {name}, {channels} component(s)")
    for field, neutral in (("ElementToIntensityFunctionSlope", 1), ("ElementToIntensityFunctionOffset", 0)):
        if field in fields and numbers_of(file, fields, [field], 1)[0] != neutral:
            raise wrong_field(file, f"{field} is {fields[field]} (expected {neutral}: readers disagree on any other)")
    if not _is_true(file, fields, ["BinaryData"], True) or fields.get("ObjectType", "Image") != "Image":
        raise wrong_field(file, "its pixels are written as text, or it is no image (expected BinaryData = True)")
    return np.dtype(META_PIXELS[name]).newbyteorder(">" if _is_true(file, fields, BYTE_ORDER, False) else "<")


def _meta_start(file: Path, fields: Fields, packing: str, end: int) -> int:
    """First byte of the pixels: after HeaderSize bytes of a separate file; -1 for pixels at the end of the file."""
    skip = whole_numbers_of(file, fields, "HeaderSize", 1)[0] if "HeaderSize" in fields else 0
    if skip < -1 or (skip == -1 and packing) or (skip > 0 and end):
        raise wrong_field(file, f"HeaderSize is {skip} (expected 0)")
    return -1 if skip == -1 else max(skip, end)


def _is_true(file: Path, fields: Fields, names: list[str], default: bool) -> bool:
    """Whether a field says True, 1 or T; ``default`` where it is absent."""
    if not any(name in fields for name in names):
        return default
    word = required_field(file, fields, names).lower()
    if word not in ("true", "t", "1", "false", "f", "0"):
        raise wrong_field(file, f"{' or '.join(names)} is {word} (expected True or False)")
    return word in ("true", "t", "1")


def read_nrrd(file: Path) -> VolumeHeader:
    """Read an NRRD header; raises as :func:`lungcad.reading.volume_file.read_volume_header`."""
    lines, end = header_lines(file, last="$")
    if not lines or not re.fullmatch(r"NRRD000[1-9]", lines[0]):
        raise InputError("E-CORRUPT", f"{file_label(file.name)} has no NRRD header.", "Copy the file again.")
    split = [line.partition(": ") for line in lines if not line.startswith("#")]  # key/value pairs have :=
    data_of = [value.strip() for name, mark, value in split if mark and name.lower().replace(" ", "") == "datafile"]
    data = data_file(file, data_of[-1] if data_of else "LOCAL")
    pairs = [(name.lower().replace(" ", ""), value.strip()) for name, mark, value in split if mark]
    fields = fields_of(file, pairs, NRRD_FIELDS)
    space = required_field(file, fields, ["space"]).lower()
    to_lps = SPACES.get(SHORT.get(space, space))
    if to_lps is None:
        raise wrong_field(file, f"its space is {space} (expected {' or '.join(SPACES)})")
    if set(fields.get("spaceunits", "mm").replace('"', " ").split()) != {"mm"}:
        raise wrong_field(file, f"its space units are {fields['spaceunits']} (expected mm)")
    columns = vectors_of(file, required_field(file, fields, ["spacedirections"]), 3)
    (origin,) = vectors_of(file, required_field(file, fields, ["spaceorigin"]), 1)
    (axes,) = whole_numbers_of(file, fields, "dimension", 1)
    size = three_axes(file, whole_numbers_of(file, fields, "sizes", axes))
    packing, start = _nrrd_packing(file, fields, end if data == file else 0)
    return VolumeHeader(to_lps @ affine_of(columns.T, origin), size, _nrrd_pixel(file, fields), data, start, packing)


def _nrrd_pixel(file: Path, fields: Fields) -> np.dtype:
    """Type and byte order of a voxel."""
    name = " ".join(required_field(file, fields, ["type"]).lower().split())
    if name not in NRRD_PIXELS:
        raise not_grey(f"type {name}")
    pixel = np.dtype(NRRD_PIXELS[name])
    if pixel.itemsize == 1:
        return pixel
    order = required_field(file, fields, ["endian"]).lower()
    if order not in ("little", "big"):
        raise wrong_field(file, f"endian is {order} (expected little or big)")
    return pixel.newbyteorder("<" if order == "little" else ">")


def _nrrd_packing(file: Path, fields: Fields, end: int) -> tuple[str, int]:
    """Compression and first byte of the pixels; -1, from a byte skip of -1, for pixels at the end of the file."""
    encoding = required_field(file, fields, ["encoding"]).lower()
    packings = {"raw": "", "gz": "gzip", "gzip": "gzip"}
    if encoding not in packings:
        raise wrong_field(file, f"its encoding is {encoding} (expected raw or gzip)")
    skips = [whole_numbers_of(file, fields, name, 1)[0] for name in ("lineskip", "byteskip") if name in fields]
    at_end = fields.get("byteskip") == "-1" and not packings[encoding] and skips in ([-1], [0, -1])
    if any(skips) and not at_end:
        raise wrong_field(file, f"it skips {skips} lines or bytes (expected 0)")
    return packings[encoding], -1 if at_end else end
