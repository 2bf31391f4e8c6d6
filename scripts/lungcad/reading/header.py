# SPDX-License-Identifier: Apache-2.0
"""Header of a volume file in one form for all formats, and the refusals that the formats share."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.printable import file_label, printable
from lungcad.volume import Notice

MAX_VOXELS_ALONG_AXIS = 1 << 20
"""Longest axis that a header may state; a larger number must be damaged."""


@dataclass(frozen=True)
class VolumeHeader:
    """Header of a volume file: place of the pixels in the file, their type, and their place in the patient.

    Attributes:
        affine: (4, 4) index to LPS mm.
        size: voxels along the three axes, the fastest first.
        pixel: type and byte order of a voxel.
        data: file with the pixels.
        start: first byte of the pixels, or of the stream that holds them; -1 for pixels at the file's very end.
        packing: compression of that stream: ``gzip``, ``zlib`` or empty.
        lead: bytes of the unpacked stream before the pixels.
        slope, intercept: HU = slope * voxel + intercept.
        notices: notices on fields that the header leaves to the format's defaults.
    """

    affine: np.ndarray
    size: tuple[int, int, int]
    pixel: np.dtype
    data: Path
    start: int
    packing: str
    lead: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    notices: tuple[Notice, ...] = ()

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    @property
    def pixel_bytes(self) -> int:
        """Size of all pixels in bytes."""
        return self.voxels * self.pixel.itemsize


def missing_field(file: Path, what: str) -> InputError:
    """Refusal E-TAG-MISSING of a header without a field, to be raised."""
    text = f"{file_label(file.name)} does not say where its voxels lie or what they are: no {what} in the header."
    return InputError("E-TAG-MISSING", text, "Write the file again with spacing, origin, orientation and byte order.")


def wrong_field(file: Path, what: str) -> InputError:
    """Refusal E-TAG-VALUE of a header with an impossible value, to be raised."""
    text = f"{file_label(file.name)} cannot be placed or read: {printable(what, 200)}."
    return InputError("E-TAG-VALUE", text, "Repair the file's header.")


def not_grey(what: str) -> InputError:
    """Refusal E-NOT-CT of pixels that are not one grey volume, to be raised."""
    return InputError("E-NOT-CT", f"Not one grey 3D image: {printable(what, 200)}.", "Give a CT volume in HU.")


def defaults_notice(fields: list[str]) -> tuple[Notice, ...]:
    """Notice W-HEADER that names the fields a header does not state; none where it states all."""
    if not fields:
        return ()
    return (Notice("W-HEADER", f"The file's header does not state {', '.join(fields)}."),)


def three_axes(file: Path, axes: list[int]) -> tuple[int, int, int]:
    """Size of a volume from the lengths of its axes; all axes after the third must have length 1.

    Raises:
        InputError: E-NOT-CT, E-TAG-VALUE.
    """
    if any(not 1 <= length <= MAX_VOXELS_ALONG_AXIS for length in axes):
        raise wrong_field(file, f"its size is {axes} (expected from 1 to {MAX_VOXELS_ALONG_AXIS})")
    if len(axes) < 3 or any(length != 1 for length in axes[3:]):
        raise not_grey(f"size {axes}")
    x, y, z = axes[:3]
    return x, y, z
