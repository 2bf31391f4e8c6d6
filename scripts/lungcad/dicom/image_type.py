# SPDX-License-Identifier: Apache-2.0
"""What an image is, from the words that manufacturers put into ImageType and the codes of its derivation.

Value 1 (ORIGINAL, DERIVED) and value 2 (PRIMARY, SECONDARY) alone say little: every lossily compressed image must say
DERIVED (PS3.3 C.7.6.1.1.2), many iterative reconstructions do, and LIDC-IDRI has original series that say SECONDARY.
"""

import re

from pydicom.uid import UID

from lungcad.dicom.header import CT_CLASSES, Header

SCOUT_WORDS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW"})
PROCESSED = {
    "minimum intensity projection (MinIP)": {"MINIP", "MIN_IP", "MNIP", "MINIMUM_INTENSITY_PROJECTION"},
    "maximum intensity projection (MIP)": {"MIP", "MAXIP", "MAX_IP", "TMIP", "MAXIMUM_INTENSITY_PROJECTION"},
    "projection": {"PROJECTION", "PROJECTION_IMAGE", "RADON"},
    "curved reformation": {"CPR", "CURVED", "CURVED_MPR"},
    "3D rendering": {"3D", "VRT", "VR", "SSD", "VOLUME_RENDER", "SURFACE_RENDER", "RENDERING", "SURFACE"},
    "subtraction": {"SUBTRACTION", "SUBTRACTED", "SUBTRACT", "DSA"},
    "material or spectral map": {
        "MAT_SPECIFIC", "MAT_FRACTIONAL", "MAT_VALUE_BASED", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "IODINE", "ZEFF",
        "Z_EFF",
    },
    "perfusion or parametric map": {"PERFUSION", "PARAMETRIC", "CBF", "CBV", "MTT", "TTP"},
    "fused image": {"FUSION", "FUSED"},
    "screen capture": {"SCREEN", "SCREENSHOT", "CAPTURE", "SCREEN_SAVE", "SCREENSAVE"},
    "protocol or dose page": {"PROT", "PROTOCOL", "DOSE_INFO", "REPORT"},
}  # fmt: skip
"""What is no slice in HU, and the words that say so."""
REFORMATTED = frozenset({"MPR", "REFORMATTED", "REFORMAT", "MULTIPLANAR"})
CODES = {
    "113062": "subtraction", "113073": "curved reformation", "113074": "3D rendering", "113075": "3D rendering",
    "113078": "maximum intensity projection (MIP)", "113079": "minimum intensity projection (MinIP)",
}  # fmt: skip
"""Derivation codes of DCM (PS3.16 CID 7203)."""
DESCRIBED = (*list(PROCESSED)[:2], "3D rendering", "subtraction")
"""Kinds that are also believed when only the SeriesDescription of a derived image says so."""


def words_of(values: tuple[str, ...]) -> set[str]:
    """Words of an ImageType in upper case: whole values with ``_`` for spaces, and what they consist of."""
    found = set()
    for value in values:
        joined = re.sub(r"[\s/-]+", "_", value.strip().upper())
        found |= {joined, *joined.split("_")}
    return found - {""}


def processed_name(values: tuple[str, ...]) -> str:
    """Name of what an ImageType stands for where that is no slice in HU; empty else."""
    words = words_of(values)
    return next((name for name, known in PROCESSED.items() if known & words), "")


def is_plain_original(values: tuple[str, ...]) -> bool:
    """Whether ImageType says neither DERIVED nor SECONDARY nor reformatted; an absent one says nothing."""
    return values[:1] != ("DERIVED",) and values[1:2] != ("SECONDARY",) and not words_of(values) & REFORMATTED


def kind_of_type(values: tuple[str, ...]) -> str:
    """Kind that an ImageType (or an enhanced FrameType) stands for: image | derived | processed | localizer."""
    if words_of(values) & SCOUT_WORDS:
        return "localizer"
    if processed_name(values):
        return "processed"
    return "image" if is_plain_original(values) else "derived"


def name_of(header: Header) -> str:
    """Name of a processed image, from its type, derivation code or, where it is derived, series description."""
    name = processed_name(header.image_type) or processed_name((header.text("VolumeBasedCalculationTechnique"),))
    if name:
        return name
    try:
        codes = [str(item.get("CodeValue")) for item in header.dataset.get("DerivationCodeSequence") or []]
    except Exception:  # a damaged sequence is parsed only here, and says nothing
        codes = []
    name = next((CODES[code] for code in codes if code in CODES), "")
    if name or is_plain_original(header.image_type):
        return name
    described = processed_name(tuple(header.text("SeriesDescription").split()))
    return described if described in DESCRIBED else ""


def kind_of(header: Header) -> str:
    """Kind of an object: image | derived | processed | localizer | other (not CT, secondary capture, report)."""
    if header.text("SOPClassUID") not in CT_CLASSES or header.text("Modality").upper() != "CT":
        return "other"
    kind = kind_of_type(header.image_type)
    return "processed" if kind in ("image", "derived") and name_of(header) else kind


def could_be_slice(header: Header) -> bool:
    """Whether an object of another class or modality may be a slice whose header was altered.

    Known classes of other things are not; an object of the CT classes, or of an unknown one with a place, may be.
    """
    sop_class = header.text("SOPClassUID")
    if sop_class in CT_CLASSES:
        return True
    is_unknown = UID(sop_class).name == sop_class
    return is_unknown and bool(header.text("ImagePositionPatient"))


def is_reformatted(header: Header) -> bool:
    """Whether the object says that it is a multi-planar reformation."""
    return bool(words_of(header.image_type) & REFORMATTED)
