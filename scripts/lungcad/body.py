# SPDX-License-Identifier: Apache-2.0
"""Scans of any part of the body, for lesions of any organ."""

from functools import cached_property

import numpy as np

from lungcad.errors import InputError
from lungcad.grid import Scan
from lungcad.lungs import FINE_MM, LungMask, block_means, enclosed

PART = 0.1
"""Least share of the largest piece of tissue that an arm or a leg beside it has; what is left of the table has less."""


class BodyScan(Scan):
    """A scan whose working grid is laid over the body.

    Its ``lungs`` are the body with all that it encloses, lungs and bowel too: where lesions of any kind may be.

    Raises:
        InputError: E-HU-RANGE, on first use of :attr:`lungs` or :meth:`grid`: there is no body.
    """

    @cached_property
    def lungs(self) -> LungMask:
        """The body's mask, computed once."""
        hu, affine = block_means(self.volume, FINE_MM)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        mask = enclosed(hu, spacing, PART)
        if not mask.any():
            text = f"no body in the volume: values from {hu.min():.0f} to {hu.max():.0f} at 2 mm (expected HU)."
            raise InputError("E-HU-RANGE", text, "Give a CT volume in HU that shows a body.")
        return LungMask(mask, affine, float(mask.sum() * np.prod(spacing) / 1e3))
