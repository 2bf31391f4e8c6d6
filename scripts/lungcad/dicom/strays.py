# SPDX-License-Identifier: Apache-2.0
"""Strays: single objects of a series that do not belong to its stack of slices.

Workstations store reformations, screen captures and scouts under the series that they were made from. An object that
cannot be a slice of the stack is left out: it has another orientation, a place that another slice already has or that
lies between two slices, or neither a place nor the format of a slice. An object that could fill a gap or continue the
stack makes the series unusable, and the refusal names it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice, TagError, instance_number, read_numbers, single_frame
from lungcad.dicom.header import CT_CLASSES, Header
from lungcad.dicom.image_type import kind_of
from lungcad.printable import file_label
from lungcad.volume import Notice

OTHER_PLANE_DEGREES = 25.0
"""Angle between normals above which two images lie in different planes."""
SAME_PLACE = 0.1
"""Share of the slice distance within which a place counts as taken by a slice."""
NEXT_PLACE = 1.6
"""Number of slice distances from the end of the stack within which an image could continue it."""


@dataclass
class Sorting:
    """Slices that form the stack, and reasons why others are left out.

    Attributes:
        slices: slices of the stack, in no particular order.
        reasons: number of images left out, by reason in words.
    """

    slices: list[Slice] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def notices(self) -> list[Notice]:
        """Notice N-DROPPED with the reasons; none where nothing is left out."""
        if not self.reasons:
            return []
        text = "; ".join(f"{count} with {reason}" for reason, count in self.reasons.items())
        total = sum(self.reasons.values())
        return [Notice("N-DROPPED", f"{total} image(s) that cannot belong to the stack left out: {text}.")]


def read_without_strays(
    headers: Sequence[Header], read: Callable[[Header], list[Slice]], min_slices: int, doubtful: Sequence[Header] = ()
) -> Sorting:
    """Read the slices of all objects and leave out the strays.

    Args:
        headers: objects of one series that could hold slices.
        read: function that returns the slices of one object; raises TagError.
        min_slices: smallest number of slices that form a stack.
        doubtful: objects that are not slices by their header; the series is refused where one could continue the stack.

    Raises:
        DicomSeriesError: E-TAG-MISSING, E-TAG-VALUE, E-NOT-CT, E-CORRUPT: an object that could belong to the stack
            cannot be read.
    """
    slices: list[Slice] = []
    failures: list[tuple[TagError, Header]] = []
    for header in headers:
        try:
            slices += _read_slices(header, read)
        except TagError as error:
            failures.append((error, header))
    result = Sorting(slices)
    if len(slices) >= min_slices:
        _leave_out_other_planes(result, min_slices)
        main = _main_format(result.slices)
        if len(main) > len(result.slices) / 2 and len(main) >= min_slices:
            grid = Grid(main)
            _leave_out_other_formats(result, main, grid)
            failures = [pair for pair in failures if not _is_stray(pair, main[0], grid, result.reasons)]
            _leave_out_derived_copies(result, min_slices)
            failures += _find_disguised(doubtful, main[0], grid)
    if failures:
        _refuse(failures, len(headers))
    return result


def _read_slices(header: Header, read: Callable[[Header], list[Slice]]) -> list[Slice]:
    """Read the slices of one object; raises TagError for any fault."""
    if header.text("SOPClassUID") not in CT_CLASSES:
        raise TagError("E-NOT-CT", "SOPClassUID", "SOPClassUID is not that of a CT image")
    if header.text("Modality").upper() != "CT":
        raise TagError("E-NOT-CT", "Modality", "Modality is not CT")
    try:
        return read(header)
    except TagError:
        raise
    except Exception as error:  # pydicom converts on access and raises many kinds
        raise TagError("E-CORRUPT", "", f"the header cannot be read ({type(error).__name__})") from error


def _refuse(failures: Sequence[tuple[TagError, Header]], total: int) -> None:
    """Raise a refusal with the first faulty tag, its file, and the number of objects with that fault."""
    first, header = failures[0]
    same = sum(error.keyword == first.keyword for error, _ in failures)
    number = instance_number(header.dataset)
    name = (f"image {number}, " if number is not None else "") + file_label(header.path.name)
    advice = first.advice or AGAIN
    if same < total:
        advice += " If it is no slice of the scan, take the file out of the folder."
    raise DicomSeriesError(first.code, f"{first} in {same} of {total} object(s), first in {name}.", advice)


class Grid:
    """Places of a stack of slices along its normal.

    Args:
        slices: parallel slices.

    Attributes:
        normal: unit normal (3,) of the slices.
        places: distances along the normal in mm, ascending, each once.
        step: median distance between places in mm.
        origins: (n, 3) centres of the first pixels in LPS mm.
    """

    def __init__(self, slices: Sequence[Slice]) -> None:
        self.normal = _normal(slices[0].orientation)
        self.places = np.unique(np.round([np.dot(piece.position_mm, self.normal) for piece in slices], 3))
        self.step = float(np.median(np.diff(self.places))) if len(self.places) > 1 else 1.0
        self.origins = np.array([piece.position_mm for piece in slices])

    def off_axis_mm(self, position_mm: Sequence[float]) -> float:
        """Distance in mm, within the plane, of an image's first pixel from the nearest first pixel of the stack."""
        offsets = self.origins - np.asarray(position_mm)
        return float(np.linalg.norm(offsets - np.outer(offsets @ self.normal, self.normal), axis=1).min())

    def has_room_at(self, position_mm: Sequence[float]) -> bool:
        """Whether an image at a position could fill a gap or continue the stack."""
        along = float(np.dot(position_mm, self.normal))
        if np.abs(self.places - along).min() < SAME_PLACE * self.step:
            return False
        above = int(np.searchsorted(self.places, along))
        if above in (0, len(self.places)):
            end = self.places[0] if above == 0 else self.places[-1]
            return abs(along - end) < NEXT_PLACE * self.step
        return bool(self.places[above] - self.places[above - 1] > 1.5 * self.step)


