# SPDX-License-Identifier: Apache-2.0
"""Geometry: slices to one regular grid in patient millimetres, or a refusal that names the place of the fault.

Only ImagePositionPatient, ImageOrientationPatient and PixelSpacing are used (PS3.3 C.7.6.2.1.1); SliceThickness,
SpacingBetweenSlices and InstanceNumber never are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.geometry import affine_of
from lungcad.printable import file_label

ONE_RECONSTRUCTION = "Choose a series of one reconstruction, or take the files that do not belong out of the folder."

COSINE_TOLERANCE = 2e-3
"""Largest error of a direction cosine's length and right angle: headers round to three decimals."""
ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of a direction cosine within a series: a quarter of a pixel at the edge of the field of view."""
SPACING_RELATIVE_TOLERANCE = 1e-4
"""Largest difference of PixelSpacing within a series: a twentieth of a pixel over 512 columns."""
GRID_TOLERANCE_MM = 0.101
"""Largest distance of a slice from its regular place between the outermost slices, all three rounded to 0.1 mm."""
GRID_TOLERANCE_SHARE = 0.4
"""Largest such distance as a share of the slice distance: a missing thin slice moves others by half of it."""
SAG_FROM_MM, SAG_MM, SAG_STEP_MM = 2 * GRID_TOLERANCE_MM, 0.5, 0.15
"""Limits of the gradual shift of slices over a sagging table: offsets above the first count as sag, the second is the
largest offset accepted, the third the largest bend between neighbours."""
SAME_PLACE_MM = 0.01
"""Distance along the normal below which two images share a place."""
FEW_ALONE = 2
"""Largest number of images beyond a gap that may be strays: the refusal names the first."""
NEAR = 0.4
"""Share of the usual slice distance below which two neighbouring images are the same slice twice."""
TILT_DEGREES = 0.5
OBLIQUE_DEGREES = 1.0
NOT_AXIAL_DEGREES = 25.0


@dataclass(frozen=True)
class Stack:
    """Slices of one regular stack, and its grid.

    Attributes:
        groups: slices by ascending position along the normal; more than one in a group share the place.
        affine: (4, 4) index (x, y, z) to LPS mm; its third column holds the shear where there is one.
        normal: unit normal of the slices; Z ascends along it.
        tilt_degrees: angle between the line of the slice origins and the normal; 0 where rounding explains it.
        steep_degrees: angle between the normal and the patient's long axis.
        oblique_degrees: largest angle between a grid axis and the nearest patient axis.
        sag_mm: largest distance of a slice's origin from the line through the outermost.
    """

    groups: list[list[Slice]]
    affine: np.ndarray
    normal: np.ndarray
    tilt_degrees: float
    steep_degrees: float
    oblique_degrees: float
    sag_mm: float = 0.0


def build_stack(slices: Sequence[Slice]) -> Stack:
    """Sort the slices along their normal and derive the affine of the grid.

    Raises:
        DicomSeriesError: E-MATRIX, E-GEOM-IOP, E-GEOM-ORIENT, E-GEOM-PIXSPACING, E-GEOM-SPACING, E-GEOM-DUP.
    """
    row, column, normal = _common_axes(slices)
    origins = np.array([piece.position_mm for piece in slices])
    along = origins @ normal
    order = np.argsort(along, kind="stable")
    groups: list[list[Slice]] = [[slices[order[0]]]]
    for previous, index in pairwise(order):
        if along[index] - along[previous] < SAME_PLACE_MM:
            groups[-1].append(slices[index])
        else:
            groups.append([slices[index]])
    if len(groups) < 2:
        text = f"All {len(slices)} images lie at {_at(slices[0])}."
        advice = "Choose a series that covers the chest; if this one does, its positions were lost: export it again."
        raise DicomSeriesError("E-GEOM-DUP", text, advice)
    firsts = np.array([group[0].position_mm for group in groups])
    _check_regular(firsts, normal, groups)
    step = (firsts[-1] - firsts[0]) / (len(firsts) - 1)
    offsets = _offsets_mm(groups, firsts, step)
    sag_mm = float(np.linalg.norm(offsets, axis=1).max())
    origin = firsts[0] + (offsets.max(axis=0) + offsets.min(axis=0)) / 2 if sag_mm > SAG_FROM_MM else firsts[0]
    drift_mm = np.linalg.norm(step - (step @ normal) * normal) * (len(firsts) - 1)
    # positions rounded to 0.1 mm seem to tilt a short stack
    tilt = _degrees(step @ normal / np.linalg.norm(step)) if drift_mm > SAG_FROM_MM else 0.0
    if drift_mm < SAME_PLACE_MM:  # rounding noise: keep the grid exactly upright
        step = np.round((step @ normal) * normal, 9)
    between_rows, between_columns = slices[0].pixel_spacing_mm
    affine = affine_of(np.stack([row * between_columns, column * between_rows, step], axis=1), origin)
    nearest = min(np.abs(row).max(), np.abs(column).max(), np.abs(normal).max())
    return Stack(groups, affine, normal, tilt, _degrees(abs(normal[2])), _degrees(nearest), sag_mm)


def _degrees(cosine: float) -> float:
    """Angle of a cosine in degrees."""
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _common_axes(slices: Sequence[Slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (3,) common to all slices: row direction, column direction, normal.

    Raises:
        DicomSeriesError: E-MATRIX, E-GEOM-IOP, E-GEOM-ORIENT, E-GEOM-PIXSPACING.
    """
    sizes = [(piece.format.columns, piece.format.rows) for piece in slices]
    if len(set(sizes)) > 1:
        shown = ", ".join(f"{x} x {y}" for x, y in sorted(set(sizes))[:4])
        rare = min(set(sizes), key=lambda size: (sizes.count(size), size))
        text = f"The images have different sizes: {shown} pixels; the rarest at {_at(slices[sizes.index(rare)], True)}."
        raise DicomSeriesError("E-MATRIX", text, ONE_RECONSTRUCTION)
    cosines = np.array([piece.orientation for piece in slices])
    for piece, (r, c) in zip(slices, cosines.reshape(-1, 2, 3), strict=True):
        errors = abs(np.linalg.norm(r) - 1), abs(np.linalg.norm(c) - 1), abs(r @ c)
        if max(errors) > COSINE_TOLERANCE:
            off = f"is not two unit vectors at right angles (off by {max(errors):.3f})"
            text = f"ImageOrientationPatient at {_at(piece)} {off}."
            raise DicomSeriesError("E-GEOM-IOP", text, AGAIN)
    common = np.median(cosines, axis=0)
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        other = slices[int(np.abs(cosines - common).max(axis=1).argmax())]
        text = f"The images have different orientations, the most unusual at {_at(other, True)}."
        raise DicomSeriesError("E-GEOM-ORIENT", text, "Choose a series of parallel axial images.")
    spacings = np.array([piece.pixel_spacing_mm for piece in slices])
    usual = np.median(spacings, axis=0)
    if np.abs(spacings / spacings[0] - 1).max() > SPACING_RELATIVE_TOLERANCE:
        other = slices[int(np.abs(spacings / usual - 1).max(axis=1).argmax())]
        values = " and ".join("{:g}\\{:g}".format(*spacing) for spacing in (usual, other.pixel_spacing_mm))
        text = f"PixelSpacing differs within the series: {values} mm, the latter at {_at(other, True)}."
        raise DicomSeriesError("E-GEOM-PIXSPACING", text, ONE_RECONSTRUCTION)
    row = cosines[0, :3] / np.linalg.norm(cosines[0, :3])
    column = cosines[0, 3:] - (cosines[0, 3:] @ row) * row
    column /= np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _check_regular(firsts: np.ndarray, normal: np.ndarray, groups: list[list[Slice]]) -> None:
    """Refuse gaps and uneven distances of places ``firsts`` (n, 3) along the normal (E-GEOM-SPACING, E-GEOM-DUP)."""
    along = firsts @ normal
    gaps = np.diff(along)
    regular = np.linspace(along[0], along[-1], len(along))
    step = (along[-1] - along[0]) / (len(along) - 1)
    if np.abs(along - regular).max() <= min(GRID_TOLERANCE_MM, GRID_TOLERANCE_SHARE * step):
        return
    _check_copies(firsts, gaps)
    _check_distance_change(firsts, gaps)
    usual = float(np.median(gaps))
    holes = []
    for index in np.flatnonzero(gaps > 1.5 * usual):
        missing = gaps[index] / usual - 1
        if abs(missing - round(missing)) < 0.1:
            holes.append(f"{round(missing)} slice(s) missing between {_mm(firsts[index])} and {_mm(firsts[index + 1])}")
    odd = int(np.argmax(np.abs(gaps - usual)))
    uneven = f"the distance is {gaps[odd]:.2f} mm between {_mm(firsts[odd])} and {_mm(firsts[odd + 1])}"
    further = f", and {len(holes) - 3} more gaps" if len(holes) > 3 else ""
    text = f"{'; '.join(holes[:3]) + further if holes else uneven} (expected {usual:.2f} mm)."
    widest = int(np.argmax(gaps)) + 1
    alone = min(groups[:widest], groups[widest:], key=len)
    advice = AGAIN
    if len(alone) <= FEW_ALONE and len(groups) > 4 * FEW_ALONE:
        advice += f" If {_at(alone[0][0], True)} is no slice of the scan, take the file out of the folder."
    raise DicomSeriesError("E-GEOM-SPACING", text[0].upper() + text[1:], advice)


