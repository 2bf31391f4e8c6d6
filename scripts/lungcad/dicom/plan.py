# SPDX-License-Identifier: Apache-2.0
"""Plan of a series: every check that needs its headers only, before a pixel is decoded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lungcad.dicom.acquisitions import check_acquisitions, readable_acquisitions, take_acquisition
from lungcad.dicom.advice import choose_acquisition, option
from lungcad.dicom.codecs import LOSSY, NATIVE, is_supported
from lungcad.dicom.enhanced import check_concatenations, is_enhanced, multi_frame
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice, single_frame
from lungcad.dicom.geometry import NOT_AXIAL_DEGREES, OBLIQUE_DEGREES, SAG_FROM_MM, TILT_DEGREES, Stack, build_stack
from lungcad.dicom.grouped import Series
from lungcad.dicom.header import PIXEL_DATA, Header
from lungcad.dicom.identity import check_frame_of_reference, check_person
from lungcad.dicom.image_type import is_plain_original, is_reformatted, name_described
from lungcad.dicom.leniency import GIB, Leniency
from lungcad.dicom.select import check_kinds
from lungcad.dicom.source import TRAILER_BYTES
from lungcad.dicom.strays import Sorting, read_without_strays
from lungcad.dicom.tags import TagError, read_integer
from lungcad.geometry import spacing_of
from lungcad.printable import file_label
from lungcad.volume import CHEST_MM, Notice, holds_chest, is_wider

WARN_SPACING_MM = 2.5
"""Distance of slices or pixels above which nodules may be missed; LUNA16 left out thicker scans (Setio et al. 2017)."""


@dataclass(frozen=True)
class Plan:
    """Series that passed the checks of its headers: its regular stack of slices, and the notices."""

    stack: Stack
    notices: list[Notice]

    @property
    def first(self) -> Slice:
        """First slice along the normal."""
        return self.stack.groups[0][0]


def make_plan(series: Series, leniency: Leniency, acquisition: str | None = None) -> Plan:
    """Check a series by its headers.

    Args:
        series: objects of the series.
        leniency: exceptions to the strict rules.
        acquisition: label of the acquisition to read, where the series holds several.

    Raises:
        DicomSeriesError: any code that does not depend on pixels.
    """
    check_kinds(series, leniency)
    sorting = read_slices(series, leniency)
    slices, notices = sorting.slices, sorting.notices
    _check_syntax(_headers(slices))
    check_concatenations(_headers(slices))
    notices += check_person(_headers(slices))
    if acquisition is not None:
        before, slices = len(slices), take_acquisition(slices, acquisition)
        if others := before - len(slices):
            notices.append(Notice("N-DROPPED", f"{others} image(s) of other acquisitions left out."))
    if len(slices) < leniency.min_slices:
        if slices and not series.images:
            text = f"{len(slices)} derived image(s), no stack of slices (expected {leniency.min_slices} or more)."
            raise DicomSeriesError("E-NOT-CT", text, "Choose an original axial CT series of the chest.")
        text = f"{len(slices)} slice(s) (expected at least {leniency.min_slices})."
        raise DicomSeriesError("E-FEW-SLICES", text, "Give the folder of a whole CT series of the chest.")
    stack, found = _stack_of_acquisition(slices, leniency.min_slices)
    _check_stack(stack, leniency)
    notices += found + _header_notices(slices) + describe_grid(stack.affine, _shape(stack)) + _line_notices(stack)
    return Plan(stack, notices)


def read_slices(series: Series, leniency: Leniency) -> Sorting:
    """Read the slices of a series without their pixels, strays left out; raises DicomSeriesError."""
    candidates = series.candidates(leniency)
    _check_size(candidates, leniency)
    doubtful = series.doubtful(leniency)
    min_slices = leniency.min_slices
    return read_without_strays(candidates, lambda header: _slices_of_object(header, leniency), min_slices, doubtful)


def _stack_of_acquisition(slices: list[Slice], min_places: int) -> tuple[Stack, list[Notice]]:
    """Build the stack of one acquisition; a refusal names the acquisitions of ``min_places`` places to choose from."""
    try:
        notices = check_frame_of_reference(_headers(slices))
        notices += check_acquisitions(slices, min_places)
        return build_stack(slices), notices
    except DicomSeriesError as error:
        labels = (
            readable_acquisitions(slices, min_places)
            if error.code in ("E-IDENTITY", "E-GEOM-SPACING", "E-GEOM-DUP")
            else []
        )
        if not labels:
            raise
        raise DicomSeriesError(error.code, error.message, choose_acquisition(labels)) from error


def _headers(slices: list[Slice]) -> list[Header]:
    """Headers of the objects that hold the slices, each once."""
    return list({id(piece.header): piece.header for piece in slices}.values())


def _slices_of_object(header: Header, leniency: Leniency) -> list[Slice]:
    """Read the slices of one object; raises TagError."""
    if is_enhanced(header):
        return multi_frame(header, leniency.allow_derived, leniency.assume_hu)
    return single_frame(header, leniency.assume_hu)


def _check_size(headers: list[Header], leniency: Leniency) -> None:
    """Refuse a series that is too large by its headers (E-SIZE), before memory is allocated for it."""
    voxels = 0
    for header in headers:
        try:
            frame = read_integer(header.dataset, "Rows", 1, 65535) * read_integer(header.dataset, "Columns", 1, 65535)
            frame *= max(read_integer(header.dataset, "NumberOfFrames", 0, 2**31, 1), 1)  # some single images state 0
        except TagError:
            continue  # the tag checks report it
        voxels += frame
        stated = header.pixels.length if header.pixels else None
        # 4 bytes are the largest pixel; uncompressed files are limited by their own size
        if header.transfer_syntax == DeflatedExplicitVRLittleEndian and stated and stated > 4 * frame + TRAILER_BYTES:
            text = f"{file_label(header.path.name)} inflates to {stated} bytes for an image of {frame} pixels."
            raise DicomSeriesError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
    if 4 * voxels > leniency.memory_limit_bytes:
        text = f"{voxels / 1e6:.0f} million voxels need {4 * voxels / GIB:.1f} GiB"
        limit = f"(expected at most {leniency.memory_limit_bytes / GIB:.1f} GiB)"
        advice = f"If the data are right, pass {option('memory_limit_bytes', 4 * voxels)}."
        raise DicomSeriesError("E-SIZE", f"{text} {limit}.", advice)


def _check_syntax(headers: list[Header]) -> None:
    """Refuse pixels that no decoder reads (E-TRANSFER-SYNTAX, E-PIXELS), and compressed ones of an unknown syntax."""
    for header in headers:
        if header.pixels is not None and header.pixels.tag != PIXEL_DATA:
            text = f"{file_label(header.path.name)} holds float pixels, which are not supported for CT."
            raise DicomSeriesError("E-PIXELS", text, "Write HU as whole numbers, or give a volume file of them.")
        syntax = header.transfer_syntax
        stated = syntax if header.has_meta else ""
        encapsulated = header.pixels is not None and header.pixels.length is None
        if header.pixels is not None and header.pixels.has_items and encapsulated and stated in NATIVE:
            text = f"{file_label(header.path.name)} holds compressed pixels, but TransferSyntaxUID says uncompressed."
            raise DicomSeriesError("E-TRANSFER-SYNTAX", text, AGAIN)
        if not is_supported(syntax) or (encapsulated and not header.has_meta):
            why = "" if header.has_meta else " (guessed: the file has no meta information)"
            text = f"Transfer syntax {syntax}{why} cannot be read."
            advice = "Convert the series to an uncompressed or JPEG 2000 lossless transfer syntax."
            raise DicomSeriesError("E-TRANSFER-SYNTAX", text, advice)


def _check_stack(stack: Stack, leniency: Leniency) -> None:
    """Refuse a stack with too few slices, not axial, tilted or with too large a distance.

    Raises:
        DicomSeriesError: E-FEW-SLICES, E-GEOM-NOT-AXIAL, E-GEOM-TILT, E-SPACING-THICK.
    """
    if len(stack.groups) < leniency.min_slices:
        text = f"{len(stack.groups)} different slice(s) (expected at least {leniency.min_slices})."
        raise DicomSeriesError("E-FEW-SLICES", text, "Give the folder of a whole CT series of the chest.")
    if stack.steep_degrees > NOT_AXIAL_DEGREES and not leniency.allow_non_axial:
        reformatted = is_reformatted(stack.groups[0][0].header)
        what = "a reformation (MPR) of another plane" if reformatted else "not axial"
        text = f"The slices are {what}: their normal is {stack.steep_degrees:.0f} degrees off the long axis"
        advice = f"Choose the axial series, or permute the axes with {option('allow_non_axial', True)}."
        raise DicomSeriesError("E-GEOM-NOT-AXIAL", f"{text} (expected at most {NOT_AXIAL_DEGREES:.0f}).", advice)
    if stack.tilt_degrees > TILT_DEGREES and not leniency.correct_tilt:
        text = f"Gantry tilt: the slices are stacked {stack.tilt_degrees:.1f} degrees off their normal."
        advice = f"Choose a series without tilt, or resample it with {option('correct_tilt', True)}."
        raise DicomSeriesError("E-GEOM-TILT", text, advice)
    x, y, _ = spacing_of(stack.affine)
    check_spacing((x, y, abs(float(stack.affine[:3, 2] @ stack.normal))), len(stack.groups), leniency.max_spacing_mm)


def check_spacing(spacing_mm: Sequence[float] | np.ndarray, slices: int, limit_mm: float) -> None:
    """Refuse a grid with too large a distance (x, y, z) between voxels along any axis (E-SPACING-THICK)."""
    what = _too_wide(spacing_mm, slices, limit_mm)
    if what:
        higher = option("max_spacing_mm", math.ceil(max(spacing_mm)))
        advice = f"Choose a thinner reconstruction, or pass {higher} and expect missed nodules."
        raise DicomSeriesError("E-SPACING-THICK", f"{what} (expected at most {limit_mm:g} mm).", advice)


def _too_wide(spacing_mm: Sequence[float] | np.ndarray, slices: int, limit_mm: float) -> str:
    """Distance above a limit between slices or pixels, in words; empty where there is none."""
    x, y, z = spacing_mm
    if is_wider(z, limit_mm, slices):
        return f"Slices are {z:.2f} mm apart"
    return f"Pixels are {x:.2f} x {y:.2f} mm wide" if max(x, y) > limit_mm + 1e-3 else ""


def _shape(stack: Stack) -> tuple[int, int, int]:
    """Columns, rows and slices of a stack."""
    layout = stack.groups[0][0].format
    return layout.columns, layout.rows, len(stack.groups)


def _line_notices(stack: Stack) -> list[Notice]:
    """Notices N-OBLIQUE and N-SAG, and W-SPACING on slices that are thicker than their distance."""
    notices = []
    thick = [piece.thickness_mm for group in stack.groups for piece in group if piece.thickness_mm is not None]
    usual, apart = float(np.median(thick or [0.0])), float(np.linalg.norm(stack.affine[:3, 2]))
    if usual > WARN_SPACING_MM + 0.1 and not is_wider(apart, WARN_SPACING_MM, len(stack.groups)):
        text = f"slices are {usual:g} mm thick (SliceThickness), {apart:.2f} mm apart: small nodules may be blurred."
        notices.append(Notice("W-SPACING", text))
    if stack.sag_mm > SAG_FROM_MM:
        text = f"the slices lie up to {stack.sag_mm:.2f} mm off one line, as over a sagging table."
        notices.append(Notice("N-SAG", text))
    if stack.oblique_degrees > OBLIQUE_DEGREES:
        text = f"the slices are turned {stack.oblique_degrees:.1f} degrees against the patient axes."
        notices.append(Notice("N-OBLIQUE", text))
    return notices


def describe_grid(affine: np.ndarray, shape: tuple[int, int, int]) -> list[Notice]:
    """Notices W-SPACING and W-COVERAGE on a grid: (4, 4) affine to mm, shape (X, Y, Z) in voxels."""
    spacing = spacing_of(affine)
    extent = spacing * shape
    notices = []
    if wide := _too_wide(spacing, shape[2], WARN_SPACING_MM):
        text = f"{wide.lower()} (expected at most {WARN_SPACING_MM}): nodules may be missed."
        notices.append(Notice("W-SPACING", text))
    if not holds_chest(extent):
        size = " x ".join(f"{side:.0f}" for side in extent)
        chest = " x ".join(f"{side:.0f}" for side in CHEST_MM)
        text = f"the volume is {size} mm (expected {chest} or more)."
        notices.append(Notice("W-COVERAGE", text))
    return notices


def _header_notices(slices: list[Slice]) -> list[Notice]:
    """Notices N-ENHANCED, W-DERIVED, W-LOSSY, W-MONOCHROME1, W-NO-META and W-HEADER."""
    notices, headers = [], _headers(slices)
    if any(is_enhanced(header) for header in headers):
        notices.append(Notice("N-ENHANCED", "multi-frame object; slice numbers are frame numbers."))
    derived = sum(not is_plain_original(piece.image_type) for piece in slices)
    if derived:
        text = f"ImageType of {derived} of {len(slices)} image(s) says DERIVED, SECONDARY or MPR: HU may be altered."
        notices.append(Notice("W-DERIVED", text))
    elif name := next(filter(None, map(name_described, headers)), ""):
        text = f"SeriesDescription names a {name}, ImageType does not: the images may be no slices."
        notices.append(Notice("W-DERIVED", text))
    lossy = sum(header.transfer_syntax in LOSSY or header.text("LossyImageCompression") == "01" for header in headers)
    if lossy:
        notices.append(Notice("W-LOSSY", f"{lossy} of {len(headers)} object(s) were compressed with loss."))
    if any(header.text("PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        notices.append(Notice("W-MONOCHROME1", "display is inverted; the HU are not."))
    bare = sum(not header.has_meta for header in headers)
    if bare:
        notices.append(Notice("W-NO-META", f"{bare} file(s) without DICOM meta information; the encoding was guessed."))
    plain = sum(header.is_mislabelled for header in headers)
    if plain:
        text = f"TransferSyntaxUID of {plain} file(s) says compressed, but the pixels are not; read as uncompressed."
        notices.append(Notice("W-HEADER", text))
    return notices
