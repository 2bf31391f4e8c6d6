# SPDX-License-Identifier: Apache-2.0
"""Enhanced and legacy converted CT objects made of the phantom's slices."""

from dicom_phantom import bare_object
from pydicom import Dataset, uid
from pydicom.dataset import FileDataset


def item(**tags: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced(series: list[FileDataset], shared_rescale: bool = True) -> FileDataset:
    """One Enhanced CT Image Storage object with the frames of a series, in the given order."""
    first = series[0]
    whole = bare_object(uid.EnhancedCTImageStorage, "1.2.3.4.5")
    whole.Modality, whole.ImageType = "CT", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    whole.NumberOfFrames = len(series)
    for keyword in (
        "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation",
    ):  # fmt: skip
        setattr(whole, keyword, first[keyword].value)

    def rescale(one: FileDataset) -> list[Dataset]:
        return [item(RescaleSlope=one.RescaleSlope, RescaleIntercept=one.RescaleIntercept, RescaleType="HU")]

    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = [item(PixelSpacing=first.PixelSpacing, SliceThickness=3)]
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=first.ImageOrientationPatient)]
    if shared_rescale:
        shared.PixelValueTransformationSequence = rescale(first)
    for one in series:
        frame = Dataset()
        frame.PlanePositionSequence = [item(ImagePositionPatient=one.ImagePositionPatient)]
        frame.CTImageFrameTypeSequence = [item(FrameType=one.ImageType)]
        if not shared_rescale:
            frame.PixelValueTransformationSequence = rescale(one)
        frames.append(frame)
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    whole.PixelData = b"".join(one.PixelData for one in series)
    whole["PixelData"].VR = "OW"
    return whole


def legacy_converted(series: list[FileDataset]) -> FileDataset:
    """One Legacy Converted Enhanced CT Image Storage object of a series."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    for one in series:
        one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber = "1", "20240101", "120000", "1"
        one.PatientBirthDate, one.PatientSex, one.ReferringPhysicianName = "", "", ""
        one.SeriesNumber, one.Manufacturer = 1, "maker"
        one.InstanceCreationDate, one.InstanceCreationTime = "20240101", "120000"
        one.AcquisitionNumber, one.BurnedInAnnotation, one.PositionReferenceIndicator = 1, "NO", ""
        one.ContentDate, one.ContentTime, one.PatientPosition = "20240101", "120000", "HFS"
    whole: FileDataset = LegacyConvertedEnhancedCTImage(series, "1.2.3.4", 2, "1.2.3.4.5", 1)
    return whole
