# SPDX-License-Identifier: Apache-2.0
"""The header of NIfTI-1 (.nii, .nii.gz), byte by byte: niftilib repairs odd values before ITK tells them."""

import gzip
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.geometry import affine_of, swap_lps_ras
from lungcad.reading.header import VolumeHeader, missing, wrong

GZIP_MAGIC = b"\x1f\x8b"
FIELDS = np.dtype({
    "names": ["size", "bitpix", "pixdim", "vox_offset", "codes", "quatern", "qoffset", "srow", "magic"],
    "formats": ["i4", "i2", "(4,)f4", "f4", "(2,)i2", "(3,)f4", "(3,)f4", "(3,4)f4", "S4"],
    "offsets": [0, 72, 76, 108, 252, 256, 268, 280, 344],
    "itemsize": 348,
})  # fmt: skip
"""Of nifti1.h, what is looked at here."""
SCANNER = 1
"""Code of a form that leads to the scanner's coordinates."""
FORM_TOLERANCE_MM = 5e-3
"""Largest difference of a step or the origin between two such forms: quaternions in single precision."""


def read_nifti(file: Path) -> VolumeHeader:
    """Read a NIfTI-1 header; raises as :func:`lungcad.reading.volume_file.read_volume_header`.

    The form that claims the scanner's coordinates holds, or both where they agree; without one the sform, or the qform.
    """
    with file.open("rb") as opened:
        packing = "gzip" if opened.read(2) == GZIP_MAGIC else ""
    with gzip.open(file) if packing else file.open("rb") as opened:
        content = opened.read(FIELDS.itemsize).ljust(FIELDS.itemsize, b"\0")
    orders = (np.frombuffer(content, FIELDS.newbyteorder(order))[0] for order in ("<", ">"))
    header = next((one for one in orders if one["size"] == FIELDS.itemsize and one["magic"] == b"n+1"), None)
    if header is None:
        raise InputError("E-CORRUPT", f"{file.name} has no NIfTI-1 header.", "Write it as NIfTI-1, or copy it again.")
    forms = [_quaternion_form(header), np.vstack([header["srow"], [0, 0, 0, 1]])]
    stated = [(code, swap_lps_ras(form)) for code, form in zip(header["codes"], forms, strict=True) if code > 0]
    if not stated:
        raise missing(file, "qform_code or sform_code above 0")
    places = [place for code, place in stated if code == SCANNER] or [stated[-1][1]]
    spacing, lead = header["pixdim"][1:], header["vox_offset"]
    if not (np.isfinite(places).all() and np.isfinite(spacing).all() and spacing.min() > 0 and 352 <= lead < 2**31):
        raise wrong(file, f"pixdim is {spacing}, vox_offset {lead:g}, or a form is not finite")
    if np.abs(places[0] - places[-1]).max() > FORM_TOLERANCE_MM:
        raise wrong(file, "its qform and sform disagree")
    return VolumeHeader("NiftiImageIO", places[-1], file, 0, packing, int(lead), int(header["bitpix"]) // 8)


def _quaternion_form(header: np.void) -> np.ndarray:
    """NIfTI's method 2: a turn by the unit quaternion (a, b, c, d), the third axis reversed where pixdim[0] < 0."""
    from scipy.spatial.transform import Rotation

    if not np.isfinite(header["quatern"]).all():
        return np.full((4, 4), np.nan)
    imaginary = header["quatern"].astype(float)
    rest = 1.0 - imaginary @ imaginary
    turn = Rotation.from_quat([*imaginary, np.sqrt(rest) if rest > 1e-7 else 0.0]).as_matrix()  # as niftilib has it
    factor = np.array([1, 1, -1 if header["pixdim"][0] < 0 else 1])
    return affine_of(turn * header["pixdim"][1:] * factor, header["qoffset"])
