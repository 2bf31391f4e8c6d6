# SPDX-License-Identifier: Apache-2.0
import csv
from dataclasses import replace
from pathlib import Path

import pytest
from report_case import ball_volume, some_findings

from lungcad.measurement import Location, Measurement
from lungcad.results.nodules_csv import text_cell, write_nodules_csv
from lungcad.results.result import Result


@pytest.mark.parametrize(
    ("text", "cell"),
    [("1.2.3", "1.2.3"), ("=1+1", "'=1+1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("a\n=b", "a =b")],
)
def test_no_cell_begins_as_a_formula(text: str, cell: str) -> None:
    assert text_cell(text) == cell


def test_a_formula_as_a_name_is_text(tmp_path: Path) -> None:
    volume = ball_volume()
    volume.series_uid, volume.published_uid = "=cmd|' /C calc'!A0", ""
    write_nodules_csv(tmp_path, Result(volume, some_findings(), {"balanced": 0.5}, "balanced"))
    with (tmp_path / "nodules.csv").open() as file:
        assert {row["seriesuid"] for row in csv.DictReader(file)} == {"'=cmd|' /C calc'!A0"}


def test_a_measurement_has_columns_behind_the_others_and_an_unknown_one_empty_cells(tmp_path: Path) -> None:
    measured = Measurement("net 1.0", 8.0, 6.0, 7.0, 6.9, 172.0, -20.5, 168.5, "part-solid", 3.5, "none",
                           doubts=("one", "two"))  # fmt: skip
    first, *others = some_findings()
    first = replace(first, measurement=measured, location=Location("left", "upper", 4.5, False))
    write_nodules_csv(tmp_path, Result(ball_volume(), [first, *others], {"balanced": 0.5}, "balanced"))
    with (tmp_path / "nodules.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["kind"] == "")  # the measured one first
    assert list(rows[0])[:5] == ["seriesuid", "coordX", "coordY", "coordZ", "probability"]
    names = ("mean_diameter_mm", "kind", "calcification_pattern", "doubts")
    assert [rows[0][name] for name in names] == ["7.0", "part-solid", "none", "one; two"]
    assert [rows[0][name] for name in ("side", "zone", "pleura_mm", "juxtapleural")] == ["left", "upper", "4.5", "0"]
    assert rows[1]["kind"] == rows[1]["side"] == ""
