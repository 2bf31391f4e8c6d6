# SPDX-License-Identifier: Apache-2.0
"""Samples drawn at random that are the same whenever a training is repeated or resumed."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset


class RandomSamples(Dataset[Any]):
    """As many samples as asked for; each is a function of (seed, epoch, index).

    Args:
        length: samples per epoch.
        seed: of everything random.
    """

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Other samples for the next epoch, the same ones whenever it is repeated."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def rng(self, item: int) -> np.random.Generator:
        """Source of chance of one sample."""
        return np.random.default_rng((self.seed, self.epoch, item))
