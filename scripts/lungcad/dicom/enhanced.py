# SPDX-License-Identifier: Apache-2.0
"""Multi-frame CT: slices of Enhanced and Legacy Converted Enhanced objects (PS3.3 C.7.6.16)."""

from pydicom.dataset import Dataset

from lungcad.dicom.advice import ALLOW_DERIVED
from lungcad.dicom.frames import Slice, TagError, make_slice, read_integer, read_pixel_format
from lungcad.dicom.header import ENHANCED_CLASSES, Header
from lungcad.dicom.image_type import kind_of_type, processed_name

MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
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
    """Slices of an enhanced object; localizer frames are left out.

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

        frame_type = dataset_for("FrameType").get("FrameType") or ()
        values = tuple(str(part).upper() for part in ([frame_type] if isinstance(frame_type, str) else frame_type))
        kind = kind_of_type(values)
        if kind == "processed" and not allow_derived:
            text = f"frame {index + 1} is no slice in HU but a {processed_name(values)}"
            raise TagError("E-NOT-CT", "FrameType", text, f"Choose the original series, or pass {ALLOW_DERIVED}.")
        if kind != "localizer":
            slices.append(make_slice(header, index, index + 1, layout, dataset_for, assume_hu))
    return slices


def _sequence_items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence, none where it is absent; raises TagError."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception as error:  # a damaged sequence is parsed only here
        raise TagError("E-CORRUPT", keyword, f"{keyword} cannot be read") from error
