# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from small_cases import dark_case

from check_seams import PATCH, _patches, auc_with_interval, margin_slices, without_margin
from lungcad.training.cases import Sphere
from lungcad.training.implant import Tissue


def test_auc_by_hand() -> None:
    negative, positive = [np.array([0.1]), np.array([0.4])], [np.array([0.35]), np.array([0.8])]
    # of four pairs 0.35 < 0.4 alone is in the wrong order
    value, low, high = auc_with_interval(negative, positive, bootstraps=50)
    assert value == 0.75
    assert low <= value <= high
    assert auc_with_interval([np.zeros(3)], [np.zeros(2)], bootstraps=5) == (0.5, 0.5, 0.5)  # ties are halves
    assert auc_with_interval([np.zeros(3)], [np.ones(2)], bootstraps=5)[0] == 1


def test_a_crop_is_cut_to_its_nodule_around_the_same_centre() -> None:
    mask = np.zeros((9, 9, 8), dtype=bool)
    mask[3:6, 3:6, 2:5] = True
    tissue = Tissue(np.where(mask, 50.0, -850.0), mask, np.array([0.7, 0.7, 2.0]), np.array([4.0, 4.0, 3.0]), 5.0)
    assert margin_slices(tissue) == 2
    short = without_margin(tissue)
    assert margin_slices(short) == 0
    np.testing.assert_array_equal(short.mask, mask[:, :, 2:5])
    np.testing.assert_array_equal(short.center, (4, 4, 1))


def test_blanked_patches_hide_the_sphere_and_nothing_else() -> None:
    nodule = Sphere(np.array([40.0, 37.0, 20.0]), 8.0)
    case = dark_case("a", [nodule])
    case.hu[40, 37, 20], case.hu[40, 45, 20] = 400, 300  # the nodule, and 8 mm from its centre
    seen, hidden = (_patches(case, [nodule], blanked)[0, 0].numpy() for blanked in (False, True))
    assert seen.shape == PATCH
    assert (seen == 1).sum() == 1
    assert (hidden == 1).sum() == 0
    assert (hidden == seen)[np.isclose(seen, 1300 / 1400)].all()
    assert 6**3 * np.pi * 4 / 3 / 2 == pytest.approx((hidden == 0.5).sum(), rel=0.1)  # voxels of 2 mm3
