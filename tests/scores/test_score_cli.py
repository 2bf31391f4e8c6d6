# SPDX-License-Identifier: Apache-2.0
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcad import cli

SCRIPTS = Path(cli.__file__).parents[1]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """Three scans: 1.1 with two nodules, 1.2 with one and an excluded finding of unknown size, 1.3 with none."""
    texts = {
        "annotations": "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.1,0,0,0,4\n1.1,50,0,0,8\n1.2,0,0,0,12\n",
        "excluded": "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,100,0,0,-1\n",
        "seriesuids": "1.1\n1.2\n1.3\n",
        # 1.1: hits, and the same nodule again (surplus) | 1.2: hit, and 4.9 mm from an excluded finding | 1.3: false
        "submission": "seriesuid,coordX,coordY,coordZ,probability\n"
        "1.1,0,0,1.9,0.9\n1.1,0,1,0,0.4\n1.2,5.9,0,0,0.8\n1.2,104.9,0,0,0.99\n1.3,0,0,0,0.85\n",
    }
    paths = {name: tmp_path / f"{name}.csv" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    return paths


def flags(tables: dict[str, Path], output_dir: Path, *more: str) -> list[str]:
    given = [part for name, path in tables.items() for part in (f"--{name}", str(path))]
    return ["score", *given, "--output_dir", str(output_dir), "--bootstraps", "50", *more]


def test_json_on_stdout_is_metrics_json(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(flags(tables, tmp_path / "out", "--json"))
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / "out" / "metrics.json").read_text())
    # 0.9 hit: 1/3 at 0 | 0.85 false: 1/3 at 1/3 | 0.8 hit: 2/3 at 1/3; the third nodule is missed
    assert figures["sensitivities"] == pytest.approx([1 / 3, 1 / 3, *[2 / 3] * 5])
    assert figures["cpm"] == pytest.approx((2 / 3 + 5 * 2 / 3) / 7)
    low, high = figures["cpm_ci"]
    assert 0 <= low < figures["cpm"] < high <= 1
    assert (figures["hits"], figures["missed"], figures["false_positives"], figures["marks"]) == (2, 1, 1, 5)
    assert figures["marks_per_scan"] == pytest.approx(5 / 3)


def test_table_for_people(tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(flags(tables, tmp_path / "out", "--fp_per_scan", "0.3,12"))
    text = capsys.readouterr().out
    assert text.startswith("3 scans, 3 nodules: 2 hit, 1 missed; 1 false positives\nCPM 0.571 (95 % interval")
    rows = [line.split() for line in text.splitlines()[4:13]]
    assert [row[0] for row in rows] == ["1/8", "1/4", "0.3", "1/2", "1", "2", "4", "8", "12"]
    assert [row[5] for row in rows] == ["0.9"] * 3 + ["0.8"] * 6  # thresholds
    assert rows[-1][-3:] == ["1.000", "0.000", "1.000"]  # 4 and 12 mm found, 8 mm missed
    assert "0.667" in text and "sensitivity 0.95 is not reached" in text
    assert text.rstrip().endswith("metrics.json, froc.csv, froc.png")


def test_curve_as_table_and_picture(tables: dict[str, Path], tmp_path: Path) -> None:
    earlier = tmp_path / "out" / "notes.txt"
    earlier.parent.mkdir()
    earlier.write_text("mine")
    cli.main(flags(tables, tmp_path / "out"))
    with (tmp_path / "out" / "froc.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["fp_per_scan", "sensitivity", "low", "high", "threshold"]
    assert (float(rows[0]["fp_per_scan"]), float(rows[-1]["fp_per_scan"])) == (0.125, 8.0)
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)
    assert {row["threshold"] for row in rows} == {"0.9", "0.8"}
    picture = np.array(Image.open(tmp_path / "out" / "froc.png").convert("RGB"))
    assert picture.shape[0] > 500 and picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # a drawing, not a blank
    first = (tmp_path / "out" / "froc.png").read_bytes()
    cli.main(flags(tables, tmp_path / "out"))
    assert (tmp_path / "out" / "froc.png").read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "froc.csv", "froc.png", "metrics.json", "notes.txt",
    ]  # fmt: skip


