# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import pytest
from report_case import ball_volume, some_findings

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
