# SPDX-License-Identifier: Apache-2.0
"""Everything that can be said about a series without decoding a pixel."""

from dataclasses import dataclass

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lungcad.dicom.codecs import LOSSY, is_supported
from lungcad.dicom.enhanced import is_enhanced, multi_frame
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.frames import Slice, TagError, collect, integer, single_frame
from lungcad.dicom.geometry import NOT_AXIAL_DEGREES, OBLIQUE_DEGREES, TILT_DEGREES, Stack, build_stack
from lungcad.dicom.header import Header
from lungcad.dicom.leniency import GIB, Leniency
from lungcad.dicom.select import Series, check_kinds
from lungcad.dicom.source import TRAILER_BYTES
from lungcad.volume import Notice

WARN_SPACING_MM = 2.5
"""LUNA16 left out scans with larger distances (Setio et al. 2017)."""
CHEST_WIDTH_MM = 200.0
CHEST_LENGTH_MM = 80.0


@dataclass(frozen=True)
class Plan:
    """A series that may be decoded: its regular stack, and what was noticed."""

    stack: Stack
    notices: list[Notice]

    @property
    def first(self) -> Slice:
        """The lowest slice along the normal."""
        return self.stack.groups[0][0]


def make_plan(series: Series, leniency: Leniency) -> Plan:
    """Check a series from its headers.

    Raises:
        DicomSeriesError: any code that needs no pixels.
    """
    check_kinds(series, leniency)
    headers = series.images + (series.derived if leniency.allow_derived else [])
    _check_size(headers, leniency)
    _check_syntax(headers)
    slices = collect(headers, lambda header: _slices(header, leniency))
    if len(slices) < leniency.min_slices:
        text = f"{len(slices)} slice(s) (expected at least {leniency.min_slices})."
        raise DicomSeriesError("E-FEW-SLICES", text, "Give the folder of a whole CT series of the chest.")
    stack = build_stack(slices)
    _check_stack(stack, leniency)
    return Plan(stack, _header_notices(headers) + describe_grid(stack.affine, _shape(stack)) + _oblique(stack))


def _slices(header: Header, leniency: Leniency) -> list[Slice]:
    return multi_frame(header, leniency.allow_derived) if is_enhanced(header) else single_frame(header)


def _check_size(headers: list[Header], leniency: Leniency) -> None:
    """Refuse by the headers' own claim, before anything is allocated."""
    voxels = 0
    for header in headers:
        try:
            frame = integer(header.dataset, "Rows", 1, 65535) * integer(header.dataset, "Columns", 1, 65535)
            frame *= max(integer(header.dataset, "NumberOfFrames", 0, 2**31, 1), 1)  # of single images also 0
        except TagError:
            continue  # told by the tag checks
        voxels += frame
        stated = header.pixels.length if header.pixels else None
        # 4 bytes are the largest pixel; uncompressed files are limited by their own size
        if header.transfer_syntax == DeflatedExplicitVRLittleEndian and stated and stated > 4 * frame + TRAILER_BYTES:
            text = f"{header.path.name} inflates to {stated} bytes of pixels for an image of {frame} pixels."
            raise DicomSeriesError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
    if 4 * voxels > leniency.memory_limit_bytes:
        text = f"{voxels / 1e6:.0f} million voxels need {4 * voxels / GIB:.1f} GiB"
        limit = f"(expected at most {leniency.memory_limit_bytes / GIB:.1f} GiB)"
        raise DicomSeriesError("E-SIZE", f"{text} {limit}.", "Raise memory_limit_bytes if the data are right.")


def _check_syntax(headers: list[Header]) -> None:
    for header in headers:
        syntax = header.transfer_syntax
        encapsulated = header.pixels is not None and header.pixels.length is None
        if not is_supported(syntax) or (encapsulated and not header.has_meta):
            why = "" if header.has_meta else " (guessed: the file has no meta information)"
            text = f"Transfer syntax {syntax}{why} cannot be read."
            advice = "Convert the series to an uncompressed or JPEG 2000 lossless transfer syntax."
            raise DicomSeriesError("E-TRANSFER-SYNTAX", text, advice)


