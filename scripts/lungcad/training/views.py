# SPDX-License-Identifier: Apache-2.0
"""A piece of a case as a network sees it: cut as it lies, or turned, tilted and scaled; and what lies where in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lungcad.scan.blanking import BLANK_HU
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.training.cases import Case, Sphere


@dataclass(frozen=True)
class View:
    """One piece.

    Attributes:
        hu: (X, Y, Z).
        place: (3,) what its middle shows, as continuous voxel index of the case.
        matrix: (3, 3), takes a step in the piece to a step in the case, both in voxels.
        scale: by how much the piece's millimetre is longer than the case's.
    """

    hu: np.ndarray
    place: np.ndarray
    matrix: np.ndarray
    scale: float

    def steps(self, spheres: Sequence[Sphere]) -> np.ndarray:
        """(N, 3) voxels of the piece from its middle to the spheres' centres."""
        return np.array([np.linalg.solve(self.matrix, one.index - self.place) for one in spheres]).reshape(-1, 3)

    def diameters_mm(self, spheres: Sequence[Sphere]) -> np.ndarray:
        """(N,) diameters as they appear in the piece."""
        return np.array([one.diameter_mm / self.scale for one in spheres])

    def labels(self, volume: np.ndarray) -> np.ndarray:
        """(X, Y, Z) of another volume of the case, by nearest neighbour; 0 outside of it."""
        offset = self.place - self.matrix @ middle_of(self.hu.shape)
        return ndimage.affine_transform(volume, self.matrix, offset, self.hu.shape, order=0, cval=0)


def middle_of(size: Sequence[int]) -> np.ndarray:
    """(3,) continuous index of the middle of so many voxels."""
    return (np.array(size) - 1) / 2


def view(
    case: Case, place: np.ndarray, size: tuple[int, int, int], rng: np.random.Generator, warp_share: float = 0.0
) -> View:
    """Look at the surroundings of a place.

    A warped view is turned by any angle in the transverse plane, tilted by up to 20 degrees and scaled by 0.9 to 1.1;
    any other begins at a whole voxel.

    Args:
        case: what to look at.
        place: (3,) continuous voxel index.
        size: of the view in voxels.
        rng: source of chance.
        warp_share: how often a view is warped.
    """
    if not warp_share or rng.random() >= warp_share:
        return View(cut_patch(case.hu, place, size, BLANK_HU), patch_center(place, size), np.eye(3), 1.0)
    spacing, scale = np.array(case.spacing_mm), rng.uniform(0.9, 1.1)
    turn, axis, tilt = rng.uniform(0, 360), rng.uniform(0, 360), rng.uniform(-20, 20)
    rotation = Rotation.from_euler("zxz", (turn - axis, tilt, axis), degrees=True).as_matrix()
    matrix = scale * rotation * spacing / spacing[:, None]
    offset = place - matrix @ middle_of(size)
    hu = ndimage.affine_transform(case.hu, matrix, offset, size, order=1, cval=BLANK_HU)
    return View(hu, np.asarray(place), matrix, scale)


class Turn:
    """One flip and turn in the transverse plane, drawn at random; the flips with or without the swap make every turn.

    Args:
        rng: source of chance.
    """

    def __init__(self, rng: np.random.Generator):
        self.axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
        self.swap = bool(rng.random() < 0.5)

    def volume(self, array: np.ndarray) -> np.ndarray:
        """The volume (X, Y, Z), turned; X and Y are equal."""
        turned = np.flip(array, self.axes)
        return np.ascontiguousarray(turned.swapaxes(0, 1) if self.swap else turned)

    def step(self, vector: np.ndarray) -> np.ndarray:
        """The steps (..., 3) from the volume's middle, turned."""
        turned = np.array(vector, dtype=float)
        turned[..., list(self.axes)] *= -1
        return turned[..., [1, 0, 2]] if self.swap else turned


class PlaneTurn:
    """One turn by 0, 90, 180 or 270 degrees in one of the three planes, drawn at random (Liu and Chan 2020, IV.B).

    Args:
        rng: source of chance.
    """

    def __init__(self, rng: np.random.Generator):
        self.plane = ((0, 1), (0, 2), (1, 2))[rng.integers(3)]
        self.quarters = int(rng.integers(4))

    def volume(self, array: np.ndarray) -> np.ndarray:
        """The cube (N, N, N), turned."""
        return np.ascontiguousarray(np.rot90(array, self.quarters, self.plane))
