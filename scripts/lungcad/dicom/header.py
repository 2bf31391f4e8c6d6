# SPDX-License-Identifier: Apache-2.0
"""Header of one DICOM file, read up to the pixels and no further.

pydicom's ``read_dataset`` parses; this module finds out where a data set begins, how it is encoded and where the
pixel element lies, so that pixels are later read without parsing again. ``dcmread`` is not used because it inflates
deflated files without a limit (0.6 MB can become 600 MB).
"""

import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from lungcad.dicom.inflate import inflate
from lungcad.printable import printable

OVERLAY_BITS = tuple(Tag(group << 16 | 0x0102) for group in range(0x6000, 0x6020, 2))
"""Bit positions of overlays, which older files keep in unused bits of the pixels."""
TAGS = [
    Tag(keyword)
    for keyword in (
        "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID",
        "Modality", "ImageType", "SeriesDescription", "SeriesNumber", "SeriesTime", "ProtocolName",
        "InstanceNumber",
        "PatientName", "PatientID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
        "PatientBirthDate", "PatientSex", "IssuerOfPatientID", "OtherPatientIDs", "AccessionNumber",
        "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName",
        "AcquisitionNumber", "AcquisitionUID", "IrradiationEventUID", "TemporalPositionIdentifier", "KVP",
        "NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase", "ConvolutionKernel",
        "ContrastBolusAgent", "SliceThickness", "ImageComments",
        "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
        "DerivationCodeSequence", "VolumeBasedCalculationTechnique",
        "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
        "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
        "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "LossyImageCompression",
        "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    )
] + list(OVERLAY_BITS)  # fmt: skip
"""Tags that the intake reads."""

ENHANCED_CLASSES = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
CT_CLASSES = (uid.CTImageStorage, *ENHANCED_CLASSES)
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
"""Tags of pixels: float, double, whole numbers."""
UNDEFINED = 0xFFFFFFFF
ITEM_TAG = b"\xfe\xff\x00\xe0"
"""First bytes of encapsulated pixels: the tag of the item with the offset table (PS3.5 A.4)."""
LONG_NUMBER = 5
"""Number of characters from which an accession number is searched for in texts; a short one is part of many."""
HEADER_LIMIT_BYTES = 16 << 20
"""Largest header of a deflated file in inflated bytes, and longest value read of any header; enhanced CT needs a few
MB."""


@dataclass(frozen=True)
class PixelElement:
    """Place of the pixels in a file.

    Attributes:
        tag: tag of the pixel element.
        offset: first byte of its value, in the file or in the inflated data set.
        length: bytes of its value; None where undefined, as for encapsulated pixels.
        has_items: whether the value begins with an item, as only encapsulated pixels do.
    """

    tag: int
    offset: int
    length: int | None
    has_items: bool = False


@dataclass(frozen=True, eq=False)
class Header:
    """DICOM object without its pixels.

    Attributes:
        path: the file.
        dataset: data set with TAGS only, unless everything was read.
        transfer_syntax: uid as stated, or as the file shows where it states none or the pixels are not compressed.
        body_offset: first byte of the data set in the file, after preamble and meta information.
        pixels: place of the pixels; None where the file ends without any.
        has_meta: whether the file states its transfer syntax.
        is_mislabelled: whether the transfer syntax is another than stated.
    """

    path: Path
    dataset: Dataset
    transfer_syntax: str
    body_offset: int
    pixels: PixelElement | None
    has_meta: bool
    is_mislabelled: bool = False
    _texts: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def text(self, keyword: str) -> str:
        """Value of a tag as one line of printable text; empty where absent or unreadable."""
        if keyword not in self._texts:  # a tag is asked for up to ten times, and pydicom converts each time
            self._texts[keyword] = text_of(self.dataset, keyword)
        return self._texts[keyword]

    @cached_property
    def identifiers(self) -> list[str]:
        """Values that identify the patient besides the name: ids, long accession number, birth date in three orders."""
        birth, accession = self.text("PatientBirthDate"), self.text("AccessionNumber")
        year, month, day = birth[:4], birth[4:6], birth[6:]
        dates = [birth, day + month + year, month + day + year] if len(birth) == 8 else []
        numbers = [accession] if len(accession) >= LONG_NUMBER else []
        return [self.text("PatientID"), self.text("OtherPatientIDs"), *dates, *numbers]

    @cached_property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType in upper case; empty where absent."""
        return values_of_type(self.dataset.get("ImageType"))


@dataclass(frozen=True)
class Damaged:
    """DICOM file that cannot be read as an object.

    Attributes:
        path: the file.
        code, reason: code and reason of the refusal.
        series_uid: SeriesInstanceUID; empty or cut where it could not be read.
        instance_uid: SOPInstanceUID; empty where it could not be read.
        among: uids of the series to which the file may belong; None where that may be any.
    """

    path: Path
    code: str
    reason: str
    series_uid: str = ""
    instance_uid: str = ""
    among: frozenset[str] | None = None


def values_of_type(value: Any) -> tuple[str, ...]:
    """Values of ImageType or FrameType in upper case; empty where absent."""
    return tuple(printable(part, 64).upper() for part in ([value] if isinstance(value, str) else value or ()))


def text_of(dataset: Dataset, keyword: str) -> str:
    """Value of a tag as one line of printable text; empty where absent or unreadable."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a value that pydicom cannot convert is judged by the tag checks
        return ""
    return "" if value is None else printable(value, 1024)


def read_header(path: Path, everything: bool = False) -> Header | Damaged | None:
    """Read the header of one file, TAGS only or everything before the pixels; None where the file is not DICOM."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
            has_preamble = start[128:] == b"DICM"
            if not has_preamble:
                if not _looks_like_dataset(start):
                    return None
                file.seek(0)
            try:
                return _read_opened(file, path, has_preamble, everything)
            except OSError:
                raise
            except Exception as error:  # damaged bytes make pydicom raise almost anything
                reason = f"the DICOM header cannot be read ({type(error).__name__})"
                return Damaged(path, "E-CORRUPT", reason) if has_preamble else None
    except PermissionError:
        return Damaged(path, "E-NO-DICOM", "no permission to read the file")
    except OSError as error:
        return Damaged(path, "E-CORRUPT", f"the file cannot be read ({error.strerror})")


def _read_opened(file: BinaryIO, path: Path, has_preamble: bool, everything: bool) -> Header | Damaged | None:
    """Read the header from an opened file, positioned at its meta information or data set."""
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    stated = str(meta.get("TransferSyntaxUID") or "").strip()
    body, body_offset = file, file.tell()
    if stated == uid.DeflatedExplicitVRLittleEndian:
        body = BytesIO(inflate(file, HEADER_LIMIT_BYTES)[0])
    syntax = stated or _guess_syntax(body)
    dataset, pixels = _read_body(body, syntax, None if everything else list(TAGS))
    is_mislabelled = bool(pixels and pixels.length is not None and not pixels.has_items and _is_compressed(syntax))
    if is_mislabelled:
        syntax = uid.ExplicitVRLittleEndian
    meta_class = str(meta.get("MediaStorageSOPClassUID") or "")
    if "SOPClassUID" not in dataset and meta_class:
        dataset.SOPClassUID = meta_class
    header = Header(path, dataset, syntax, body_offset, pixels, bool(stated), is_mislabelled)
    sop_class, series_uid = header.text("SOPClassUID"), header.text("SeriesInstanceUID")
    if not has_preamble and not sop_class.startswith("1.2.840.10008."):
        return None  # a chance resemblance
    if pixels is None:
        if not stated and has_preamble:
            return Damaged(path, "E-CORRUPT", "the file ends inside its meta information")
        if body is not file and body.seek(0, os.SEEK_END) >= HEADER_LIMIT_BYTES:
            text = f"the header inflates to more than {HEADER_LIMIT_BYTES >> 20} MiB"
            return Damaged(path, "E-SIZE", f"{text} (convert it to Explicit VR Little Endian, without deflation)")
        if {sop_class, meta_class} & set(CT_CLASSES) or (series_uid and not sop_class):
            code = "E-PIXELS" if "RescaleIntercept" in dataset else "E-CORRUPT"  # cut after or before the image module
            instance = text_of(meta, "MediaStorageSOPInstanceUID") or header.text("SOPInstanceUID")  # may be cut
            reason = "the file ends before its pixels, or an element before them has no known type"
            return Damaged(path, code, reason, series_uid, instance)
    dataset.get("ImageType")  # an unreadable value raises here, where it counts as damage; series are sorted by it
    return header if sop_class or series_uid else None


def _read_body(body: BinaryIO, syntax: str, tags: list[BaseTag | int] | None) -> tuple[Dataset, PixelElement | None]:
    """Read a data set up to its pixels, and the place of the pixels; ``tags`` None for all."""
    found: list[PixelElement] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        """Whether the next element holds the pixels; notes its place."""
        if tag not in PIXEL_TAGS:
            return False
        start = body.read(len(ITEM_TAG))
        body.seek(-len(start), os.SEEK_CUR)
        at, size = body.tell(), None if length == UNDEFINED else length
        found.append(PixelElement(int(tag), at, size, start == ITEM_TAG))
        return True

    transfer_syntax = uid.UID(syntax)
    implicit = transfer_syntax == uid.ImplicitVRLittleEndian
    little = transfer_syntax != uid.ExplicitVRBigEndian
    dataset = read_dataset(
        body, implicit, little, stop_when=at_pixels, specific_tags=tags, defer_size=HEADER_LIMIT_BYTES
    )
    return dataset, found[-1] if found else None


def _is_compressed(syntax: str) -> bool:
    """Whether a transfer syntax of the standard encapsulates compressed pixels."""
    return syntax in uid.AllTransferSyntaxes and uid.UID(syntax).is_encapsulated


def _looks_like_dataset(start: bytes) -> bool:
    """Whether the bytes begin with a data element of group 2 or 8, in any of the three encodings."""
    if len(start) < 16:
        return False
    little, big = struct.unpack("<HHL", start[:8]), struct.unpack(">HHL", start[:8])
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return (little[0] in (2, 8) and (explicit or little[2] < 1024)) or (big[0] == 8 and explicit)


def _guess_syntax(body: BinaryIO) -> str:
    """Transfer syntax of an uncompressed data set, guessed from its first element."""
    start = body.read(6)
    body.seek(-len(start), os.SEEK_CUR)
    if not (start[4:6].isalpha() and start[4:6].isupper()):
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if start[0] else uid.ExplicitVRBigEndian