def test_a_fold_is_scored_with_the_whole_annotations(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables["seriesuids"].write_text("1.1\n1.3\n")
    lines = tables["submission"].read_text().splitlines()
    tables["submission"].write_text("\n".join(line for line in lines if not line.startswith("1.2")))
    cli.main(flags(tables, tmp_path / "out"))
    text = capsys.readouterr().out
    assert text.startswith("2 scans, 2 nodules: 1 hit, 1 missed")
    assert "1 annotations of scans outside the list of series were left out" in text


def test_a_baseline_is_compared_over_the_same_draws(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(flags(tables, tmp_path / "out", "--baseline", str(tables["submission"]), "--json"))
    same = json.loads(capsys.readouterr().out)["baseline"]
    assert (same["cpm_difference"], same["cpm_difference_ci"]) == (0, [0, 0])
    assert same["sensitivity_differences_ci"] == [[0, 0]] * 7
    worse = tmp_path / "worse.csv"  # without the hit in 1.2, which counts from 1/2 false per scan on
    lines = tables["submission"].read_text().splitlines()
    worse.write_text("\n".join(line for line in lines if not line.startswith("1.2,5.9")))
    cli.main(flags(tables, tmp_path / "out", "--baseline", str(worse), "--json"))
    figures = json.loads(capsys.readouterr().out)
    assert figures["baseline"]["sensitivity_differences"] == pytest.approx([0, 0, *[1 / 3] * 5])
    assert figures["cpm"] - figures["baseline"]["cpm"] == pytest.approx(5 / 21)
    assert figures["baseline"]["cpm_difference"] == pytest.approx(5 / 21)
    low, high = figures["baseline"]["cpm_difference_ci"]
    assert 0 <= low <= 5 / 21 <= high
    cli.main(flags(tables, tmp_path / "out", "--baseline", str(worse)))
    assert "CPM of the baseline 0.333, difference +0.238 (+0.000 to" in capsys.readouterr().out


def test_another_column_may_rank_the_marks(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tables["submission"].read_text().splitlines()
    early = ["detection_score", 0.5, 0.5, 0.1, 0.9, 0.2]  # the false mark of 1.3 goes before the hit of 1.2
    tables["submission"].write_text("\n".join(f"{line},{value}" for line, value in zip(lines, early, strict=True)))
    cli.main(flags(tables, tmp_path / "out", "--score_column", "detection_score", "--json"))
    thresholds = [point["threshold"] for point in json.loads(capsys.readouterr().out)["operating_points"]]
    assert thresholds == [0.5, 0.5, *[0.1] * 5]
    with pytest.raises(SystemExit):
        cli.main(flags(tables, tmp_path / "out", "--score_column", "score"))
    assert "submission.csv: column score missing" in capsys.readouterr().err


def test_the_limit_of_marks(tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(flags(tables, tmp_path / "out", "--max_marks", "1", "--json"))
    figures = json.loads(capsys.readouterr().out)
    assert (figures["marks"], figures["marks_over_limit"], figures["hits"]) == (5, 2, 1)  # in 1.2 only 0.99 stays


@pytest.mark.parametrize(
    ("table", "old", "new", "error"),
    [
        ("submission", "1.3,0", "1.4,0", "submission.csv, line 6: series 1.4 is not in the list of series"),
        ("submission", "0.85", "NaN", "submission.csv, line 6: probability is 'NaN'"),
        ("submission", "5.9", "five", "submission.csv, line 4: coordX is 'five'"),
        ("submission", "probability", "score", "submission.csv: column probability missing"),
        ("submission", "probability", "coordX", "submission.csv: column coordX stands there more than once"),
        ("annotations", "1.2,0,0,0,12", "1.2,0,0,0,0", "annotations.csv, line 4: diameter_mm is 0"),
        ("excluded", "-1", "inf", "excluded.csv, line 2: diameter_mm is 'inf'"),
        ("seriesuids", "1.3", "1.2", "seriesuids.csv, line 3: seriesuid 1.2 stands in line 2 already"),
        ("seriesuids", "1.1\n1.2\n1.3\n", "", "seriesuids.csv is empty"),
    ],
)
def test_bad_tables_are_one_line_and_exit_code_2(
    table: str, old: str, new: str, error: str, tables: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tables[table].write_text(tables[table].read_text().replace(old, new))
    with pytest.raises(SystemExit) as end:
        cli.main(flags(tables, tmp_path / "out"))
    printed = capsys.readouterr()
    assert end.value.code == 2 and printed.out == ""
    assert printed.err.startswith("error[E-TABLE] ") and error in printed.err and printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_scans_without_any_nodule_have_their_false_marks_counted(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables["annotations"].write_text(tables["annotations"].read_text().replace("1.1,", "2.1,").replace("1.2,", "2.2,"))
    tables["seriesuids"].write_text("1.1\n1.2\n1.3\n1.4\n")
    cli.main(flags(tables, tmp_path / "out", "--baseline", str(tables["submission"])))
    text = capsys.readouterr().out
    # false marks: 0.9, 0.4 in 1.1, 0.8 in 1.2 (0.99 lies on an excluded finding), 0.85 in 1.3, none in 1.4
    assert text.startswith("4 scans, 0 nodules: 0 hit, 0 missed; 4 false positives\nCPM -: no scan of the list has")
    assert "the 3 annotations are of other scans" in text and "1 of 4 scans have no mark at all" in text
    assert "the baseline: 1.0 false marks per scan, 1 scans without one" in text
    rows = [line.split() for line in text.splitlines()[4:11]]
    assert [row[3] for row in rows] == ["-", "0.9", "0.85", "0.4", "0.4", "0.4", "0.4"]
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (figures["cpm"], figures["sensitivities"], figures["false_marks_per_scan"]) == (None, None, 1.0)
    with (tmp_path / "out" / "froc.csv").open(newline="") as file:
        curve = list(csv.DictReader(file))
    assert curve[-1] == {"fp_per_scan": "8", "sensitivity": "", "low": "", "high": "", "threshold": "0.4"}
    assert (tmp_path / "out" / "froc.png").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--fp_per_scan", "one"], "E-USAGE"), (["--fp_per_scan", "0"], "E-USAGE"), (["--max_marks", "-1"], "E-USAGE"),
        (["--bootstraps", "0"], "E-USAGE"), (["--submission", "none.csv"], "E-TABLE"),
    ],
)  # fmt: skip
def test_bad_options_exit_with_2(
    more: list[str], code: str, tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(flags(tables, tmp_path / "out", *more))
    assert end.value.code == 2 and capsys.readouterr().err.startswith(f"error[{code}]")


def test_an_output_folder_that_is_a_file_is_refused(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SystemExit) as end:
        cli.main(flags(tables, tmp_path / "out"))
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error[E-OUTPUT]")
    assert (tmp_path / "out").read_text() == "mine"


def test_scoring_needs_no_torch(tables: dict[str, Path], tmp_path: Path) -> None:
    code = """
import sys, lungcad.cli
lungcad.cli.main()
assert not {"torch", "monai", "matplotlib.pyplot"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code, *flags(tables, tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr


def test_marks_of_other_scans_are_left_out_on_request(
    tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(flags(tables, tmp_path / "out", "--json"))
    alone = json.loads(capsys.readouterr().out)
    with tables["submission"].open("a") as stream:
        stream.write("1.3.6.1.4.1.14519.5.2.1.9,1,2,3,0.99\n")
    with pytest.raises(SystemExit) as end:
        cli.main(flags(tables, tmp_path / "out"))
    assert end.value.code == 2 and "--ignore_other_scans" in capsys.readouterr().err
    more = ["--ignore_other_scans", "--baseline", str(tables["submission"])]
    cli.main(flags(tables, tmp_path / "out", "--json", *more))
    figures = json.loads(capsys.readouterr().out)
    assert figures["marks_left_out"] == 1 and figures["cpm"] == alone["cpm"] == figures["baseline"]["cpm"]
    cli.main(flags(tables, tmp_path / "out", *more))
    assert "1 marks of scans outside the list of series were left out" in capsys.readouterr().out
