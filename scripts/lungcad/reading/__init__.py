# SPDX-License-Identifier: Apache-2.0
"""Reading of a DICOM series, volume file or array to one validated volume."""

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lungcad.errors import InputError
from lungcad.reading.array import volume_of_array
from lungcad.reading.volume_file import read_volume
from lungcad.volume import Volume

__all__ = ["read", "read_volume", "volume_of_array"]


def read(
    source: str | os.PathLike[str] | np.ndarray, affine: ArrayLike | None = None, *, series_uid: str | None = None,
    acquisition: str | None = None, **leniency: Any,
) -> Volume:  # fmt: skip
    """Read a CT from a DICOM folder, file or DICOMDIR, a volume file, or an array.

    Args:
        source: a path, or an array (X, Y, Z) in HU.
        affine: (4, 4) index of the array to DICOM patient LPS mm; only with an array.
        series_uid: SeriesInstanceUID, where a folder holds several series; for an array its name in the results.
        acquisition: label of one acquisition, where a series holds several.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        InputError: the input is refused; ``code`` says why, the message what to do.

    Example:
        >>> import numpy as np
        >>> volume = read(np.linspace(-1000, 1000, 1280).reshape(8, 8, 20), np.diag([-1, -1, 2, 1]))
        >>> volume.hu.dtype, volume.spacing_mm
        (dtype('float32'), (1.0, 1.0, 2.0))
    """
    if isinstance(source, np.ndarray):
        return volume_of_array(source, affine, series_uid or "array", **leniency)
    if affine is not None:
        raise InputError("E-CONFIG", "an affine for a path (expected none: the file says where it lies).")
    return read_volume(source, series_uid, acquisition, **leniency)
