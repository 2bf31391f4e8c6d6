# SPDX-License-Identifier: Apache-2.0
"""CT volume in Hounsfield units with its position in the patient, the result of every reader, and its notices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.printable import printable

LOWEST_HU = -1024.0
"""Lowest HU of a volume; also the value of padding and of everything beyond the volume."""
MAX_HU = 32767.0
"""Highest HU of any CT number scale, extended ones included."""
AIR_BELOW_HU = -900.0
"""Upper end of air in a calibrated CT in HU, that in the trachea included."""
AIR_FRACTION = 0.001
"""Least share of air among a CT's voxels; in six chest CTs cropped to the lungs it has -960 HU or less."""


CHEST_MM = 200.0, 200.0, 80.0
"""Smallest width, depth and length of a volume that is expected to hold the chest."""
TISSUE_ABOVE_HU = -500.0
"""Value above which tissue lies, the lungs' own left out."""
TISSUE_MEDIAN_HU = -250.0, 450.0
"""Range of the median of tissue in a chest. In two chest CTs, nine lungs with what is around them and 45 crops of 64 x
64 pixels it lies between -112 and 306 HU."""
TISSUE_FRACTION = 0.01
"""Least share of tissue among a volume's voxels from which its median is judged."""
BELOW_AIR_HU = -1500.0, -1100.0
"""Range of values that are too low for air and too high for padding."""
BELOW_AIR_FRACTION = 0.05
"""Largest share of such values that noise and streaks in air explain."""


HU_SPAN = 256.0
"""Least range of a CT's values in HU: lung and tissue are 500 apart; masks and pictures of eight bits span 255."""
UNCALIBRATED_ABOVE_HU = -300.0
"""Value of the darkest region above which a volume holds no air."""
DENSE_HU, DENSE_FRACTION = 700.0, 0.3
"""Value above which only bone, metal and contrast agent lie, and the share of a volume that they cannot fill."""


METAL_HU, MAX_METAL_FRACTION = 4095.0, 0.2
"""Value above which only metal lies, and the largest share of a slice or volume that it can fill."""
PADDING_HU = -1500.0
"""Value below which voxels are padding even where none is declared."""


class Notice(str):
    """Warning (``W-...``) or note (``N-...``) about the input: a string such as ``W-SPACING text``, and its code."""

    code: str

    def __new__(cls, code: str, text: str = "") -> "Notice":
        """Notice with the string ``code text``; the text is made printable."""
        notice = super().__new__(cls, f"{code} {printable(text)}".rstrip())
        notice.code = code
        return notice

    @property
    def text(self) -> str:
        """Text without the code."""
        return self.removeprefix(self.code).strip()

    def as_dict(self) -> dict[str, str]:
        """``code`` and ``text`` for JSON."""
        return {"code": self.code, "text": self.text}


def air_hu(hu: np.ndarray) -> float:
    """Quantile :data:`AIR_FRACTION` of the HU without padding; LOWEST_HU where there is nothing but padding."""
    values = hu[hu > LOWEST_HU]
    return float(np.quantile(values, AIR_FRACTION)) if values.size else LOWEST_HU


def warn_without_air(air: float) -> list[Notice]:
    """Warning W-HU where the least dense matter of a volume, the HU of :func:`air_hu`, is no air; else nothing."""
    text = f"no air in the volume: the least dense voxels have {air:.0f} HU (expected below {AIR_BELOW_HU:.0f})."
    return [Notice("W-HU", text)] if air > AIR_BELOW_HU else []


def why_no_hu(hu: np.ndarray, highest: float) -> str:
    """Reason in words why values cannot be HU of a CT; empty where they can.

    Args:
        hu: HU in an array of any shape, or every nth of them.
        highest: highest of all HU.
    """
    if highest < TISSUE_ABOVE_HU:
        return f"no value above {TISSUE_ABOVE_HU:.0f} HU"
    metal = float(np.mean(hu > METAL_HU))
    if metal > MAX_METAL_FRACTION:
        return f"{metal:.0%} of the volume is denser than metal implants"
    values = hu[hu > LOWEST_HU]
    low, high = np.quantile(values if values.size else hu, (AIR_FRACTION, 1 - AIR_FRACTION))
    if high - low < HU_SPAN:
        return f"the values lie between {low:.4g} and {high:.4g}, as those of a mask or a picture"
    if low > UNCALIBRATED_ABOVE_HU and float(np.mean(hu > DENSE_HU)) > DENSE_FRACTION:
        return f"no air (nothing below {low:.0f} HU) and mostly denser than bone: not calibrated in HU"
    return ""


