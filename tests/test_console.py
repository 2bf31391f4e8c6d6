# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace

import pytest
from report_case import ball_volume, measured_ball, some_findings

from lungcad.console import StageClock, bar, findings_table, header_lines


def test_stage_lines_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    stages = StageClock()
    with stages("detect") as stage:
        stage.note = "38 candidates"
    with stages("write"):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"detect        38 candidates +0\.0 s", first)
    assert len(first) == len(second) and "38" not in second
    assert list(stages.seconds) == ["detect", "write"]


def test_bar_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bar(range(3), "detect", "slab")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_table_is_aligned_and_unknown_is_a_dash() -> None:
    lines = findings_table(some_findings(), "4 nodules").splitlines()
    assert lines[0] == "4 nodules" and lines[1].split() == ["#", "lps_mm", "diam_mm", "nodule", "malignancy"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[2].split() == ["1", "-60.0", "0.0", "0.0", "-", "0.70", "-"]
    assert lines[4].split()[-2:] == ["0.75", "0.50"] and max(map(len, lines)) <= 80
    assert findings_table([], "no nodule at or above 0.5") == "no nodule at or above 0.5"


def test_table_has_the_measured_size_where_there_is_one() -> None:
    row = findings_table([measured_ball()], "1 nodule").splitlines()[2].split()  # axes of 20.0 and 16.0 mm
    assert row[4] == "18.0" != f"{measured_ball().diameter_mm:.1f}"


def test_table_has_malignancy_only_where_it_is_known() -> None:
    unknown = [replace(one, malignancy_probability=None) for one in some_findings()]
    lines = findings_table(unknown, "4 nodules").splitlines()
    assert lines[1].split() == ["#", "lps_mm", "diam_mm", "nodule"] and lines[2].split()[-1] == "0.70"
    assert len({len(line) for line in lines[1:]}) == 1


def test_header_tells_version_series_and_spacing() -> None:
    lines = header_lines(ball_volume(), bundles={"lung_nodule_cad": "0.1.0"}, device="cpu", output="out").splitlines()
    assert len(lines) == 5 and "48 slices, 1.20 x 1.10 x 2.50 mm" in lines[3]
