# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from small_lidc import reading, scan

from lungcad.lidc.clustering import cluster_readings, outline_distances
from lungcad.lidc.readings import LidcScan


def ids(one: LidcScan) -> list[list[str]]:
    return [[item.reading_id for item in nodule] for nodule in cluster_readings(one)]


def test_readings_at_most_the_slice_thickness_apart_are_one_nodule() -> None:
    # squares of 5 end at column 4; the next begins 2, then 3 columns further
    assert ids(scan(reading(1, 0, 0), reading(2, 6, 0), thickness_mm=2.0)) == [["1", "2"]]
    assert ids(scan(reading(1, 0, 0), reading(2, 7, 0), thickness_mm=2.0)) == [["1"], ["2"]]


def test_nodules_are_chained() -> None:
    assert ids(scan(reading(1, 0, 0), reading(2, 12, 0), reading(3, 6, 0))) == [["1", "2", "3"]]


def test_slices_count_as_voxels_not_millimetres() -> None:
    slices = (0.0, 10.0, 20.0, 30.0)
    apart = (reading(1, 0, 0, z_mm=[0.0]), reading(2, 0, 0, z_mm=[20.0]))
    assert ids(scan(*apart, slice_z_mm=slices, thickness_mm=2.0)) == [["1", "2"]]  # two slices, 20 mm
    assert ids(scan(*apart, slice_z_mm=slices, thickness_mm=1.9)) == [["1"], ["2"]]


def test_the_tolerance_shrinks_while_a_nodule_has_more_than_four_readings() -> None:
    # six readings: two groups of three on the same place, 2 pixels apart. 2.0 joins all, 0.9 * 2.0 = 1.8 parts them
    six = [reading(n, 0 if n < 4 else 6, 0) for n in range(1, 7)]
    assert ids(scan(*six, thickness_mm=2.0)) == [["1", "2", "3"], ["4", "5", "6"]]


def test_shrinking_parts_other_nodules_of_the_scan_too() -> None:
    five = [reading(n, 0 if n < 4 else 6, 0) for n in range(1, 6)]
    pair = [reading(6, 100, 0, z_mm=[4.0]), reading(7, 106, 0, z_mm=[4.0])]
    assert ids(scan(*pair)) == [["6", "7"]]
    assert ids(scan(*five, *pair)) == [["1", "2", "3"], ["4", "5"], ["6"], ["7"]]


def test_nodules_that_touch_stay_joined() -> None:
    five = [reading(n, 0, 0) for n in range(1, 6)]
    assert ids(scan(*five)) == [["1", "2", "3", "4", "5"]]


def test_nodules_are_ordered_by_z_and_scans_may_have_none() -> None:
    assert ids(scan(reading(1, 0, 0, z_mm=[4.0]), reading(2, 90, 0, z_mm=[-4.0]))) == [["2"], ["1"]]
    assert cluster_readings(scan()) == []


def test_distances_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    points = [rng.integers(0, 40, (n, 3)) for n in (30, 1, 17)]
    table = outline_distances(points)
    for i, first in enumerate(points):
        for j, second in enumerate(points):
            brute = np.linalg.norm(first[:, None] - second[None], axis=-1).min() if i != j else 0.0
            assert table[i, j] == pytest.approx(brute)
