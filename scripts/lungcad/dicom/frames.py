# SPDX-License-Identifier: Apache-2.0
"""Slices: the tags that place and scale one image, checked one by one.

Single-frame objects and the frames of enhanced objects become the same kind of slice, so that every later check
sees both alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from lungcad.dicom.advice import option
from lungcad.dicom.header import Header, text_of, values_of_type
from lungcad.dicom.tags import TagError, read_integer, read_numbers, read_positive

MIN_PIXEL_SPACING_MM = 0.05
"""Smallest pixel spacing accepted; ultra-high-resolution CT over a small field of view reaches 0.1 mm."""
MAX_PIXEL_SPACING_MM = 10.0
MAX_POSITION_MM = 1e5


@dataclass(frozen=True)
class PixelFormat:
    """Layout of an object's stored values (image pixel module, PS3.3 C.7.6.3).

    ``high_bit`` above ``bits_stored - 1`` means left-justified values, where the pixels bear it out.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    high_bit: int = 0


@dataclass(frozen=True, eq=False)
class Slice:
    """Slice: one image with its place in the patient and its scale.

    Attributes:
        header: object that holds the image.
        frame: index of the frame within the object, 0 for a single-frame object.
        number: InstanceNumber, or for a multi-frame object the frame number (from 1); None where absent.
        position_mm: LPS centre of the first pixel.
        orientation: row direction and column direction, 6 cosines.
        pixel_spacing_mm: distance between rows, distance between columns.
        slope, intercept: HU = stored * slope + intercept.
        rescale_type: RescaleType in upper case, empty where absent.
        image_type: values of ImageType, or of a frame's FrameType, in upper case; empty where absent.
        thickness_mm: SliceThickness; None where absent.
        labels: values of LABELS, which distinguish acquisitions, by name; empty values are left out.
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
    image_type: tuple[str, ...] = ()
    thickness_mm: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def height(self) -> str:
        """Height of the image in words, such as ``z=-12.5 mm``."""
        return f"z={self.position_mm[2]:.1f} mm"

    @property
    def where(self) -> str:
        """Height and number of the image in words."""
        return f"{self.height} (image {self.number})" if self.number is not None else self.height


LABELS = {
    "AcquisitionNumber": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "AcquisitionDateTime": ("FrameAcquisitionDateTime", "AcquisitionDateTime"),
    "TemporalPositionIdentifier": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    **{
        keyword: (keyword,)
        for keyword in (
            "StackID", "AcquisitionUID", "IrradiationEventUID", "NominalPercentageOfCardiacPhase",
            "NominalPercentageOfRespiratoryPhase", "ConvolutionKernel", "KVP", "ContrastBolusAgent", "AcquisitionDate",
            "AcquisitionTime",
        )
    },
}  # fmt: skip
"""Keywords of the tags that distinguish acquisitions, by name: the first that has a value is taken, a frame's first."""


def read_labels(dataset_for: Callable[[str], Dataset]) -> dict[str, str]:
    """Read the LABELS of one image; ``dataset_for(keyword)`` returns the data set that holds a tag."""
    found: dict[str, str] = {}
    for name, keywords in LABELS.items():
        found[name] = next(filter(None, (text_of(dataset_for(keyword), keyword) for keyword in keywords)), "")
    clock, date = found.pop("AcquisitionTime"), found.pop("AcquisitionDate")
    if not found["AcquisitionDateTime"] and clock:
        found["AcquisitionDateTime"] = date + clock if len(date) == 8 else clock
    return {name: value for name, value in found.items() if value}


def read_pixel_format(header: Header) -> PixelFormat:
    """Read the image pixel module of an object; raises TagError."""
    dataset = header.dataset
    allocated = read_integer(dataset, "BitsAllocated", 8, 32)
    if allocated not in (8, 16, 32):
        raise TagError("E-TAG-VALUE", "BitsAllocated", f"BitsAllocated is {allocated} (expected 8, 16 or 32)")
    if read_integer(dataset, "SamplesPerPixel", 1, 4, 1) != 1 or header.text("PhotometricInterpretation") not in (
        "MONOCHROME1", "MONOCHROME2", "",
    ):  # fmt: skip
        raise TagError("E-NOT-CT", "PhotometricInterpretation", "the image is in colour (expected grey values in HU)")
    stored = read_integer(dataset, "BitsStored", 1, allocated, allocated)
    return PixelFormat(
        rows=read_integer(dataset, "Rows", 1, 65535),
        columns=read_integer(dataset, "Columns", 1, 65535),
        bits_allocated=allocated,
        bits_stored=stored,
        is_signed=bool(read_integer(dataset, "PixelRepresentation", 0, 1)),
        high_bit=_high_bit(dataset, allocated, stored),
    )


