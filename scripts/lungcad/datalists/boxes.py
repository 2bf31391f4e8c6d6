# SPDX-License-Identifier: Apache-2.0
"""Spheres as boxes."""

from collections.abc import Iterable, Sequence

DECIMALS = 6
"""Of millimetres in a datalist: a nanometre."""


def sphere_box(sphere: Sequence[float]) -> list[float]:
    """Turn x, y, z, diameter into the box x, y, z, d, d, d around it, MONAI's mode ``cccwhd``."""
    x, y, z, diameter = (round(float(value), DECIMALS) for value in sphere)
    return [x, y, z, diameter, diameter, diameter]


def sphere_boxes(spheres: Iterable[Sequence[float]]) -> list[list[float]]:
    """Boxes of any number of spheres."""
    return [sphere_box(sphere) for sphere in spheres]