def _check_copies(firsts: np.ndarray, gaps: np.ndarray) -> None:
    """Refuse images that lie so near to others that they must be copies of the same slices (E-GEOM-DUP)."""
    near = np.flatnonzero(gaps < NEAR * np.quantile(gaps, 0.9))
    kept = np.delete(np.concatenate([[0.0], np.cumsum(gaps)]), near + 1)
    if len(near) and len(kept) > 2 and np.ptp(np.diff(kept)) < 2 * GRID_TOLERANCE_MM:
        text = f"{len(near)} image(s) lie {gaps[near].min():.2f} mm beside another one, first at {_mm(firsts[near[0]])}"
        advice = "Choose a series that was sent once, of one acquisition and reconstruction."
        raise DicomSeriesError("E-GEOM-DUP", f"{text}: the same slices twice, or two acquisitions.", advice)


def _check_distance_change(firsts: np.ndarray, gaps: np.ndarray) -> None:
    """Refuse a series with a planned change of slice distance, such as thin slices at the top and thick ones below."""
    steps = np.flatnonzero(np.abs(np.diff(gaps)) > GRID_TOLERANCE_MM) + 1
    runs = np.split(gaps, steps)
    if 1 < len(runs) <= 4 and all(len(run) >= 3 for run in runs):
        parts = [f"{run.mean():.2f} mm" for run in runs]
        text = f"The slice distance changes at {_mm(firsts[steps[0]])}: {', then '.join(parts)}."
        advice = "Choose a series of one slice distance, or put the images of each distance into a folder of its own."
        raise DicomSeriesError("E-GEOM-SPACING", text, advice)


