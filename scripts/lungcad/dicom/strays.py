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

from lungcad.dicom.enhanced import frame_count, is_enhanced, multi_frame
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice, instance_number, single_frame
from lungcad.dicom.grid import ON_AXIS_MM, SAME_PLACE, Grid, unit_normal
from lungcad.dicom.header import CT_CLASSES, Header
from lungcad.dicom.image_type import kind_of, kind_of_type
from lungcad.dicom.tags import TagError, read_numbers
from lungcad.printable import file_label
from lungcad.volume import Notice

OTHER_PLANE_DEGREES = 25.0
"""Angle between normals above which two images lie in different planes."""
FEW = 0.1
"""Largest share of a series' images that may be pages without a place; more are slices that lost their positions."""


Failure = tuple[TagError, Header]
"""Fault of an object that could be a slice."""


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
    result = Sorting()
    failures: list[Failure] = []
    for header in headers:
        try:
            pieces = _read_slices(header, read)
        except TagError as error:
            failures.append((error, header))
            continue
        result.slices += pieces
        if unplaced := frame_count(header) - len(pieces) if is_enhanced(header) else 0:
            result.reasons["FrameType LOCALIZER and no place"] += unplaced
    scouts = [piece for piece in result.slices if kind_of_type(piece.image_type) == "localizer"]
    result.slices = [piece for piece in result.slices if kind_of_type(piece.image_type) != "localizer"]
    if len(result.slices) >= min_slices:
        failures = _sort_out(result, failures, doubtful, scouts, min_slices)
    if failures:
        _refuse(failures, len(headers) + len(doubtful))
    if scouts:
        result.reasons["FrameType LOCALIZER"] += len(scouts)
    return result


def _sort_out(
    result: Sorting, failures: list[Failure], doubtful: Sequence[Header], scouts: Sequence[Slice], min_slices: int
) -> list[Failure]:
    """Leave the strays out of the slices in ``result``; returns the failures that could belong to the stack."""
    unread = [*(header for _, header in failures), *doubtful]
    other_places = [piece.position_mm for piece in scouts] + [
        place for header in unread if (place := _position(header))
    ]
    _leave_out_other_planes(result, min_slices, other_places)
    main = _main_format(result.slices)
    if len(main) <= len(result.slices) / 2 or len(main) < min_slices:
        return failures
    others = [piece for piece in result.slices if _format(piece) != _format(main[0])]
    grid = Grid(main, other_places + [piece.position_mm for piece in others])
    if others and not any(grid.has_room_at(piece.position_mm) for piece in others):
        result.slices = main
        result.reasons["another matrix or pixel size"] += len(others)
    few = sum(_position(header) is None for _, header in failures) <= max(2, FEW * len(result.slices))
    failures = [pair for pair in failures if not _is_stray(pair, main[0], grid, few, result.reasons)]
    _leave_out_derived_copies(result, min_slices, other_places)
    return failures + _find_disguised(doubtful, scouts, main[0], grid)


def _position(header: Header) -> tuple[float, ...] | None:
    """ImagePositionPatient of an object that is no multi-frame object; None where it has none."""
    try:
        return read_numbers(header.dataset, "ImagePositionPatient", 3)
    except TagError:
        return None


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


def _refuse(failures: Sequence[Failure], total: int) -> None:
    """Raise a refusal with the first faulty tag, its file, and the number of objects with that fault."""
    first, header = failures[0]
    same = sum(error.keyword == first.keyword for error, _ in failures)
    number = instance_number(header.dataset)
    name = (f"image {number}, " if number is not None else "") + file_label(header.path.name)
    advice = first.advice or AGAIN
    if same < total:
        advice += " If it is no slice of the scan, take the file out of the folder."
    raise DicomSeriesError(first.code, f"{first} in {same} of {total} object(s), first in {name}.", advice)


