# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import ndimage

from lungcad.scan.blanking import far_from_lungs


def two_lungs(shape: tuple[int, int, int]) -> np.ndarray:
    lungs = np.zeros(shape, dtype=bool)
    x, y, z = (n // 8 for n in shape)
    lungs[2 * x : 3 * x, 3 * y : 6 * y, 2 * z : 5 * z] = True
    lungs[5 * x : 6 * x, 2 * y : 5 * y, 3 * z : 6 * z] = True
    return lungs


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 2.0), (1.0, 1.0, 1.0), (0.7, 0.8, 2.5)])
def test_margin_is_right_to_the_coarse_grid(spacing_mm: tuple[float, float, float]) -> None:
    lungs = two_lungs((83, 76, 41))
    distance = ndimage.distance_transform_edt(~lungs, spacing_mm)
    far = far_from_lungs(lungs, spacing_mm, 12.0)
    assert far.shape == lungs.shape
    assert not far[distance <= 12.0 - 4.0].any()
    assert far[distance > 12.0 + 4.0].all()
    assert not far[lungs].any()


def test_a_wider_margin_blanks_less() -> None:
    lungs = two_lungs((60, 60, 40))
    near, wide = (far_from_lungs(lungs, (1.0, 1.0, 2.0), margin) for margin in (5.0, 12.0))
    assert wide.sum() < near.sum()
    assert not (wide & ~near).any()


def test_without_lungs_everything_is_far() -> None:
    assert far_from_lungs(np.zeros((9, 9, 9), dtype=bool), (1.0, 1.0, 1.0), 12.0).all()
