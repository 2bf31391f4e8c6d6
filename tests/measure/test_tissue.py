# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from measured_ball import STEP_MM, ball

from lungcad.measure.tissue import kind_of, tissue_of

SPACING = np.full(3, STEP_MM)
MASK = ball(6.0) > 0.5


def of(hu: np.ndarray, slice_mm: float = 1.0):
    return tissue_of(MASK, hu.astype(np.float32), SPACING, slice_mm)


def test_kinds_by_the_share_that_is_solid() -> None:
    assert [kind_of(share) for share in (0.0, 0.17, 0.18, 0.37, 0.38, 1.0)] == [
        "non-solid", "non-solid", "part-solid", "part-solid", "solid", "solid"
    ]  # fmt: skip


def test_soft_tissue_ground_glass_and_a_core_in_ground_glass() -> None:
    soft, glass = of(np.full(MASK.shape, 30)), of(np.full(MASK.shape, -600))
    assert (soft.kind, soft.solid_mm, soft.calcification) == ("solid", None, "none")
    assert (glass.kind, glass.solid_mm, glass.calcification) == ("non-solid", None, "none")
    part = of(-600 + 620 * ball(4.0))
    assert part.kind == "part-solid"  # (4 / 6) ** 3 = 0.30 is solid
    assert part.solid_mm == pytest.approx(8.0, abs=0.8)


def test_patterns_of_calcium() -> None:
    assert of(np.full(MASK.shape, 500)).calcification == "diffuse"
    assert of(30 + 600 * ball(3.8)).calcification == "central"
    assert of(30 + 600 * ball(3.8, (3.5, 0, 0))).calcification == "eccentric"
    assert of(30 + 600 * ball(1.5)).calcification == "none"  # too little


def test_thick_slices_do_not_tell_calcium() -> None:
    thick = of(np.full(MASK.shape, 500), slice_mm=5.0)
    assert (thick.kind, thick.calcification) == ("solid", None)
