# SPDX-License-Identifier: Apache-2.0
"""Random flips and turns by multiples of 90 degrees in the transverse plane, of volumes and of steps within them."""

import numpy as np


class Turn:
    """One flip and turn, drawn at random; the flips with or without the swap make every turn.

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
