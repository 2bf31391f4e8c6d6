# SPDX-License-Identifier: Apache-2.0
"""Header of NIfTI-1 files (.nii, .nii.gz; pairs of .hdr and .img), read without repair of odd values."""

import gzip
from itertools import product
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import affine_of, spacing_of, swap_lps_ras, to_world
from lungcad.printable import file_label
from lungcad.reading.header import VolumeHeader, missing_field, not_grey, three_axes, wrong_field
from lungcad.reading.text_fields import checked_beside

GZIP_MAGIC = b"\x1f\x8b"
FIELDS = np.dtype({
    "names": ["size", "dim", "datatype", "bitpix", "pixdim", "vox_offset", "slope", "intercept", "units", "codes",
              "quatern", "qoffset", "srow", "magic"],
    "formats": ["i4", "(8,)i2", "i2", "i2", "(4,)f4", "f4", "f4", "f4", "u1", "(2,)i2", "(3,)f4", "(3,)f4", "(3,4)f4",
                "S4"],
    "offsets": [0, 40, 70, 72, 76, 108, 112, 116, 123, 252, 256, 268, 280, 344],
    "itemsize": 348,
})  # fmt: skip
"""Fields of nifti1.h that are used here."""
PIXELS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""Pixel type by datatype; the others are colour, complex or longer than a double."""
FIRST_BYTE = {b"n+1": 352, b"ni1": 0}
"""First byte that pixels can have, by magic: behind the header, or in a file of their own."""
SCANNER = 1
"""Code of a qform or sform that maps to the scanner's coordinates."""
STEP_TOLERANCE_MM = 5e-3
"""Largest difference of a step between pixdim and the form."""
CORNER_TOLERANCE_MM = 0.2
"""Largest distance of a corner of the volume by qform from the same by sform: quaternions have single precision."""
SPACE_UNITS, UNKNOWN_OR_MM = 0x07, (0, 2)
"""Bits of xyzt_units that hold the unit of space, and their values for no unit and mm."""


def read_nifti(file: Path) -> VolumeHeader:
    """Read a NIfTI-1 header; raises as :func:`lungcad.reading.volume_file.read_volume_header`.

    The affine is the form (qform or sform) that maps to the scanner's coordinates; if both do, they must agree. Without
    such a form the sform counts, else the qform.
    """
    with file.open("rb") as opened:
        packing = "gzip" if opened.read(2) == GZIP_MAGIC else ""
    with gzip.open(file) if packing else file.open("rb") as opened:
        content = opened.read(FIELDS.itemsize).ljust(FIELDS.itemsize, b"\0")
    both = [np.frombuffer(content, FIELDS.newbyteorder(order))[0] for order in ("<", ">")]
    header = next((read for read in both if read["size"] == FIELDS.itemsize and read["magic"] in FIRST_BYTE), None)
    if header is None:
        text = f"{file_label(file.name)} has no NIfTI-1 header (Analyze 7.5, which looks alike, states no orientation)."
        raise InputError("E-CORRUPT", text, "Write it as NIfTI-1, or copy it again.")
    size, lead, first = _size(file, header), header["vox_offset"], FIRST_BYTE[header["magic"]]
    affine = _affine(file, header, size)
    if not (first <= lead < 2**31 and lead == int(lead)):
        raise wrong_field(file, f"vox_offset is {lead:g} (expected a whole number from {first})")
    if int(header["units"]) & SPACE_UNITS not in UNKNOWN_OR_MM:
        raise wrong_field(file, f"xyzt_units is {header['units']} (expected mm)")
    pixel = _pixel(file, header).newbyteorder("<" if header is both[0] else ">")
    slope, intercept = _rescale(file, header)
    if first:
        return VolumeHeader(affine, size, pixel, file, 0, packing, int(lead), slope, intercept)
    image = file.with_suffix(".img")
    data = checked_beside(file, image if image.exists() else file.with_suffix(".img.gz"))
    packing = "gzip" if data.name.endswith(".gz") else ""
    return VolumeHeader(affine, size, pixel, data, 0, packing, int(lead), slope, intercept)


def _affine(file: Path, header: np.void, size: tuple[int, int, int]) -> np.ndarray:
    """Affine (4, 4), index to LPS mm, from the forms that the header states, which must agree over ``size`` voxels."""
    forms = [_quaternion_form(header), np.vstack([header["srow"], [0, 0, 0, 1]])]
    stated = [(code, swap_lps_ras(form)) for code, form in zip(header["codes"], forms, strict=True) if code > 0]
    if not stated:
        raise missing_field(file, "qform_code or sform_code above 0")
    places = [place for code, place in stated if code == SCANNER] or [stated[-1][1]]
    spacing = header["pixdim"][1:]
    if not (np.isfinite(places).all() and np.isfinite(spacing).all() and spacing.min() > 0):
        raise wrong_field(file, f"pixdim is {spacing}, or a form is not finite")
    corners = np.array([*product(*((0, count - 1) for count in size))])
    apart = to_world(places[0], corners) - to_world(places[-1], corners)
    if np.linalg.norm(apart, axis=1).max() > CORNER_TOLERANCE_MM:
        raise wrong_field(file, "its qform and sform disagree")
    steps = spacing_of(places[-1])
    if np.abs(steps - spacing).max() > STEP_TOLERANCE_MM:
        raise wrong_field(file, f"pixdim is {spacing}, but its form has steps of {steps} mm")
    return places[-1]


def _size(file: Path, header: np.void) -> tuple[int, int, int]:
    """Number of voxels along each axis."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise wrong_field(file, f"dim[0] is {count} (expected from 1 to 7)")
    return three_axes(file, header["dim"][1 : count + 1].tolist())


def _pixel(file: Path, header: np.void) -> np.dtype:
    """Type of a voxel, without its byte order."""
    code = int(header["datatype"])
    if code not in PIXELS:
        raise not_grey(f"datatype {code}")
    pixel = np.dtype(PIXELS[code])
    if header["bitpix"] != 8 * pixel.itemsize:
        raise wrong_field(file, f"bitpix is {header['bitpix']} for datatype {code} (expected {8 * pixel.itemsize})")
    return pixel


def _rescale(file: Path, header: np.void) -> tuple[float, float]:
    """Slope and intercept; a slope of 0, or nibabel's NaN, means that there is no rescale."""
    slope, intercept = float(header["slope"]), float(header["intercept"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all() or slope < 0:
        raise wrong_field(
            file, f"scl_slope is {slope}, scl_inter {intercept} (expected finite numbers, the slope above 0)"
        )
    return slope, intercept


def _quaternion_form(header: np.void) -> np.ndarray:
    """Affine (4, 4) of NIfTI's method 2: rotation by a quaternion; the third axis is reversed where pixdim[0] < 0."""
    from scipy.spatial.transform import Rotation

    if not np.isfinite(header["quatern"]).all():
        return np.full((4, 4), np.nan)
    imaginary = header["quatern"].astype(float)
    real_squared = 1.0 - imaginary @ imaginary
    turn = Rotation.from_quat(
        [*imaginary, np.sqrt(real_squared) if real_squared > 1e-7 else 0.0]
    ).as_matrix()  # as niftilib has it
    factor = np.array([1, 1, -1 if header["pixdim"][0] < 0 else 1])
    return affine_of(turn * header["pixdim"][1:] * factor, header["qoffset"])