def _check_stack(stack: Stack, leniency: Leniency) -> None:
    if len(stack.groups) < leniency.min_slices:
        text = f"{len(stack.groups)} different slice(s) (expected at least {leniency.min_slices})."
        raise DicomSeriesError("E-FEW-SLICES", text, "Give the folder of a whole CT series of the chest.")
    if stack.steep_degrees > NOT_AXIAL_DEGREES and not leniency.allow_non_axial:
        text = f"The slices are not axial: their normal is {stack.steep_degrees:.0f} degrees off the long axis"
        advice = "Choose the axial series, or pass allow_non_axial=True to permute the axes."
        raise DicomSeriesError("E-GEOM-NOT-AXIAL", f"{text} (expected at most {NOT_AXIAL_DEGREES:.0f}).", advice)
    if stack.tilt_degrees > TILT_DEGREES and not leniency.correct_tilt:
        text = f"Gantry tilt: the slices are stacked {stack.tilt_degrees:.1f} degrees off their normal."
        advice = "Choose a series without tilt, or pass correct_tilt=True to resample it."
        raise DicomSeriesError("E-GEOM-TILT", text, advice)
    spacing = abs(float(stack.affine[:3, 2] @ stack.normal))
    if spacing > leniency.max_spacing_mm + 1e-3:
        text = f"Slices are {spacing:.2f} mm apart (expected at most {leniency.max_spacing_mm:g} mm)."
        advice = "Choose a thinner reconstruction, or raise max_spacing_mm and expect missed nodules."
        raise DicomSeriesError("E-SPACING-THICK", text, advice)


def _shape(stack: Stack) -> tuple[int, int, int]:
    layout = stack.groups[0][0].format
    return layout.columns, layout.rows, len(stack.groups)


def _oblique(stack: Stack) -> list[Notice]:
    if stack.oblique_degrees <= OBLIQUE_DEGREES:
        return []
    return [Notice("N-OBLIQUE", f"the slices are turned {stack.oblique_degrees:.1f} degrees against the patient axes.")]


def describe_grid(affine: np.ndarray, shape: tuple[int, int, int]) -> list[Notice]:
    """W-SPACING and W-COVERAGE for a grid: (4, 4) affine in mm, (X, Y, Z) voxels."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    extent = spacing * shape
    notices = []
    if spacing[2] > WARN_SPACING_MM + 1e-3:
        text = f"slices are {spacing[2]:.2f} mm apart (expected at most {WARN_SPACING_MM}): nodules may be missed."
        notices.append(Notice("W-SPACING", text))
    if min(extent[:2]) < CHEST_WIDTH_MM or extent[2] < CHEST_LENGTH_MM:
        size = " x ".join(f"{side:.0f}" for side in extent)
        chest = f"{CHEST_WIDTH_MM:.0f} x {CHEST_WIDTH_MM:.0f} x {CHEST_LENGTH_MM:.0f}"
        text = f"the volume is {size} mm (expected {chest} or more)."
        notices.append(Notice("W-COVERAGE", text))
    return notices


def _header_notices(headers: list[Header]) -> list[Notice]:
    notices = []
    if any(is_enhanced(header) for header in headers):
        notices.append(Notice("N-ENHANCED", "multi-frame object; slice numbers are frame numbers."))
    lossy = sum(header.transfer_syntax in LOSSY or header.text("LossyImageCompression") == "01" for header in headers)
    if lossy:
        notices.append(Notice("W-LOSSY", f"{lossy} of {len(headers)} object(s) were compressed with loss."))
    if any(header.text("PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        notices.append(Notice("W-MONOCHROME1", "display is inverted; the HU are not."))
    bare = sum(not header.has_meta for header in headers)
    if bare:
        notices.append(Notice("W-NO-META", f"{bare} file(s) without DICOM meta information; the encoding was guessed."))
    return notices
