# SPDX-License-Identifier: Apache-2.0
import numpy as np

from lungcad.papers.dou2017.inference import decode, encode

PATCH_MM = np.array([60.0, 60.0, 48.0])
DIAGONAL_MM = np.sqrt(60.0**2 + 60.0**2 + 48.0**2)


def test_equation_2_by_hand() -> None:
    center, proposal = np.array([25.0, 20.0, 18.0]), np.array([10.0, 20.0, 30.0])
    target = encode(center, np.array(DIAGONAL_MM / np.e**2), proposal, PATCH_MM)
    # 2 (25 - 10) / 60, 2 (20 - 20) / 60, 2 (18 - 30) / 48, log(e^-2)
    np.testing.assert_allclose(target, [0.5, 0.0, -0.5, -2.0], atol=1e-12)


def test_a_nodule_at_the_patchs_side_is_one() -> None:
    target = encode(PATCH_MM / 2, np.array(DIAGONAL_MM), np.zeros(3), PATCH_MM)
    np.testing.assert_allclose(target, [1.0, 1.0, 1.0, 0.0], atol=1e-12)


def test_decode_undoes_encode() -> None:
    rng = np.random.default_rng(0)
    center, proposal, diameter = rng.normal(0, 100, (7, 3)), rng.normal(0, 100, (7, 3)), rng.uniform(3, 30, 7)
    found, size = decode(encode(center, diameter, proposal, PATCH_MM), proposal, PATCH_MM)
    np.testing.assert_allclose(found, center)
    np.testing.assert_allclose(size, diameter)


def test_nothing_decodes_to_nothing() -> None:
    center, diameter = decode(np.zeros((0, 4)), np.zeros((0, 3)), PATCH_MM)
    assert center.shape == (0, 3)
    assert diameter.shape == (0,)
