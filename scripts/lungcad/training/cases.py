# SPDX-License-Identifier: Apache-2.0
"""A case: a lung on the working grid with its known nodules. Real scans and implanted ones look alike from here on."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sphere:
    """A nodule, a lesion to leave out, or a control paste.

    Attributes:
        index: (3,) centre as continuous voxel index.
        diameter_mm: of the sphere.
        name: of the nodule; the same in every case that it is in.
        malignancy: what each reader said, 1 to 5; empty where that is not known.
    """

    index: np.ndarray
    diameter_mm: float
    name: str = ""
    malignancy: tuple[float, ...] = ()


@dataclass
class Case:
    """One scan to train or to score on.

    Attributes:
        name: series or composite, unique.
        hu: (X, Y, Z) int16 HU on the working grid, blanked far from the lungs.
        lungs: (X, Y, Z) bool.
        spacing_mm: of the grid.
        nodules: to be found.
        ignored: neither to be found nor false: unlabelled or excluded lesions.
        controls: nodule-free tissue set in by the same code as the nodules; negatives.
        affine: (4, 4), index to LPS mm, or for a composite, which is nobody's scan, to mm from a corner of it; None for
            mm from the first voxel.
        masks: (X, Y, Z) uint8, n where a voxel belongs to ``nodules[n - 1]``, 0 elsewhere; None where nobody drew any.
    """

    name: str
    hu: np.ndarray
    lungs: np.ndarray
    spacing_mm: tuple[float, float, float]
    nodules: list[Sphere] = field(default_factory=list)
    ignored: list[Sphere] = field(default_factory=list)
    controls: list[Sphere] = field(default_factory=list)
    affine: np.ndarray | None = None
    masks: np.ndarray | None = None

    @property
    def to_mm(self) -> np.ndarray:
        """(4, 4), index to mm, from the first voxel where nothing else is said."""
        return np.diag([*self.spacing_mm, 1.0]) if self.affine is None else self.affine

    def distance_mm(self, index: np.ndarray, spheres: list[Sphere]) -> np.ndarray:
        """Distances (N, M) in mm from places (N, 3) to the centres of spheres (M)."""
        centres = np.array([sphere.index for sphere in spheres]).reshape(-1, 3)
        return np.linalg.norm((np.reshape(index, (-1, 1, 3)) - centres) * np.array(self.spacing_mm), axis=-1)
