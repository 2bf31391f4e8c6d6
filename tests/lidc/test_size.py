# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from small_lidc import reading, square

from lungcad.geometry import sphere_diameter
from lungcad.lidc.readings import RATINGS, Contour, Reading
from lungcad.lidc.size import enclosed_pixels, extent_mm, volume_and_centre


def outlined(*contours: Contour) -> Reading:
    return Reading("1", contours, dict.fromkeys(RATINGS, 1))


def test_inside_leaves_the_outline_out() -> None:
    assert sorted(enclosed_pixels(square(10, 20, 4)).tolist()) == [[11, 21], [11, 22], [12, 21], [12, 22]]


def test_inside_of_an_outline_that_steps_over_corners() -> None:
    diamond = np.array([[2, 0], [3, 1], [4, 2], [3, 3], [2, 4], [1, 3], [0, 2], [1, 1]])
    assert sorted(enclosed_pixels(diamond).tolist()) == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]


def test_volume_by_hand() -> None:
    # (6 - 2)^2 + (5 - 2)^2 = 25 pixels of 0.5 mm x 0.5 mm in slices 2 mm apart: 12.5 mm^3
    volume, _ = volume_and_centre(outlined(Contour(0, square(0, 0, 6)), Contour(2, square(0, 0, 5))), 0.5, 2.0)
    assert volume == pytest.approx(12.5)


def test_exclusions_cut_holes() -> None:
    hole = Contour(0.0, square(2, 2, 4), inclusion=False)
    volume, centre = volume_and_centre(outlined(Contour(0.0, square(0, 0, 12)), hole), 1.0, 1.0)
    assert volume == 10**2 - 2**2
    # 100 pixels around 5.5 less 4 around 3.5: (550 - 14) / 96
    np.testing.assert_allclose(centre, [536 / 96, 536 / 96, 0.0])


def test_centre_weighs_slices_by_their_pixels() -> None:
    # 9 pixels around (2, 2) at z 0 and 1 pixel at (1, 1) at z 10
    _, centre = volume_and_centre(outlined(Contour(0.0, square(0, 0, 5)), Contour(10.0, square(0, 0, 3))), 1.0, 10.0)
    np.testing.assert_allclose(centre, [(9 * 2 + 1) / 10, (9 * 2 + 1) / 10, 1.0])


def test_an_outline_too_small_to_enclose_a_pixel_is_somewhere() -> None:
    volume, centre = volume_and_centre(outlined(Contour(3.0, np.array([[4, 4], [5, 4]]))), 1.0, 1.0)
    assert volume == 0
    np.testing.assert_allclose(centre, [4.5, 4, 3])


def test_sphere_of_equal_volume() -> None:
    assert sphere_diameter(np.pi / 6 * 7**3) == pytest.approx(7)
    assert sphere_diameter(0) == 0


def test_extent_is_the_longest_diagonal_of_one_slice() -> None:
    both = outlined(Contour(0, square(0, 0, 4)), Contour(2, square(50, 50, 7)))
    assert extent_mm(both, 0.5) == pytest.approx(6 * np.sqrt(2) * 0.5)  # pixels 0 to 6
    assert extent_mm(outlined(Contour(0, np.array([[1, 1]]))), 0.5) == 0
    assert extent_mm(reading(1, 0, 0, side=4), 1.0) == pytest.approx(3 * np.sqrt(2))
