# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from small_lidc import reading, scan

from lungcad.lidc.labels import jnsc_label, jnsc_marginal, jnsc_soft_label, mtmrnet_label
from lungcad.lidc.nodules import LidcNodule, find_nodules, luna16_mean, most_frequent


def rated(*malignancies: int) -> LidcNodule:
    """One nodule read with these malignancies."""
    (nodule,) = find_nodules([scan(*(reading(n, 0, 0, malignancy=m) for n, m in enumerate(malignancies)))])
    return nodule


def test_consensus_by_hand() -> None:
    nodule = find_nodules([
        scan(reading(7, 10, 20, z_mm=[0, 2], side=6, malignancy=5, calcification=6, texture=5),
             reading(8, 10, 20, z_mm=[2, 4], side=4, malignancy=2, calcification=6, texture=4),
             reading(9, 11, 20, z_mm=[2], side=4, malignancy=2, calcification=3, texture=5)),
    ])[0]  # fmt: skip
    assert nodule.reading_ids == ("7", "8", "9")
    assert nodule.n_readers == 3
    assert nodule.mean["malignancy"] == 3
    assert nodule.median["malignancy"] == 2
    assert nodule.mean["texture"] == pytest.approx(14 / 3)
    assert nodule.mode == {"internalStructure": 1, "calcification": 6}
    assert nodule.n_slices == 3  # z 0, 2, 4
    # centres: (12.5, 22.5, 1), (11.5, 21.5, 3), (12.5, 21.5, 2)
    np.testing.assert_allclose(nodule.centre, [36.5 / 3, 65.5 / 3, 2])
    # pixels inside: 2 * 16, 2 * 4, 4, each 0.5 * 0.5 * 2 = 0.5 mm^3: 16, 4, 2 mm^3
    diameters = [(6 * volume / np.pi) ** (1 / 3) for volume in (16, 4, 2)]
    assert nodule.diameter_mm == pytest.approx(sum(diameters) / 3)
    assert nodule.luna16[3] == pytest.approx(diameters[0] / 2 + diameters[1] / 4 + diameters[2] / 4)
    assert nodule.luna16[2] == pytest.approx(1 / 2 + 3 / 4 + 2 / 4)
    assert nodule.extent_mm == pytest.approx(np.sqrt(2) * 0.5 * (5 + 3 + 3) / 3)
    assert not nodule.touching


def test_readers_are_told_apart_where_the_source_does() -> None:
    twice = [reading(n, 0, 0, reader=reader) for n, reader in enumerate((1, 1, 2))]
    (nodule,) = find_nodules([scan(*twice)])
    assert nodule.n_readers == 2
    assert rated(3, 3, 3).n_readers == 3
    assert rated(3, 3, 3, 3, 3).touching


def test_nodules_are_numbered_within_their_series() -> None:
    found = find_nodules([
        scan(reading(1, 0, 0, z_mm=[4]), reading(2, 90, 90, z_mm=[0])),
        scan(series_uid="4.5"),
        scan(reading(3, 0, 0), series_uid="6.7"),
    ])  # fmt: skip
    assert [(one.series_uid, one.number, one.reading_ids) for one in found] == [
        ("1.2.3", 1, ("2",)), ("1.2.3", 2, ("1",)), ("6.7", 1, ("3",)),
    ]  # fmt: skip


def test_luna16_averages_two_at_a_time_from_the_last() -> None:
    # the three readings of LIDC-IDRI-0008's first nodule in LUNA16: ((4.925 + 5.83) / 2 + 5.997) / 2 = 5.687
    assert float(luna16_mean(np.array([5.997, 5.83, 4.925]))) == pytest.approx(5.687, abs=5e-4)
    np.testing.assert_allclose(luna16_mean(np.eye(4)), [1 / 2, 1 / 4, 1 / 8, 1 / 8])
    assert float(luna16_mean(np.array([6.0]))) == 6


def test_mode_of_equally_frequent_values_is_the_lowest() -> None:
    assert most_frequent([6, 3, 3, 6]) == 3
    assert most_frequent([6, 3, 6]) == 6


@pytest.mark.parametrize(
    ("ratings", "mtmrnet", "jnsc", "soft", "marginal"),
    [
        ((1, 2, 3, 5), 0, 0, 0.375, False),  # mean 2.75, median 2.5
        ((2, 2, 5), None, 0, 0.25, False),  # mean 3, median 2, three readers
        ((3, 3, 4), 1, None, 0.5, False),  # mean 3.33, median 3
        ((3,), None, None, 0.5, True),
        ((4,), 1, 1, 0.75, True),
        ((5,), 1, 1, 1.0, False),
        ((1, 2), 0, 0, 0.125, False),  # median 1.5
        ((2, 2), 0, 0, 0.25, True),
        ((4, 5), 1, 1, 0.875, False),  # median 4.5
        ((4, 4, 4), 1, 1, 0.75, False),  # three readers agree
    ],
)
def test_label_rules(ratings: tuple[int, ...], mtmrnet: int, jnsc: int, soft: float, marginal: bool) -> None:
    nodule = rated(*ratings)
    assert mtmrnet_label(nodule) == mtmrnet
    assert jnsc_label(nodule) == jnsc
    assert jnsc_soft_label(nodule) == soft
    assert jnsc_marginal(nodule) == marginal
