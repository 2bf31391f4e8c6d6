# SPDX-License-Identifier: Apache-2.0
"""Places in a lung to set a nodule in: in clear lung, against a vessel, or at the pleura.

At least a third of real nodules touch a vessel or the pleura; composites with all nodules clear of both would be too
easy. Fissures are thinner than a voxel in most of the lungs here and are not considered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lungcad.scan.patch import cut_patch
from lungcad.training.cases import Sphere

VESSEL_HU = -650.0
"""HU above which a voxel in the middle of a lung is part of a vessel."""
WALL_HU = -450.0
"""Greatest mean HU of a place at the pleura."""
DEPTH_VOXELS = 9
"""Side of the cube around a vessel that must be all lung: the pleura is no vessel."""
TRIES = 200
"""Number of random places tried for a nodule."""

KINDS = ("clear", "vessel", "wall")
"""Kinds of places: in clear lung, against a vessel, at the pleura."""


@dataclass(frozen=True)
class Placement:
    """Settings of the places that nodules and controls are set in at.

    Attributes:
        vessel_share: share of the places that touch a vessel.
        wall_share: share of the places at the pleura.
        clearance_mm: least distance between the surfaces of two nodules, controls or lesions.
    """

    vessel_share: float = 0.3
    wall_share: float = 0.15
    clearance_mm: float = 4.0

    def kind(self, rng: np.random.Generator) -> str:
        """Random kind of a place, one of :data:`KINDS`."""
        return str(rng.choice(KINDS, p=(1 - self.vessel_share - self.wall_share, self.vessel_share, self.wall_share)))


class Places:
    """Random places in one lung.

    Args:
        hu: (X, Y, Z) HU at 1 mm; may be written to between two calls.
        mask: (X, Y, Z) bool, the lungs.
        placement: settings of the places.
    """

    def __init__(self, hu: np.ndarray, mask: np.ndarray, placement: Placement = Placement()):
        self.hu, self.mask, self.placement = hu, mask, placement

    @cached_property
    def dense(self) -> np.ndarray:
        """Flat indices (N,) of voxels in the lungs that may belong to a vessel."""
        return np.flatnonzero((self.hu > VESSEL_HU) & self.mask)

    def find_place(self, diameter_mm: float, taken: Sequence[Sphere], rng: np.random.Generator) -> np.ndarray | None:
        """Find a random place for a nodule.

        If :data:`TRIES` found none against a vessel or at the pleura, it is in clear lung.

        Args:
            diameter_mm: diameter of the nodule.
            taken: spheres to stay clear of.
            rng: random generator.

        Returns:
            Place (3,) as continuous index, or None if there is no room.
        """
        kind = self.placement.kind(rng)
        place = self._find_of_kind(kind, diameter_mm, taken, rng)
        return self._find_of_kind("clear", diameter_mm, taken, rng) if place is None and kind != "clear" else place

    def _find_of_kind(
        self, kind: str, diameter_mm: float, taken: Sequence[Sphere], rng: np.random.Generator
    ) -> np.ndarray | None:
        """Find a random place of one kind, or None after :data:`TRIES`."""
        side = int(np.ceil(diameter_mm)) | 1
        ball = np.linalg.norm(np.indices((side,) * 3) - side // 2, axis=0) <= diameter_mm / 2
        low, high = (0.5, 0.95) if kind == "wall" else (0.95, 1.01)
        for _ in range(TRIES):
            place = self._beside_vessel(diameter_mm, rng) if kind == "vessel" else rng.integers(self.mask.shape)
            if place is None or not cut_patch(self.mask, place, (1, 1, 1), False).all():
                continue
            if not low <= cut_patch(self.mask, place, (side,) * 3, False)[ball].mean() < high:
                continue
            if cut_patch(self.hu, place, (side,) * 3, 0)[ball].mean() > (WALL_HU if kind == "wall" else VESSEL_HU):
                continue
            gaps = [np.linalg.norm(place - sphere.index) - (sphere.diameter_mm + diameter_mm) / 2 for sphere in taken]
            if not gaps or min(gaps) > self.placement.clearance_mm:
                return place + rng.uniform(-0.5, 0.5, 3)
        return None

    def _beside_vessel(self, diameter_mm: float, rng: np.random.Generator) -> np.ndarray | None:
        """Find a place (3,), a whole index, at the radius or up to 1.5 mm more from a voxel of a vessel."""
        if not len(self.dense):
            return None
        vessel = np.array(np.unravel_index(rng.choice(self.dense), self.mask.shape))
        deep = cut_patch(self.mask, vessel, (DEPTH_VOXELS,) * 3, False).all()
        if not deep or cut_patch(self.hu, vessel, (3, 3, 3), 0).mean() < VESSEL_HU:  # one bright voxel is noise
            return None
        direction = rng.standard_normal(3)
        distance = diameter_mm / 2 + rng.uniform(0, 1.5)
        return np.rint(vessel + direction / np.linalg.norm(direction) * distance).astype(int)
