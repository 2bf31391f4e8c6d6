# SPDX-License-Identifier: Apache-2.0
"""A CT volume in Hounsfield units with its place in the patient: what every reader returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.printable import printable

LOWEST_HU = -1024.0
"""Of every volume; padding becomes this, and what lies beyond a volume has it."""
MAX_HU = 32767.0
"""No CT number scale, extended ones included, goes beyond."""
AIR_BELOW_HU = -900.0
"""Air in a calibrated CT is below, that of the trachea too."""
AIR_FRACTION = 0.001
"""At least so much of a CT's voxels is air; six chest CTs cut tight around the lungs have it at -960 HU or below."""


class Notice(str):
    """A warning (``W-...``) or a note (``N-...``) about the input: reads as ``W-SPACING text``."""

    code: str

    def __new__(cls, code: str, text: str = "") -> "Notice":
        """Join code and text; both stay readable from the string."""
        notice = super().__new__(cls, f"{code} {printable(text)}".rstrip())
        notice.code = code
        return notice


def air_hu(hu: np.ndarray) -> float:
    """HU that AIR_FRACTION of the values lie below, padding left out; LOWEST_HU where there is nothing else."""
    values = hu[hu > LOWEST_HU]
    return float(np.quantile(values, AIR_FRACTION)) if values.size else LOWEST_HU


def no_air(air: float) -> list[Notice]:
    """W-HU where the least dense matter of a volume, as :func:`air_hu` gives it, is no air."""
    text = f"no air in the volume: the least dense voxels have {air:.0f} HU (expected below {AIR_BELOW_HU:.0f})."
    return [Notice("W-HU", text)] if air > AIR_BELOW_HU else []


@dataclass(frozen=True)
class Origin:
    """Where a volume was read from, so that a writer can read its headers again.

    Attributes:
        path: DICOM folder or file, or volume file; never printed or written, since it may name the patient.
        leniency: options with which it was read, see :class:`lungcad.dicom.Leniency`.
    """

    path: Path
    leniency: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Volume:
    """One validated CT series.

    Attributes:
        hu: (X, Y, Z) float32, Hounsfield units, at least -1024; X runs along the image rows (columns of
            the DICOM pixel matrix), Y down the columns, Z over the slices by ascending position along the
            slice normal.
        affine: (4, 4) float64, index (x, y, z, 1) of ``hu`` to DICOM patient LPS millimetres.
        series_uid: SeriesInstanceUID; for a file that is not DICOM, the file's name without suffix.
        sop_instance_uids: SOP Instance UID by index along Z; one repeated UID for a multi-frame object;
            empty where the input is not DICOM.
        instance_numbers: InstanceNumber by index along Z, None where absent.
        study_uid, frame_of_reference_uid: empty where unknown.
        description: what may be printed about the series; never a patient's name or id.
        warnings: what was noticed and accepted.
        origin: where it was read from; None for an array.
        published_uid: stands for ``series_uid`` in results; empty where that may be published itself.
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
