# SPDX-License-Identifier: Apache-2.0
"""Views: pieces of a case, cut as they lie, or turned, tilted and scaled, and the places of nodules in them.

:class:`Turn` and :class:`PlaneTurn` are flips and quarter turns of a piece.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lungcad.scan.blanking import BLANK_HU
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.training.cases import Case, Sphere
from lungcad.volume import LOWEST_HU

AIR_HU = -1000.0
"""Air, which keeps its value whatever a scanner's contrast."""


@dataclass(frozen=True)
class View:
    """Piece of a case.

    Attributes:
        hu: (X, Y, Z) HU.
        place: (3,) place of the piece's middle, as continuous voxel index of the case.
        matrix: (3, 3) map of a step in the piece to a step in the case, both in voxels.
        scale: length of the piece's millimetre in millimetres of the case.
    """

    hu: np.ndarray
    place: np.ndarray
    matrix: np.ndarray
    scale: float

    def steps(self, spheres: Sequence[Sphere]) -> np.ndarray:
        """Steps (N, 3) from the piece's middle to the spheres' centres, in voxels of the piece."""
        steps = [np.linalg.solve(self.matrix, sphere.index - self.place) for sphere in spheres]
        return np.array(steps).reshape(-1, 3)

    def diameters_mm(self, spheres: Sequence[Sphere]) -> np.ndarray:
        """Diameters (N,) of spheres as they appear in the piece, in mm."""
        return np.array([sphere.diameter_mm / self.scale for sphere in spheres])

    def labels(self, volume: np.ndarray) -> np.ndarray:
        """Same piece (X, Y, Z) of another volume of the case, by nearest neighbour; 0 outside of the volume."""
        offset = self.place - self.matrix @ middle_of(self.hu.shape)
        return ndimage.affine_transform(volume, self.matrix, offset, self.hu.shape, order=0, cval=0)


def middle_of(size: Sequence[int]) -> np.ndarray:
    """Middle (3,) of a block of ``size`` voxels, as continuous index."""
    return (np.array(size) - 1) / 2


def view(
    case: Case, place: np.ndarray, size: tuple[int, int, int], rng: np.random.Generator, warp_share: float = 0.0,
    scanner_share: float = 0.0,
) -> View:  # fmt: skip
    """Cut a view of the surroundings of a place out of a case.

    A warped view is turned by any angle in the transverse plane, tilted by up to 20 degrees and scaled by 0.9 to 1.1;
    any other view begins at a whole voxel.

    Args:
        case: case to look at.
        place: (3,) continuous voxel index.
        size: size of the view in voxels, x, y, z.
        rng: random generator.
        warp_share: probability that a view is warped.
        scanner_share: probability that it is changed as if another scanner had made it, see :func:`other_scanner`.
    """
    if warp_share and rng.random() < warp_share:
        seen = _warped(case, place, size, rng)
    else:
        seen = View(cut_patch(case.hu, place, size, BLANK_HU), patch_center(place, size), np.eye(3), 1.0)
    if scanner_share and rng.random() < scanner_share:
        return replace(seen, hu=other_scanner(seen.hu, rng))
    return seen


def _warped(case: Case, place: np.ndarray, size: tuple[int, int, int], rng: np.random.Generator) -> View:
    """View that is turned, tilted and scaled at random, see :func:`view`."""
    spacing, scale = np.array(case.spacing_mm), rng.uniform(0.9, 1.1)
    turn, axis, tilt = rng.uniform(0, 360), rng.uniform(0, 360), rng.uniform(-20, 20)
    rotation = Rotation.from_euler("zxz", (turn - axis, tilt, axis), degrees=True).as_matrix()
    matrix = scale * rotation * spacing / spacing[:, None]
    offset = place - matrix @ middle_of(size)
    hu = ndimage.affine_transform(case.hu, matrix, offset, size, order=1, cval=BLANK_HU)
    return View(hu, np.asarray(place), matrix, scale)


def other_scanner(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """HU (X, Y, Z) as another scanner, kernel or dose might have given them; shape and places stay.

    Half of the calls blur by up to 1.2 voxels (standard deviation), each axis with probability 1/2; then come noise of
    up to 40 HU, fine or as coarse as after a smooth kernel, contrast to air changed by up to 5 %, and an offset of at
    most 25 HU.
    """
    if rng.random() < 0.5:
        hu = ndimage.gaussian_filter(hu, rng.uniform(0, 1.2, 3) * (rng.random(3) < 0.5))
    noise = rng.standard_normal(hu.shape, dtype=np.float32) * rng.uniform(0, 40)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, 0.7) * 2
    return (hu - AIR_HU + noise) * rng.uniform(0.95, 1.05) + AIR_HU + rng.uniform(-25, 25)


def rescanned(case: Case) -> Case:
    """Case as another scanner might have given it (:func:`other_scanner`), each time the same by its name."""
    hu = other_scanner(case.hu.astype(np.float32), np.random.default_rng(zlib.crc32(case.name.encode())))
    return replace(case, hu=np.rint(hu).clip(LOWEST_HU, np.iinfo(np.int16).max).astype(np.int16))


class Turn:
    """Random flip along each axis and quarter turn in the transverse plane.

    The flips, with or without the swap of x and y, make every turn by a multiple of 90 degrees.

    Args:
        rng: random generator.
    """

    def __init__(self, rng: np.random.Generator):
        self.axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
        self.swap = bool(rng.random() < 0.5)

    def volume(self, array: np.ndarray) -> np.ndarray:
        """Volume (X, Y, Z), turned; X and Y are equal."""
        turned = np.flip(array, self.axes)
        return np.ascontiguousarray(turned.swapaxes(0, 1) if self.swap else turned)

    def step(self, vector: np.ndarray) -> np.ndarray:
        """Steps (..., 3) from the volume's middle, turned."""
        turned = np.array(vector, dtype=float)
        turned[..., list(self.axes)] *= -1
        return turned[..., [1, 0, 2]] if self.swap else turned


class PlaneTurn:
    """Random turn by 0, 90, 180 or 270 degrees in one of the three planes (Liu and Chan 2020, IV.B).

    Args:
        rng: random generator.
    """

    def __init__(self, rng: np.random.Generator):
        self.plane = ((0, 1), (0, 2), (1, 2))[rng.integers(3)]
        self.quarters = int(rng.integers(4))

    def volume(self, array: np.ndarray) -> np.ndarray:
        """Cube (N, N, N), turned."""
        return np.ascontiguousarray(np.rot90(array, self.quarters, self.plane))
