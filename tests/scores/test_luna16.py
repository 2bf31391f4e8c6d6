# SPDX-License-Identifier: Apache-2.0
import time
from pathlib import Path

import numpy as np
import pytest

from lungcad.errors import InputError
from lungcad.scores.luna16 import Marks, best_marks, read_marks, read_series, read_spheres, score_scans
from lungcad.scores.submission import score_submission

HEADER = "seriesuid,coordX,coordY,coordZ,probability\n"
SPHERES = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def written(folder: Path, content: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def marks(*scores: float) -> Marks:
    return Marks(np.arange(3 * len(scores), dtype=float).reshape(-1, 3), np.array(scores, dtype=float))


def test_spheres_by_series_with_10_mm_where_the_diameter_is_unknown(tmp_path: Path) -> None:
    path = written(tmp_path, SPHERES + "1.2,1,2,3,-1\n1.3,4,5,6,7.5\n1.2,-1,-2,-3,4\n1.9,0,0,0,5\n")
    spheres, left_out = read_spheres(path, ["1.2", "1.3", "1.4"])
    assert {uid: rows.tolist() for uid, rows in spheres.items()} == {
        "1.2": [[1, 2, 3, 10], [-1, -2, -3, 4]],
        "1.3": [[4, 5, 6, 7.5]],
    }
    assert left_out == 1  # series 1.9 is not scored


@pytest.mark.parametrize("diameter", ["0", "-2", "nan"])
def test_refuses_diameters_that_are_none(diameter: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: diameter_mm is .* \(expected"):
        read_spheres(written(tmp_path, SPHERES + f"1.2,1,2,3,{diameter}\n"), ["1.2"])


def test_marks_by_series_also_from_our_own_table_with_more_columns(tmp_path: Path) -> None:
    header = "probability,seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    path = written(tmp_path, header + "0.9,1.3,1,2,3,\n0.2,1.3,4,5,6,7\n")
    found, _ = read_marks(path, ["1.2", "1.3"])
    assert list(found) == ["1.3"]
    assert found["1.3"].centers_mm.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["1.3"].scores.tolist() == [0.9, 0.2]
    assert read_marks(written(tmp_path, HEADER), ["1.2"]) == ({}, 0)


def test_short_ids_go_through_the_map(tmp_path: Path) -> None:
    table = written(tmp_path, "short_id,seriesuid,fold\n007,1.2,0\n8,1.3,1\n", "map.csv")
    found, _ = read_marks(written(tmp_path, HEADER + "8,1,2,3,0.5\n007,1,2,3,0.4\n"), ["1.2", "1.3"], table)
    assert {uid: own.scores.tolist() for uid, own in found.items()} == {"1.3": [0.5], "1.2": [0.4]}


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("1.9,1,2,3,0.5", "line 3: series 1.9 is not in the list of series. Short ids need --series_map"),
        ("1.2.840.113654.2.55.1,1,2,3,0.5", "is not in the list of series. Score the scans"),
        (",1,2,3,0.5", "line 3: seriesuid is empty"),
        ("1.2,1,2,3,nan", "line 3: probability is 'nan' (expected a finite number)"),
        ("1.2,1,2,inf,0.5", "line 3: coordZ is 'inf' (expected a finite number)"),
        ("1.2,1,2.0.0,3,0.5", "line 3: coordY is '2.0.0' (expected a finite number)"),
        ("1.2,1,2,0.5", "line 3: 4 cells (expected 5)"),
    ],
)
def test_refuses_submissions(row: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_marks(written(tmp_path, f"{HEADER}1.2,1,2,3,0.5\n{row}\n"), ["1.2"])
    assert refused.value.code == "E-TABLE" and error in str(refused.value)


def test_refuses_ids_that_the_map_does_not_know(tmp_path: Path) -> None:
    table = written(tmp_path, "short_id,seriesuid\n7,1.2\n8,1.3\n", "map.csv")
    with pytest.raises(InputError, match="series 9 is not in the series map"):
        read_marks(written(tmp_path, HEADER + "9,1,2,3,0.5\n"), ["1.2"], table)
    with pytest.raises(InputError, match="series 8 is not in the list of series"):
        read_marks(written(tmp_path, HEADER + "8,1,2,3,0.5\n"), ["1.2"], table)
    twice = written(tmp_path, "short_id,seriesuid\n7,1.2\n7,1.3\n", "map.csv")
    with pytest.raises(InputError, match="short_id 7 stands in line 2 already"):
        read_marks(written(tmp_path, HEADER + "7,1,2,3,0.5\n"), ["1.2"], twice)


def test_refuses_a_series_that_is_listed_twice(tmp_path: Path) -> None:
    assert read_series(written(tmp_path, "1.2\n1.3\n")) == ["1.2", "1.3"]
    with pytest.raises(InputError, match="E-TABLE"):
        read_series(written(tmp_path, "1.2\n1.3\n1.2\n"))


def test_at_most_100_marks_count_those_strictly_above_the_101st() -> None:
    hundred = np.linspace(0.01, 1.0, 100)
    assert len(best_marks(marks(*hundred)).scores) == 100
    # 101 different scores: the 101st is the lowest, the 100 above it stay
    assert best_marks(marks(0.001, *hundred)).scores.tolist() == hundred.tolist()
    # 98 above and 5 equal ones on ranks 99 to 103: the 101st is one of the five, so only 98 are strictly above
    kept = best_marks(marks(*[0.5] * 5, *np.linspace(0.6, 0.9, 98)))
    assert len(kept.scores) == 98 and kept.scores.min() == 0.6
    assert kept.centers_mm[0].tolist() == [15, 16, 17]  # of mark number 5
    # all equal: none is above
    assert len(best_marks(marks(*[0.5] * 101)).scores) == 0
    assert len(best_marks(marks(*[0.5] * 101), max_marks=0).scores) == 101


def test_every_listed_scan_is_scored_with_its_own_tables() -> None:
    nodules = {"a": np.array([[0.0, 0, 0, 10]]), "b": np.array([[0.0, 0, 0, 10]])}
    excluded = {"b": np.array([[50.0, 0, 0, 10]])}
    at_50 = Marks(np.array([[50.0, 0, 0], [1, 0, 0]]), np.array([0.9, 0.8]))
    scans = score_scans(["a", "b", "c"], nodules, excluded, {"a": at_50, "b": at_50})
    # in a the mark at 50 mm is false, in b an excluded finding lies there; c has neither nodule nor mark
    assert [scan.best_scores.tolist() for scan in scans] == [[0.8], [0.8], []]
    assert [scan.false_scores.tolist() for scan in scans] == [[0.9], [], []]


@pytest.mark.shared_data
def test_a_public_luna16_submission_gets_its_known_score_in_seconds(shared: Path) -> None:
    folder = shared / "data" / "luna16"
    start = time.process_time()
    figures, _ = score_submission(
        folder / "dpn26bs32.csv.gz", folder / "annotations.csv", folder / "annotations_excluded.csv",
        folder / "seriesuids.csv", series_map=folder / "series_map.csv", bootstraps=1000,
    )  # fmt: skip
    assert time.process_time() - start < 10  # of all cores together
    assert (figures["scans"], figures["nodules"], figures["marks"]) == (888, 1186, 55677)
    assert (figures["hits"], figures["missed"], figures["false_positives"]) == (1136, 50, 46078)
    rounded = [round(value, 3) for value in figures["sensitivities"]]
    assert rounded == [0.692, 0.769, 0.824, 0.865, 0.893, 0.917, 0.933]
    assert round(figures["cpm"], 3) == 0.842
    low, high = figures["cpm_ci"]
    assert 0.80 < low < 0.83 and 0.85 < high < 0.88  # binomial: 2 sqrt(0.84 * 0.16 / 1186) = 0.021, a bit more by scan
    assert figures["true_negative_patients"]["scans_without_nodule"] == 287  # 3D-AG, section IV.G
    assert figures["false_marks_per_scan"] == pytest.approx(46078 / 888)
