# SPDX-License-Identifier: Apache-2.0
"""Arrays in Hounsfield units as volumes, judged like volume files."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lungcad.dicom import Leniency
from lungcad.errors import InputError
from lungcad.reading.rules import check_axes, judged_volume
from lungcad.volume import Volume


def volume_of_array(hu: np.ndarray, affine: ArrayLike | None, name: str = "array", **leniency: Any) -> Volume:
    """Make a volume of an array.

    Args:
        hu: (X, Y, Z) in HU, any real type; it is copied.
        affine: (4, 4) index to DICOM patient LPS mm, its axes at right angles.
        name: name of the volume in the results, in place of a series UID.
        **leniency: options ``max_spacing_mm``, ``min_slices`` and ``memory_limit_bytes``; the others have no effect.

    Returns:
        ``hu`` (X, Y, Z) float32 with Z nearest to the patient's long axis, ``affine`` index to LPS mm.

    Raises:
        InputError: E-NOT-CT (not three axes of real numbers), E-TAG-MISSING (no affine), E-TAG-VALUE (an affine that
            is no map of finite numbers), E-GEOM-TILT (axes not at right angles), E-SIZE, E-FEW-SLICES,
            E-SPACING-THICK, E-HU-RANGE.
    """
    options = Leniency.from_options(leniency)
    if hu.ndim != 3 or not hu.size or not (np.issubdtype(hu.dtype, np.integer) or np.issubdtype(hu.dtype, np.floating)):
        text = f"Not one grey 3D image: array {hu.shape} of {hu.dtype}."
        raise InputError("E-NOT-CT", text, "Give an array (X, Y, Z) of numbers in HU.")
    if 4 * hu.size > options.memory_limit_bytes:
        text = f"{' x '.join(map(str, hu.shape))} voxels exceed the limit of {options.memory_limit_bytes} bytes."
        raise InputError("E-SIZE", text, "Raise memory_limit_bytes if the data are right.")
    return judged_volume(np.array(hu, dtype=np.float32), _checked_affine(affine), options, name)


def _checked_affine(affine: ArrayLike | None) -> np.ndarray:
    """Check an affine (4, 4), index to LPS mm; raises InputError."""
    if affine is None:
        raise InputError("E-TAG-MISSING", "An array without an affine does not say where it lies.",
                         "Give affine=, the (4, 4) matrix from index to DICOM patient LPS mm.")  # fmt: skip
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], (0, 0, 0, 1)):
        text = "The affine is no (4, 4) matrix of finite numbers with the last row 0, 0, 0, 1."
        raise InputError("E-TAG-VALUE", text, "Give index to DICOM patient LPS mm; NIfTI's RAS has other signs.")
    check_axes("the array", matrix)
    return matrix
