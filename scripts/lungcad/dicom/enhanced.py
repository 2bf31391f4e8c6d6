# SPDX-License-Identifier: Apache-2.0
"""Multi-frame CT: slices of Enhanced and Legacy Converted Enhanced objects (PS3.3 C.7.6.16)."""

from collections import defaultdict
from collections.abc import Sequence

from pydicom.dataset import Dataset

from lungcad.dicom.advice import ALLOW_DERIVED
from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice, make_slice, read_pixel_format
from lungcad.dicom.header import ENHANCED_CLASSES, Header, text_of, values_of_type
from lungcad.dicom.image_type import kind_of_type, name_of_quantity, processed_name
from lungcad.dicom.tags import TagError, read_integer

MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "NominalPercentageOfRespiratoryPhase": "RespiratorySynchronizationSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "KVP": "CTXRayDetailsSequence",
    "IrradiationEventUID": "IrradiationEventIdentificationSequence",
}
"""Sequence of the functional group, per frame or shared, that holds each tag."""


def is_enhanced(header: Header) -> bool:
    """Whether the object is a multi-frame CT."""
    return header.text("SOPClassUID") in ENHANCED_CLASSES


def frame_count(header: Header) -> int:
    """NumberOfFrames, 1 where absent; raises TagError."""
    return read_integer(header.dataset, "NumberOfFrames", 1, 2**31, 1)


def multi_frame(header: Header, allow_derived: bool, assume_hu: bool = False) -> list[Slice]:
    """Slices of an enhanced object, its localizer frames among them where they have a place.

    Raises:
        TagError: a tag or a functional group is missing, or a frame is a processed image, such as a projection, and
            ``allow_derived`` is False.
    """
    shared = _sequence_items(header.dataset, "SharedFunctionalGroupsSequence")[:1] or [Dataset()]
    frames = _sequence_items(header.dataset, "PerFrameFunctionalGroupsSequence")
    count = frame_count(header)
    if len(frames) != count:
        text = f"NumberOfFrames is {count}, but {len(frames)} frames are described"
        raise TagError("E-TAG-VALUE", "NumberOfFrames", text)
    layout = read_pixel_format(header)
    slices = []
    for index, groups in enumerate(frames):

        def dataset_for(keyword: str, groups: Dataset = groups) -> Dataset:
            """Data set that holds a tag of this frame: its functional group, the shared one, or the object."""
            macro = MACROS.get(keyword)
            found = macro and (_sequence_items(groups, macro) or _sequence_items(shared[0], macro))
            return found[0] if found else header.dataset

        values = values_of_type(dataset_for("FrameType").get("FrameType"))
        kind = kind_of_type(values)
        name = processed_name(values) if kind == "processed" else ""
        if kind != "localizer":
            name = name or name_of_quantity(text_of(dataset_for("RescaleType"), "RescaleType"))
        if name and not allow_derived:
            text = f"frame {index + 1} is no slice in HU but a {name}"
            raise TagError("E-NOT-CT", "FrameType", text, f"Choose the original series, or pass {ALLOW_DERIVED}.")
        try:
            is_scout = kind == "localizer"
            slices.append(make_slice(header, index, index + 1, layout, dataset_for, assume_hu or is_scout))
        except TagError:
            if not is_scout:
                raise
    return slices


def _sequence_items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence, none where it is absent; raises TagError."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception as error:  # a damaged sequence is parsed only here
        raise TagError("E-CORRUPT", keyword, f"{keyword} cannot be read") from error


def check_concatenations(headers: Sequence[Header]) -> None:
    """Refuse a concatenation (PS3.3 C.7.6.16.2.2.4), one scan in several objects, of which a part is missing.

    Raises:
        DicomSeriesError: E-CORRUPT.
    """
    parts: dict[str, set[int | str]] = defaultdict(set)
    totals: dict[str, int] = defaultdict(int)
    for header in headers:
        if name := header.text("ConcatenationUID") if is_enhanced(header) else "":
            number, total = (_part(header, f"InConcatenation{what}") for what in ("Number", "TotalNumber"))
            parts[name].add(number or header.text("SOPInstanceUID"))
            totals[name] = max(totals[name], total, number)
    for name, numbers in parts.items():
        if len(numbers) < totals[name]:
            text = f"{len(numbers)} of {totals[name]} objects of a concatenation are here: slices are missing."
            raise DicomSeriesError("E-CORRUPT", text, AGAIN)


def _part(header: Header, keyword: str) -> int:
    """Number of a part, or of parts; 0 where absent or unreadable."""
    try:
        return read_integer(header.dataset, keyword, 1, 65535)
    except TagError:
        return 0