def _offsets_mm(groups: list[list[Slice]], firsts: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Offsets (n, 3) in mm of the slices from one straight line; refuses shifted slices, and images that share a place
    with different offsets (E-GEOM-SPACING, E-GEOM-DUP).
    """
    offsets = firsts - (firsts[0] + np.arange(len(firsts))[:, None] * step)
    off = np.linalg.norm(offsets, axis=1)
    if off.max() > SAG_FROM_MM:
        bends = np.linalg.norm(offsets[1:-1] - (offsets[:-2] + offsets[2:]) / 2, axis=1)
        if off.max() > SAG_MM or (len(bends) and bends.max() > SAG_STEP_MM):
            at = int(off.argmax()) if off.max() > SAG_MM else int(bends.argmax()) + 1
            text = f"The slice at {_mm(firsts[at])} is shifted {off[at]:.2f} mm against the others."
            raise DicomSeriesError("E-GEOM-SPACING", text, "Choose a series of one reconstruction.")
    for group in groups:
        apart = np.ptp(np.array([piece.position_mm for piece in group]), axis=0).max()
        if apart > SAME_PLACE_MM:
            text = f"Images at {_at(group[0])} overlap with a shift of {apart:.2f} mm."
            raise DicomSeriesError("E-GEOM-DUP", text, "Choose a series of one acquisition.")
    return offsets


def _mm(position: np.ndarray) -> str:
    """Height of a position (3,) in words."""
    return f"z={position[2]:.1f} mm"


def _at(piece: Slice, with_file: bool = False) -> str:
    """Height and number of a slice in words, with the name of its file where that is asked for."""
    named = [f"image {piece.number}"] if piece.number is not None else []
    named += [file_label(piece.header.path.name)] if with_file else []
    return piece.height + (f" ({', '.join(named)})" if named else "")
