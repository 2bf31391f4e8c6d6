# SPDX-License-Identifier: Apache-2.0
"""One slice: the values that place and scale one image, checked tag by tag.

Single-frame objects and the frames of enhanced objects become the same kind of slice, so that every later check
sees both alike.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from lungcad.dicom.advice import option
from lungcad.dicom.header import Header, text_of

MIN_PIXEL_SPACING_MM = 0.05
"""The finest CT pixels, of ultra-high resolution over a small field of view, are 0.1 mm."""
MAX_PIXEL_SPACING_MM = 10.0
MAX_POSITION_MM = 1e5


class TagError(ValueError):
    """A tag without a usable value; carries the code, the keyword and, where there is a way out, the advice."""

    def __init__(self, code: str, keyword: str, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.keyword = keyword
        self.advice = advice


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
        labels: what tells acquisitions apart, by keyword; empty values left out.
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
    labels: Mapping[str, str] = field(default_factory=dict)


LABELS = {
    "AcquisitionNumber": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "AcquisitionDateTime": ("FrameAcquisitionDateTime", "AcquisitionDateTime"),
    "TemporalPositionIdentifier": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    **{
        keyword: (keyword,)
        for keyword in (
            "AcquisitionUID", "IrradiationEventUID", "NominalPercentageOfCardiacPhase", "ConvolutionKernel", "KVP",
            "ContrastBolusAgent", "AcquisitionDate", "AcquisitionTime",
        )
    },
}  # fmt: skip
"""Tags that tell acquisitions apart: of a frame where it has one, else of the object."""


def labels_of(of: Callable[[str], Dataset]) -> dict[str, str]:
    """Read the LABELS of one image; ``of(keyword)`` returns the data set to look in."""
    found: dict[str, str] = {}
    for name, keywords in LABELS.items():
        found[name] = next(filter(None, (text_of(of(keyword), keyword) for keyword in keywords)), "")
    clock, date = found.pop("AcquisitionTime"), found.pop("AcquisitionDate")
    if not found["AcquisitionDateTime"] and clock:
        found["AcquisitionDateTime"] = date + clock if len(date) == 8 else clock
    return {name: value for name, value in found.items() if value}


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


def place(
    header: Header, frame: int, number: int | None, layout: PixelFormat, of: Callable[[str], Dataset],
    assume_hu: bool = False,
) -> Slice:  # fmt: skip
    """Build a slice from the data sets that hold its tags; ``of(keyword)`` returns the one to look in.

    With ``assume_hu`` stored values without RescaleIntercept are HU.

    Raises:
        TagError: a tag is missing or has no usable value.
    """
    position = numbers(of("ImagePositionPatient"), "ImagePositionPatient", 3)
    if max(map(abs, position)) > MAX_POSITION_MM:
        raise TagError("E-TAG-VALUE", "ImagePositionPatient", f"ImagePositionPatient is beyond {MAX_POSITION_MM:g} mm")
    spacing = positive(of("PixelSpacing"), "PixelSpacing", 2, MAX_PIXEL_SPACING_MM)
    if min(spacing) < MIN_PIXEL_SPACING_MM:
        shown = "\\".join(f"{value:g}" for value in spacing)
        text = f"PixelSpacing is {shown} mm (expected {MIN_PIXEL_SPACING_MM:g} to {MAX_PIXEL_SPACING_MM:g})"
        raise TagError("E-TAG-VALUE", "PixelSpacing", text)
    try:
        intercept = numbers(of("RescaleIntercept"), "RescaleIntercept", 1, 0.0 if assume_hu else None)[0]
    except TagError as error:
        if error.code == "E-TAG-MISSING":
            error.advice = f"Export the series again; if its stored values are HU, pass {option('assume_hu', True)}."
        raise
    return Slice(
        header=header,
        frame=frame,
        number=number,
        format=layout,
        position_mm=position,
        orientation=numbers(of("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        pixel_spacing_mm=spacing,
        slope=positive(of("RescaleSlope"), "RescaleSlope", 1, 1e6, 1.0)[0],
        intercept=intercept,
        rescale_type=text_of(of("RescaleType"), "RescaleType").upper(),
        labels=labels_of(of),
    )


def single_frame(header: Header, assume_hu: bool = False) -> list[Slice]:
    """The one slice of a CT Image Storage object; raises TagError."""
    if integer(header.dataset, "NumberOfFrames", 0, 2**31, 1) > 1:
        raise TagError("E-TAG-MISSING", "ImagePositionPatient", "several frames, but no position for each of them")
    dataset = header.dataset
    return [place(header, 0, instance_number(dataset), pixel_format(header), lambda keyword: dataset, assume_hu)]