def _high_bit(dataset: Dataset, allocated: int, stored: int) -> int:
    """HighBit; the standard's value, ``stored - 1`` (PS3.5 8.1.1), where it is absent or impossible."""
    try:
        return read_integer(dataset, "HighBit", stored - 1, allocated - 1, stored - 1)
    except TagError:
        return stored - 1


def instance_number(dataset: Dataset) -> int | None:
    """InstanceNumber; None where absent or unreadable, since it is shown only and never orders slices."""
    try:
        return read_integer(dataset, "InstanceNumber", -(2**31), 2**31)
    except TagError:
        return None


def _thickness_mm(dataset: Dataset) -> float | None:
    """SliceThickness; None where absent or unreadable, since no place depends on it."""
    try:
        return read_positive(dataset, "SliceThickness", 1, MAX_POSITION_MM)[0]
    except TagError:
        return None


def make_slice(
    header: Header, frame: int, number: int | None, layout: PixelFormat, dataset_for: Callable[[str], Dataset],
    assume_hu: bool = False,
) -> Slice:  # fmt: skip
    """Build a slice from the data sets that hold its tags.

    Args:
        header: object that holds the image.
        frame: index of the frame within the object.
        number: InstanceNumber or frame number, None where absent.
        layout: format of the stored values.
        dataset_for: function that returns the data set that holds the tag of a keyword.
        assume_hu: take stored values without RescaleIntercept as HU.

    Raises:
        TagError: a tag is missing or has no usable value.
    """
    position = read_numbers(dataset_for("ImagePositionPatient"), "ImagePositionPatient", 3)
    if max(map(abs, position)) > MAX_POSITION_MM:
        raise TagError("E-TAG-VALUE", "ImagePositionPatient", f"ImagePositionPatient is beyond {MAX_POSITION_MM:g} mm")
    spacing = read_positive(dataset_for("PixelSpacing"), "PixelSpacing", 2, MAX_PIXEL_SPACING_MM)
    if min(spacing) < MIN_PIXEL_SPACING_MM:
        shown = "\\".join(f"{value:g}" for value in spacing)
        text = f"PixelSpacing is {shown} mm (expected {MIN_PIXEL_SPACING_MM:g} to {MAX_PIXEL_SPACING_MM:g})"
        raise TagError("E-TAG-VALUE", "PixelSpacing", text)
    if "ModalityLUTSequence" in header.dataset and not text_of(dataset_for("RescaleIntercept"), "RescaleIntercept"):
        text = "RescaleIntercept is missing: a ModalityLUTSequence scales the values, which is not supported for CT"
        raise TagError("E-TAG-MISSING", "RescaleIntercept", text)
    try:
        intercept = read_numbers(dataset_for("RescaleIntercept"), "RescaleIntercept", 1, 0.0 if assume_hu else None)[0]
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
        orientation=read_numbers(dataset_for("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        pixel_spacing_mm=spacing,
        slope=read_positive(dataset_for("RescaleSlope"), "RescaleSlope", 1, 1e6, 1.0)[0],
        intercept=intercept,
        rescale_type=text_of(dataset_for("RescaleType"), "RescaleType").upper(),
        image_type=values_of_type(dataset_for("FrameType").get("FrameType")) or header.image_type,
        thickness_mm=_thickness_mm(dataset_for("SliceThickness")),
        labels=read_labels(dataset_for),
    )


def single_frame(header: Header, assume_hu: bool = False) -> list[Slice]:
    """Slice of a CT Image Storage object, in a list of one; raises TagError."""
    if read_integer(header.dataset, "NumberOfFrames", 0, 2**31, 1) > 1:
        raise TagError("E-TAG-MISSING", "ImagePositionPatient", "several frames, but no position for each of them")
    dataset = header.dataset
    layout = read_pixel_format(header)
    return [make_slice(header, 0, instance_number(dataset), layout, lambda keyword: dataset, assume_hu)]
