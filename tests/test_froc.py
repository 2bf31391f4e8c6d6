# SPDX-License-Identifier: Apache-2.0
import csv
import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from lungcad.froc import ScoredScan, cpm_with_interval, match, sensitivities, sensitivity_by_diameter

NONE = np.zeros((0, 4))


def spheres(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 4)


def test_marks_hit_strictly_inside_the_radius_and_only_once() -> None:
    nodules = spheres((0, 0, 0, 10), (50, 0, 0, 8))
    marks = np.array([[4.9, 0, 0], [0, 1, 0], [5.0, 0, 0], [50, 4, 0], [80, 0, 0]])
    scan, best = match(nodules, NONE, marks, np.array([0.6, 0.7, 0.9, 0.8, 0.3]))
    # 4.9 and 1 mm hit the first, the better counts; 5.0 mm and 4.0 mm are the radii themselves: both false
    assert best.tolist() == [1, -1]
    assert scan.hits.tolist() == [0.7, -np.inf]
    assert sorted(scan.false) == [0.3, 0.8, 0.9]


def test_marks_on_ignored_lesions_count_neither_way() -> None:
    scan, _ = match(spheres((0, 0, 0, 10)), spheres((20, 0, 0, 10), (2, 0, 0, 10)),
                    np.array([[21.0, 0, 0], [3.0, 0, 0]]), np.array([0.9, 0.4]))  # fmt: skip
    assert scan.hits.tolist() == [0.4]  # also inside an ignored lesion, but a nodule is a nodule
    assert len(scan.false) == 0


def test_scans_without_marks_or_nodules() -> None:
    missed, best = match(spheres((0, 0, 0, 10)), NONE, np.zeros((0, 3)), np.zeros(0))
    assert best.tolist() == [-1]
    assert missed.hits.tolist() == [-np.inf]
    healthy, _ = match(NONE, NONE, np.array([[1.0, 2, 3]]), np.array([0.5]))
    assert healthy.hits.shape == (0,)
    assert healthy.false.tolist() == [0.5]
    assert sensitivities([missed, healthy]).tolist() == [0.0] * 7


def two_scans() -> list[ScoredScan]:
    """Three nodules, two found; one false mark in each scan."""
    return [
        ScoredScan(np.array([0.9, -np.inf]), np.array([4.0, 12.0]), np.array([0.8])),
        ScoredScan(np.array([0.7]), np.array([5.0]), np.array([0.6])),
    ]


def test_curve_by_hand() -> None:
    # going down:  0.9 hit: 1/3 at 0 | 0.8 false: 1/3 at 1/2 | 0.7 hit: 2/3 at 1/2 | 0.6 false: 2/3 at 1
    third = 1 / 3
    np.testing.assert_allclose(sensitivities(two_scans()), [third, third, *[2 * third] * 5])
    assert cpm_with_interval(two_scans(), rounds=10)[0] == pytest.approx((2 * third + 5 * 2 * third) / 7)


def test_equal_scores_fall_together() -> None:
    scans = [ScoredScan(np.array([0.5]), np.array([5.0]), np.array([0.5, 0.5]))]
    # one step from (0, 0) to (2 false per scan, all found): a straight line between
    np.testing.assert_allclose(sensitivities(scans), [0.0625, 0.125, 0.25, 0.5, 1, 1, 1])


def test_interval_holds_the_value_and_narrows_with_more_scans() -> None:
    few = cpm_with_interval(two_scans() * 2, rounds=300)
    many = cpm_with_interval(two_scans() * 30, rounds=300)
    for value, low, high in (few, many):
        assert low <= value <= high
    assert many[0] == pytest.approx(few[0])
    assert many[2] - many[1] < (few[2] - few[1]) / 2
    assert cpm_with_interval(two_scans(), rounds=50) == cpm_with_interval(two_scans(), rounds=50)


def test_nothing_to_score_is_an_error() -> None:
    healthy = ScoredScan(np.zeros(0), np.zeros(0), np.array([0.3]))
    for scans in ([], [healthy]):
        with pytest.raises(ValueError, match="no nodule"):
            sensitivities(scans)


def test_by_diameter() -> None:
    assert sensitivity_by_diameter(two_scans()) == {"3-5 mm": (1, 1), "5-10 mm": (1, 1), ">10 mm": (0, 1)}
    assert sensitivity_by_diameter(two_scans(), threshold=0.8)["5-10 mm"] == (0, 1)


@pytest.mark.shared_data
def test_a_public_luna16_submission_gets_its_known_score(shared: Path) -> None:
    folder = shared / "data" / "luna16"

    def table(name: str) -> dict[str, np.ndarray]:
        rows = defaultdict(list)
        with (folder / name).open(newline="") as file:
            for row in csv.DictReader(file):
                diameter = float(row["diameter_mm"])
                rows[row["seriesuid"]].append(
                    [*(float(row[f"coord{axis}"]) for axis in "XYZ"), diameter if diameter > 0 else 10.0]
                )
        return {uid: np.array(found) for uid, found in rows.items()}

    nodules, ignored = table("annotations.csv"), table("annotations_excluded.csv")
    with (folder / "series_map.csv").open(newline="") as file:
        uids = {row["short_id"]: row["seriesuid"] for row in csv.DictReader(file)}
    marks = defaultdict(list)
    with gzip.open(folder / "dpn26bs32.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            marks[uids[row["seriesuid"]]].append(
                [float(row[key]) for key in ("coordX", "coordY", "coordZ", "probability")]
            )
    scans = []
    for uid in uids.values():
        found = np.array(marks[uid]).reshape(-1, 4)
        if len(found) > 100:  # LUNA16 looks at 100 marks per scan: those above the 101st
            found = found[found[:, 3] > np.sort(found[:, 3])[-101]]
        scans.append(match(nodules.get(uid, NONE), ignored.get(uid, NONE), found[:, :3], found[:, 3])[0])
    assert len(scans) == 888
    hits = np.concatenate([scan.hits for scan in scans])
    assert (len(hits), int(np.isfinite(hits).sum())) == (1186, 1136)
    assert sum(len(scan.false) for scan in scans) == 46078
    expected = [0.692, 0.769, 0.824, 0.865, 0.893, 0.917, 0.933]
    np.testing.assert_allclose(sensitivities(scans), expected, atol=6e-4)
    assert sensitivities(scans).mean() == pytest.approx(0.842, abs=6e-4)