def _normal(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal (3,) from 6 direction cosines; zeros where they do not span a plane."""
    cosines = np.asarray(orientation, float)
    normal = np.cross(cosines[:3], cosines[3:])
    length = np.linalg.norm(normal)
    return normal / length if length > 0.5 else np.array([0.0, 0.0, 0.0])


def _find_disguised(doubtful: Sequence[Header], main: Slice, grid: Grid) -> list[tuple[TagError, Header]]:
    """Objects that are a localizer or of another class by their header, but fit the stack as a further slice."""
    found = []
    for header in doubtful:
        try:
            pieces = single_frame(header)
        except Exception:  # no slice
            continue
        parallel = abs(_normal(pieces[0].orientation) @ grid.normal) > 0.999
        if parallel and _format(pieces[0]) == _format(main) and grid.has_room_at(pieces[0].position_mm):
            text = "an object calls itself a localizer, a projection or no CT image, but lies where a slice could be"
            found.append((TagError("E-NOT-CT", "ImageType", text), header))
    return found


def _leave_out_other_planes(result: Sorting, min_slices: int) -> None:
    """Leave out images of other planes; the stack is the axial plane, or else the most frequent one."""
    planes: list[tuple[np.ndarray, list[Slice]]] = []
    for piece in result.slices:
        normal = _normal(piece.orientation)
        near = (plane for plane in planes if abs(plane[0] @ normal) > np.cos(np.radians(OTHER_PLANE_DEGREES)))
        found = next(near, None)
        if found is None:
            planes.append((normal, [piece]))
        else:
            found[1].append(piece)
    cosine = np.cos(np.radians(OTHER_PLANE_DEGREES))
    axial = [plane for plane in planes if abs(plane[0][2]) > cosine and len(plane[1]) >= min_slices]
    main = max(axial or planes, key=lambda plane: len(plane[1]))[1]
    if len(main) < min_slices or any(not normal.any() for normal, _ in planes):
        return
    grid = Grid(main)
    others = [piece for piece in result.slices if not any(piece is kept for kept in main)]
    if any(grid.has_room_at(piece.position_mm) and grid.off_axis_mm(piece.position_mm) < 1 for piece in others):
        return  # a slice with a wrong orientation: its first pixel lies where that of the next slice would
    if extra := len(others):
        result.slices = main
        result.reasons["another orientation"] += extra


def _format(piece: Slice) -> tuple[float, ...]:
    """Rows, columns and pixel spacing in mm."""
    spacing = [round(value, 3) for value in piece.pixel_spacing_mm]
    return (piece.format.rows, piece.format.columns, *spacing)


def _main_format(slices: Sequence[Slice]) -> list[Slice]:
    """Slices with the most frequent matrix and pixel size."""
    (common, _), *_ = Counter(map(_format, slices)).most_common(1)
    return [piece for piece in slices if _format(piece) == common]


def _leave_out_other_formats(result: Sorting, main: list[Slice], grid: Grid) -> None:
    """Leave out images of another matrix or pixel size, unless one of them could be a slice of the stack."""
    others = [piece for piece in result.slices if _format(piece) != _format(main[0])]
    if others and not any(grid.has_room_at(piece.position_mm) for piece in others):
        result.slices = main
        result.reasons["another matrix or pixel size"] += len(others)


def _leave_out_derived_copies(result: Sorting, min_slices: int) -> None:
    """Leave out derived images where every place also has an original image."""
    originals = [piece for piece in result.slices if kind_of(piece.header) == "image"]
    copies = [piece for piece in result.slices if kind_of(piece.header) != "image"]
    if not copies or len(originals) < max(min_slices, 2):
        return
    grid = Grid(originals)
    is_gapless = np.ptp(np.diff(grid.places)) < SAME_PLACE * grid.step
    if is_gapless and not any(grid.has_room_at(piece.position_mm) for piece in copies):
        result.slices = originals
        result.reasons["a derived image where the original is there"] += len(copies)


def _is_stray(pair: tuple[TagError, Header], main: Slice, grid: Grid, reasons: Counter[str]) -> bool:
    """Whether an object with a faulty tag certainly does not belong to the stack; counts the reason in ``reasons``."""
    error, header = pair
    try:
        position = read_numbers(header.dataset, "ImagePositionPatient", 3)
        if error.keyword == "ImagePositionPatient":
            raise error
    except TagError:
        size = header.text("Rows"), header.text("Columns")
        other_size = all(size) and size != (str(main.format.rows), str(main.format.columns))
        foreign = kind_of(header) != "image" and header.text("SOPClassUID") in CT_CLASSES
        colour = error.keyword == "PhotometricInterpretation" and not header.text("ImagePositionPatient")
        if other_size or foreign or colour:
            reasons["no position"] += 1
            return True
        return False
    try:
        cosine = abs(_normal(read_numbers(header.dataset, "ImageOrientationPatient", 6)) @ grid.normal)
    except TagError:
        cosine = 1.0
    other_plane = cosine < np.cos(np.radians(OTHER_PLANE_DEGREES)) and grid.off_axis_mm(position) >= 1
    if other_plane or not grid.has_room_at(position):
        reasons[f"{error}"] += 1
        return True
    return False
