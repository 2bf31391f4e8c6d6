# SPDX-License-Identifier: Apache-2.0
"""Kind of an image, from the words that manufacturers write into ImageType and the codes of its derivation.

Value 1 (ORIGINAL, DERIVED) and value 2 (PRIMARY, SECONDARY) alone say little: every lossily compressed image must say
DERIVED (PS3.3 C.7.6.1.1.2), many iterative reconstructions do, and LIDC-IDRI has original series that say SECONDARY.
"""

import re
from functools import lru_cache

from pydicom.uid import UID

from lungcad.dicom.header import CT_CLASSES, Header

SCOUT_WORDS = frozenset({"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SCANO", "SCANOGRAM", "SCANOSCOPE", "SURVIEW"})
"""Words for a localizer image."""
PROCESSED = {
    "minimum intensity projection (MinIP)": {"MINIP", "MIN_IP", "MNIP", "MINIMUM_INTENSITY_PROJECTION"},
    "maximum intensity projection (MIP)": {"MIP", "MAXIP", "MAX_IP", "TMIP", "MAXIMUM_INTENSITY_PROJECTION"},
    "projection": {"PROJECTION", "PROJECTION_IMAGE", "RADON", "DRR", "RAYSUM", "RAY_SUM"},
    "curved reformation": {"CPR", "CURVED", "CURVED_MPR", "PANORAMIC"},
    "3D rendering": {
        "3D", "VRT", "VR", "SSD", "VOLUME_RENDER", "SURFACE_RENDER", "RENDER", "RENDERED", "RENDERING", "SURFACE",
        "ENDOSCOPY", "FLYTHROUGH", "CINEMATIC",
    },
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
"""Words in ImageType by the kind of processed image, which is not a slice in HU, that they stand for."""
REFORMATTED = frozenset({"MPR", "REFORMATTED", "REFORMAT", "MULTIPLANAR"})
"""Words for a multi-planar reformation, which is a slice in HU."""
CODES = {
    "113062": "subtraction", "113073": "curved reformation", "113074": "3D rendering", "113075": "3D rendering",
    "113078": "maximum intensity projection (MIP)", "113079": "minimum intensity projection (MinIP)",
}  # fmt: skip
"""Kinds of processed image by derivation code of the scheme DCM (PS3.16 CID 7203)."""
QUANTITIES = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
"""Defined terms of RescaleType (PS3.3 C.11.1.1.2) for quantities that are no HU: densities, atomic numbers, percent."""
DESCRIBED = (*list(PROCESSED)[:2], "3D rendering", "subtraction")
"""Kinds of processed image that are also recognised by the SeriesDescription of a derived image alone."""
PROJECTION_WORD = re.compile(r"(MN|MIN_?|M|TM|MAX_?)IPS?(\d+(X\d+)?(MM)?)?")
"""Projection in the plural or with its thickness: ``MIPS``, ``MIP10MM``."""
MAP = re.compile(
    r"\b(IODINE|WATER|CALCIUM|FAT|HAP|URIC ACID)\W*"
    r"(MAP|DENSITY|CONCENTRATION|OVERLAY|NO WATER|IODINE|WATER|CALCIUM|FAT)"
    r"|\bZ\W?EFF(ECTIVE)?\b|\bEFFECTIVE Z\b|\bELECTRON DENSITY|\bSPECTRAL MAP|PBV\b"
)
"""Material or spectral map in a SeriesDescription; iodine alone can be the contrast agent."""
PURPOSE = re.compile(r"\b(FOR|FÜR|FUER|POUR|PARA|PER)\b.*")
"""Words in a SeriesDescription that say what slices are made for: thin slices for MIP are no MIP."""


@lru_cache(256)
def words_of(values: tuple[str, ...]) -> frozenset[str]:
    """Words of an ImageType in upper case: each value with ``_`` for spaces, and each of its parts.

    ``3D`` counts as a whole value only: AIDR 3D is a reconstruction of slices. Projections lose plural and thickness.
    """
    found = set[str]()
    for value in values:
        joined = re.sub(r"[\s/-]+", "_", value.strip().upper())
        found |= {joined, *joined.split("_")} - ({"3D"} if joined != "3D" else set())
    projections = {f"{match[1]}IP" for word in found if (match := PROJECTION_WORD.fullmatch(word))}
    return frozenset((found | projections) - {""})


def processed_name(values: tuple[str, ...]) -> str:
    """Kind of processed image that an ImageType stands for; empty where it stands for a slice in HU."""
    words = words_of(values)
    return next((name for name, type_words in PROCESSED.items() if type_words & words), "")


def is_plain_original(values: tuple[str, ...]) -> bool:
    """Whether ImageType says neither DERIVED nor SECONDARY nor reformatted; an absent ImageType counts as original."""
    return values[:1] != ("DERIVED",) and values[1:2] != ("SECONDARY",) and not words_of(values) & REFORMATTED


def kind_of_type(values: tuple[str, ...]) -> str:
    """Kind by ImageType, or FrameType of an enhanced object: ``image``, ``derived``, ``processed`` or ``localizer``."""
    if words_of(values) & SCOUT_WORDS:
        return "localizer"
    if processed_name(values):
        return "processed"
    return "image" if is_plain_original(values) else "derived"


def name_if_processed(header: Header) -> str:
    """Kind of a processed image; empty for a slice in HU.

    Asked are ImageType, derivation code, RescaleType and, of a derived image, SeriesDescription.
    """
    name = processed_name(header.image_type) or processed_name((header.text("VolumeBasedCalculationTechnique"),))
    if name:
        return name
    try:
        codes = [str(item.get("CodeValue")) for item in header.dataset.get("DerivationCodeSequence") or []]
    except Exception:  # a damaged sequence is parsed only here, and says nothing
        codes = []
    name = next((CODES[code] for code in codes if code in CODES), "")
    name = name or name_of_quantity(header.text("RescaleType"))
    return name if name or is_plain_original(header.image_type) else name_described(header)


def name_of_quantity(rescale_type: str) -> str:
    """Kind of processed image whose values RescaleType calls another quantity than HU; empty for others."""
    return "material or spectral map" if rescale_type.upper() in QUANTITIES else ""


def name_described(header: Header) -> str:
    """Kind of processed image that SeriesDescription names; empty for a slice. It is no proof for original images."""
    text = PURPOSE.sub("", header.text("SeriesDescription").upper())
    name = processed_name(tuple(word for word in re.split(r"[^\w-]+", text) if word != "3D"))
    return name if name in DESCRIBED else "material or spectral map" if MAP.search(text) else ""


def kind_of(header: Header) -> str:
    """Kind of an object: that of its ImageType, or ``other`` (another modality or class, such as a report)."""
    if header.text("SOPClassUID") not in CT_CLASSES or header.text("Modality").upper() != "CT":
        return "other"
    kind = kind_of_type(header.image_type)
    return "processed" if kind in ("image", "derived") and name_if_processed(header) else kind


def could_be_slice(header: Header) -> bool:
    """Whether an object of kind ``other`` may be a slice with an altered header.

    True for an object of the CT classes, and for one of an unknown class with a position in the patient; False for
    known classes of other objects.
    """
    sop_class = header.text("SOPClassUID")
    if sop_class in CT_CLASSES:
        return True
    is_unknown = UID(sop_class).name == sop_class
    return is_unknown and bool(header.text("ImagePositionPatient"))


def is_reformatted(header: Header) -> bool:
    """Whether ImageType calls the object a multi-planar reformation."""
    return bool(words_of(header.image_type) & REFORMATTED)
