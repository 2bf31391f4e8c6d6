# SPDX-License-Identifier: Apache-2.0
"""Phantom: a synthetic chest CT with nodules of known position and size, for the demonstration and the tests.

It looks like a CT to a network and to a reader; it shows that the program runs, not that it finds nodules.
"""

from typing import TypedDict

from lungcad.phantom.chest import make_phantom
from lungcad.phantom.nodules import Nodule
from lungcad.phantom.series import write_series


class Size(TypedDict):
    """Size arguments of :func:`make_phantom`: number of voxels and spacing in mm along X, Y, Z."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


SIZES: dict[str, Size] = {
    "full": {"shape": (512, 512, 140), "spacing_mm": (0.7, 0.7, 2.0)},
    "small": {"shape": (128, 128, 48), "spacing_mm": (1.7, 1.7, 2.5)},
}
"""Sizes by name: an adult, and a smaller body in few voxels for tests."""

__all__ = ["SIZES", "Nodule", "make_phantom", "write_series"]
