# SPDX-License-Identifier: Apache-2.0
"""One slice: the values that place and scale one image, checked tag by tag.

Single-frame objects and the frames of enhanced objects become the same kind of slice, so that every later check
sees both alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.header import Header, text_of

MAX_PIXEL_SPACING_MM = 10.0
MAX_POSITION_MM = 1e5


class TagError(ValueError):
    """A tag without a usable value; carries the code and the keyword."""

    def __init__(self, code: str, keyword: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.keyword = keyword


@dataclass(frozen=True)
class PixelFormat:
    """How the stored values of an object are to be read."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of the stack.

    Attributes:
        header: the object that holds it.
        frame: index of the frame within the object, 0 for a single-frame object.
        number: InstanceNumber, or for a multi-frame object the frame number (from 1); None where absent.
        position_mm: LPS centre of the first pixel.
        orientation: row direction and column direction, 6 cosines.
        pixel_spacing_mm: between rows (down), between columns (along a row).
        slope, intercept: HU = stored * slope + intercept.
        rescale_type: RescaleType in upper case, empty where absent.
    """

    header: Header
    frame: int
    number: int | None
    format: PixelFormat
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    slope: float
    intercept: float
    rescale_type: str


def numbers(dataset: Dataset, keyword: str, count: int, default: float | None = None) -> tuple[float, ...]:
    """Return exactly ``count`` finite numbers.

    Raises:
        TagError: E-TAG-MISSING (absent or empty, and no default), E-TAG-VALUE (anything else).
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == "" or value == b"":
            if default is not None:
                return (default,) * count
            raise TagError("E-TAG-MISSING", keyword, f"{keyword} is missing")
        values = tuple(float(part) for part in (value if _is_multi(value) else [value]))
    except TagError:
        raise
    except Exception as error:  # pydicom converts on access and raises many kinds
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is not a number") from error
    if len(values) != count or not all(map(math.isfinite, values)):
        shown = "\\".join(f"{part:g}" for part in values)
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {shown or 'empty'} (expected {count} finite number(s))")
    return values


def _is_multi(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes))


def integer(dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """Return one whole number within [low, high]; raises TagError."""
    (value,) = numbers(dataset, keyword, 1, default)
    if value != int(value) or not low <= value <= high:
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {value:g} (expected {low} to {high})")
    return int(value)


def positive(
    dataset: Dataset, keyword: str, count: int, high: float, default: float | None = None
) -> tuple[float, ...]:
    """Return numbers in (0, high]; raises TagError."""
    values = numbers(dataset, keyword, count, default)
    if not all(0 < value <= high for value in values):
        shown = "\\".join(f"{part:g}" for part in values)
        raise TagError("E-TAG-VALUE", keyword, f"{keyword} is {shown} (expected above 0, at most {high:g})")
    return values


def pixel_format(header: Header) -> PixelFormat:
    """Read the image pixel module of an object; raises TagError."""
    dataset = header.dataset
    allocated = integer(dataset, "BitsAllocated", 8, 32)
    if allocated not in (8, 16, 32):
        raise TagError("E-TAG-VALUE", "BitsAllocated", f"BitsAllocated is {allocated} (expected 8, 16 or 32)")
    if integer(dataset, "SamplesPerPixel", 1, 4, 1) != 1 or header.text("PhotometricInterpretation") not in (
        "MONOCHROME1", "MONOCHROME2", "",
    ):  # fmt: skip
        raise TagError("E-NOT-CT", "PhotometricInterpretation", "the image is in colour (expected grey values in HU)")
    return PixelFormat(
        rows=integer(dataset, "Rows", 1, 65535),
        columns=integer(dataset, "Columns", 1, 65535),
        bits_allocated=allocated,
        bits_stored=integer(dataset, "BitsStored", 1, allocated, allocated),
        is_signed=bool(integer(dataset, "PixelRepresentation", 0, 1)),
    )


def instance_number(dataset: Dataset) -> int | None:
    """InstanceNumber, None where absent or unreadable: it orders nothing here."""
    try:
        return integer(dataset, "InstanceNumber", -(2**31), 2**31)
    except TagError:
        return None


def place(header: Header, frame: int, number: int | None, layout: PixelFormat, of: Callable[[str], Dataset]) -> Slice:
    """Build a slice from the data sets that hold its tags; ``of(keyword)`` returns the one to look in.

    Raises:
        TagError: a tag is missing or has no usable value.
    """
    position = numbers(of("ImagePositionPatient"), "ImagePositionPatient", 3)
    if max(map(abs, position)) > MAX_POSITION_MM:
        raise TagError("E-TAG-VALUE", "ImagePositionPatient", f"ImagePositionPatient is beyond {MAX_POSITION_MM:g} mm")
    return Slice(
        header=header,
        frame=frame,
        number=number,
        format=layout,
        position_mm=position,
        orientation=numbers(of("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        pixel_spacing_mm=positive(of("PixelSpacing"), "PixelSpacing", 2, MAX_PIXEL_SPACING_MM),
        slope=positive(of("RescaleSlope"), "RescaleSlope", 1, 1e6, 1.0)[0],
        intercept=numbers(of("RescaleIntercept"), "RescaleIntercept", 1)[0],
        rescale_type=text_of(of("RescaleType"), "RescaleType").upper(),
    )


def single_frame(header: Header) -> list[Slice]:
    """The one slice of a CT Image Storage object; raises TagError."""
    if integer(header.dataset, "NumberOfFrames", 0, 2**31, 1) > 1:
        raise TagError("E-TAG-MISSING", "ImagePositionPatient", "several frames, but no position for each of them")
    dataset = header.dataset
    return [place(header, 0, instance_number(dataset), pixel_format(header), lambda keyword: dataset)]


def collect(headers: list[Header], read: Callable[[Header], list[Slice]]) -> list[Slice]:
    """Read the slices of all objects; one refusal names the first bad tag and how many objects have it.

    Raises:
        DicomSeriesError: E-TAG-MISSING, E-TAG-VALUE, E-NOT-CT, E-CORRUPT.
    """
    slices: list[Slice] = []
    failures: list[tuple[TagError, Header]] = []
    for header in headers:
        try:
            slices += read(header)
        except TagError as error:
            failures.append((error, header))
    if failures:
        first, header = failures[0]
        same = sum(error.keyword == first.keyword for error, _ in failures)
        where = instance_number(header.dataset)
        name = f"image {where}" if where is not None else header.path.name
        text = f"{first} in {same} of {len(headers)} object(s), first in {name}."
        raise DicomSeriesError(first.code, text, AGAIN)
    return slices
