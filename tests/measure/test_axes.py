# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from lungcad.measure.axes import transverse_axes


def test_axes_of_a_bar_cross_at_right_angles_and_end_on_its_outline() -> None:
    bar = np.zeros((10, 2, 3), dtype=bool)
    bar[:, :, 1], bar[0, 0, 0] = True, True
    axes = transverse_axes(bar, (0.7, 0.5, 1.0))
    # the diagonal between the outlines of two pixels, and the chord that crosses it at a right angle
    assert (axes.long_mm, axes.short_mm) == pytest.approx((np.hypot(9.5 * 0.7, 0.5), 1.5 * 0.5), rel=0.04)
    long, short = (ends[1] - ends[0] for ends in (axes.long_ends * (0.7, 0.5, 1), axes.short_ends * (0.7, 0.5, 1)))
    assert np.dot(long, short) == pytest.approx(0, abs=1e-9)
    assert (np.linalg.norm(long), np.linalg.norm(short)) == pytest.approx((axes.long_mm, axes.short_mm))
    assert set(axes.long_ends[:, 2]) | set(axes.short_ends[:, 2]) == {1.0}


def test_axes_of_a_single_pixel_are_half_its_sides() -> None:
    axes = transverse_axes(np.ones((1, 1, 1), dtype=bool), (0.7, 0.9, 1.0))
    assert (axes.long_mm, axes.short_mm) == pytest.approx((0.45, 0.35))


@pytest.mark.parametrize("ratio", [1.0, 0.7])
def test_ellipses_have_their_axes_wherever_they_lie(ratio: float) -> None:
    rng = np.random.default_rng(0)
    middle = np.arange(100) - 49.5
    x, y = (np.stack(np.meshgrid(middle, middle, indexing="ij")) + rng.uniform(-0.5, 0.5, (10, 2, 1, 1))).swapaxes(0, 1)
    angle, pixel_mm = rng.uniform(0, np.pi, (10, 1, 1)), 0.3
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    for long_mm in (6.0, 10.0, 20.0):
        masks = np.hypot(along, across / ratio) * pixel_mm <= long_mm / 2
        found = [transverse_axes(mask[:, :, None], (pixel_mm, pixel_mm, 1.0)) for mask in masks]
        assert np.mean([one.long_mm for one in found]) == pytest.approx(long_mm, abs=0.12)
        assert np.mean([one.short_mm for one in found]) == pytest.approx(ratio * long_mm, abs=0.12)


def test_axes_lie_in_the_slice_with_the_longest_axis_among_the_large_ones() -> None:
    mask = np.zeros((12, 8, 4), dtype=bool)
    mask[2:8, 1:7, 1] = True  # 36 pixels, diagonal shorter than the next slice's
    mask[1:11, 2:5, 2] = True  # 30 pixels, 10 long
    mask[:, 3, 3] = True  # 12 long, but a third of the area: a tail
    axes = transverse_axes(mask, (1.0, 1.0, 1.0))
    assert axes.long_ends[0, 2] == 2
    assert axes.long_mm == pytest.approx(np.hypot(9.5, 2), rel=0.02)
    assert axes.short_mm <= axes.long_mm
