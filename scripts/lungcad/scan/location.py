# SPDX-License-Identifier: Apache-2.0
"""Location of a point in the patient's body."""

from collections.abc import Sequence

import numpy as np

from lungcad.geometry import nearest_lps_order, to_index
from lungcad.volume import Volume


def side_of_body(volume: Volume, center_lps_mm: Sequence[float]) -> str | None:
    """Side of the patient, ``right`` or ``left``, on which a point lies; None within 30 mm of the body's midline.

    The midline is the middle of the body's outline in the point's slice. Near it the side is too uncertain to name.

    Args:
        volume: CT volume in any axis order.
        center_lps_mm: (x, y, z) of the point in patient LPS mm.
    """
    hu, affine = nearest_lps_order(volume)
    index = to_index(affine, center_lps_mm)
    level = int(np.clip(np.rint(index[2]), 0, hu.shape[2] - 1))
    body = (hu[:, :, level] > -300).sum(axis=1)
    columns = np.flatnonzero(body > 0.25 * body.max())  # leaves out a table's edge and a thin blanket
    if columns.size == 0:
        return None
    off_mm = (index[0] - (columns[0] + columns[-1]) / 2) * np.linalg.norm(affine[:3, 0])
    return None if abs(off_mm) < 30 else "left" if off_mm > 0 else "right"