def _find_disguised(doubtful: Sequence[Header], scouts: Sequence[Slice], main: Slice, grid: Grid) -> list[Failure]:
    """Objects and frames that are a localizer or of another class by their header, but fit the stack as a slice."""
    found = []

    def fits(piece: Slice) -> bool:
        """Whether an image could be a further slice of the stack."""
        parallel = abs(unit_normal(piece.orientation) @ grid.normal) > 0.999
        return parallel and _format(piece) == _format(main) and grid.has_room_at(piece.position_mm)

    for header in doubtful:
        try:
            pieces = multi_frame(header, True, True) if is_enhanced(header) else single_frame(header, True)
        except Exception:  # no slice
            continue
        if any(map(fits, pieces)):
            text = "an object calls itself a localizer, a projection or no CT image, but lies where a slice could be"
            found.append((TagError("E-NOT-CT", "ImageType", text), header))
    if inside := list(filter(fits, scouts)):
        text = f"{len(inside)} frame(s) call themselves localizers, but lie where slices could be"
        error = TagError("E-NOT-CT", "FrameType", f"{text}: the first at {inside[0].where}")
        found.append((error, inside[0].header))
    return found


def _leave_out_other_planes(result: Sorting, min_slices: int, other_places: Sequence[Sequence[float]]) -> None:
    """Leave out images of other planes; the stack is the axial plane, or else the most frequent one."""
    planes: list[tuple[np.ndarray, list[Slice]]] = []
    for piece in result.slices:
        normal = unit_normal(piece.orientation)
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
    kept = {id(piece) for piece in main}
    others = [piece.position_mm for piece in result.slices if id(piece) not in kept]
    grid = Grid(main, [*other_places, *others])
    if any(grid.has_room_at(place) and grid.off_axis_mm(place) < ON_AXIS_MM for place in others):
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


def _leave_out_derived_copies(result: Sorting, min_slices: int, other_places: Sequence[Sequence[float]]) -> None:
    """Leave out derived images where every place also has an original image."""
    originals = [piece for piece in result.slices if kind_of(piece.header) == "image"]
    copies = [piece for piece in result.slices if kind_of(piece.header) != "image"]
    if not copies or len(originals) < max(min_slices, 2):
        return
    grid = Grid(originals, [*other_places, *(piece.position_mm for piece in copies)])
    is_gapless = np.ptp(np.diff(grid.places)) < SAME_PLACE * grid.step
    if is_gapless and not any(grid.has_room_at(piece.position_mm) for piece in copies):
        result.slices = originals
        result.reasons["a derived image where the original is there"] += len(copies)


def _is_stray(pair: Failure, main: Slice, grid: Grid, few: bool, reasons: Counter[str]) -> bool:
    """Whether an object with a faulty tag certainly does not belong to the stack; counts the reason in ``reasons``.

    Args:
        pair: the fault and the object.
        main: a slice of the stack.
        grid: places of the stack.
        few: whether so few objects have no position that derived ones among them can be pages.
        reasons: number of images left out by reason.
    """
    error, header = pair
    position = None if error.keyword == "ImagePositionPatient" else _position(header)
    if position is None:
        size = header.text("Rows"), header.text("Columns")
        other_size = all(size) and size != (str(main.format.rows), str(main.format.columns))
        foreign = kind_of(header) != "image" and header.text("SOPClassUID") in CT_CLASSES
        if is_enhanced(header) and error.keyword != "FrameType":
            foreign = False  # its frames have places of their own
        colour = error.keyword == "PhotometricInterpretation" and not header.text("ImagePositionPatient")
        if other_size or (foreign and few) or colour:
            reasons["no position"] += 1
            return True
        return False
    try:
        cosine = abs(unit_normal(read_numbers(header.dataset, "ImageOrientationPatient", 6)) @ grid.normal)
    except TagError:
        cosine = 1.0
    other_plane = cosine < np.cos(np.radians(OTHER_PLANE_DEGREES)) and grid.off_axis_mm(position) >= ON_AXIS_MM
    if other_plane or not grid.has_room_at(position):
        reasons[f"{error}"] += 1
        return True
    return False