def is_wider(spacing_mm: float, limit_mm: float, slices: int) -> bool:
    """Whether slices are further apart than a limit in mm, by more than positions rounded to 0.1 mm explain."""
    return spacing_mm > limit_mm + max(1e-3, 0.2 / max(slices - 1, 1))


def holds_chest(size_mm: Sequence[float] | np.ndarray) -> bool:
    """Whether a volume of the size (x, y, z) in mm can hold the chest; a phantom or a crop cannot."""
    return all(side >= least for side, least in zip(size_mm, CHEST_MM, strict=True))


def warn_of_scale(hu: np.ndarray, size_mm: Sequence[float] | np.ndarray) -> list[Notice]:
    """Warning W-HU where values cannot be HU of a chest: no air, or, in a whole one, tissue far off; else nothing.

    A wrong slope, or an intercept that was applied twice, leaves air in place, since values end at LOWEST_HU.

    Args:
        hu: HU in an array of any shape.
        size_mm: width, depth and length of the volume.
    """
    without_air = warn_without_air(air_hu(hu))
    tissue = hu[hu > TISSUE_ABOVE_HU]
    if without_air or not holds_chest(size_mm) or tissue.size < TISSUE_FRACTION * hu.size:
        return without_air
    median, (low, high) = float(np.median(tissue)), TISSUE_MEDIAN_HU
    text = f"half of what is denser than lung has more than {median:.0f} HU (expected {low:.0f} to {high:.0f})"
    is_usual = low <= median <= high
    return [] if is_usual else [Notice("W-HU", f"{text}: the rescale slope or intercept may be wrong.")]


def warn_below_air(voxels: int, total: int) -> list[Notice]:
    """Warning W-HU where many of a volume's voxels have values in :data:`BELOW_AIR_HU`; else nothing."""
    if voxels <= BELOW_AIR_FRACTION * total:
        return []
    text = f"{voxels / total:.0%} of the voxels lie below {BELOW_AIR_HU[1]:.0f} HU, which nothing does (air: -1000)"
    return [Notice("W-HU", f"{text}: the rescale slope or intercept may be wrong.")]


@dataclass(frozen=True)
class Origin:
    """Source of a volume, from which a writer can read its headers again.

    Attributes:
        path: DICOM folder or file, or volume file; never printed or written, since it may name the patient.
        leniency: options of the reader, see :class:`lungcad.dicom.Leniency`.
        series: :class:`lungcad.dicom.series.BegunSeries` with the headers that were read, which spares a writer to read
            them again; None where there are none.
    """

    path: Path
    leniency: Mapping[str, Any] = field(default_factory=dict)
    series: Any = field(default=None, repr=False, compare=False)


@dataclass
class Volume:
    """CT volume of one validated series.

    Attributes:
        hu: (X, Y, Z) float32, Hounsfield units, at least -1024; X runs along the image rows (columns of
            the DICOM pixel matrix), Y down the columns, Z over the slices by ascending position along the
            slice normal.
        affine: (4, 4) float64, index (x, y, z, 1) of ``hu`` to DICOM patient LPS millimetres.
        series_uid: SeriesInstanceUID; for a file that is not DICOM, the file's name without suffix.
        sop_instance_uids: SOP Instance UID by index along Z; one repeated UID for a multi-frame object;
            empty where the input is not DICOM.
        instance_numbers: InstanceNumber by index along Z, None where absent.
        study_uid, frame_of_reference_uid: UIDs, empty where unknown.
        description: text about the series that may be printed; never a patient's name or id.
        warnings: warnings and notes about faults that were accepted.
        origin: source that it was read from; None for an array.
        published_uid: name that stands for ``series_uid`` in results; empty where that may be published itself.
    """

    hu: np.ndarray
    affine: np.ndarray
    series_uid: str
    sop_instance_uids: tuple[str, ...] = ()
    instance_numbers: tuple[int | None, ...] = ()
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    description: str = ""
    warnings: list[Notice] = field(default_factory=list)
    origin: Origin | None = field(default=None, repr=False, compare=False)
    published_uid: str = ""

    def __post_init__(self) -> None:
        self.hu = np.asarray(self.hu, dtype=np.float32)  # everything behind counts on it

    @property
    def public_uid(self) -> str:
        """Name of the series in results: its UID, or what stands for a file's name."""
        return self.published_uid or self.series_uid

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along X, Y, Z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)
