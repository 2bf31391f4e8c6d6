# SPDX-License-Identifier: Apache-2.0
"""Random flips and turns by multiples of 90 degrees, of volumes and of steps within them."""

import numpy as np


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
