# SPDX-License-Identifier: Apache-2.0
import json
import logging.config
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ignite.engine import Engine
from small_cases import ROOT, dark_case

from lungcad.chain.results_table import results_table
from lungcad.cli import main
from lungcad.finding import Finding
from lungcad.training.cases import Case, Sphere
from lungcad.training.scoring import CaseScorer, pooled_figures

OBLIQUE = np.array([[0.8, -0.6, 0, -50.0], [0.6, 0.8, 0, 20.0], [0, 0, 2.0, -300.0], [0, 0, 0, 1]])


def finding(case: Case, index: tuple[float, float, float], score: float, diameter: float | None = None) -> Finding:
    center = tuple(float(v) for v in (case.to_mm @ [*index, 1.0])[:3])
    return Finding(center_lps_mm=center, detection_score=score, diameter_mm=diameter)


def scored(folder: Path, *batches: tuple[Case, list[Finding]]) -> dict[str, Any]:
    engine = Engine(lambda engine, batch: None)
    CaseScorer(str(folder), "drawn by hand").attach(engine)
    engine.run([{"case": case, "findings": found} for case, found in batches])
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def first() -> tuple[Case, list[Finding]]:
    """Three nodules; one is hit 3 mm off its centre, one within an excluded lesion as well, one missed; two false."""
    places = [((20.0, 20, 10), 8.0), ((50.0, 50, 20), 12.0), ((70.0, 70, 30), 4.0)]
    nodules = [Sphere(np.array(place), diameter) for place, diameter in places]
    case = dark_case("1.2.3", nodules)
    case.ignored, case.affine = [Sphere(np.array([20.0, 60, 10]), 10.0)], OBLIQUE
    hits = [((23, 20, 10), 0.9, 7.0), ((50, 50, 21), 0.8, None)]
    others = [((20, 60, 11), 0.95, 5.0), ((70, 10, 5), 0.85, 5.0), ((5, 5, 5), 0.1, 5.0)]
    return case, [finding(case, *mark) for mark in hits + others]


@pytest.fixture
def second() -> tuple[Case, list[Finding]]:
    """One nodule, found; nothing else."""
    case = dark_case("1.2.4", [Sphere(np.array([40.0, 40, 20]), 10.0)])
    return case, [finding(case, (40, 40, 20), 0.7, 13.0)]


def test_figures_of_a_drawn_case(tmp_path: Path, first: tuple[Case, list[Finding]]) -> None:
    figures = scored(tmp_path, first)
    assert figures["data"] == "drawn by hand"
    assert figures["sensitivity"] == pytest.approx(2 / 3)
    assert figures["false_marks_per_scan"] == 2  # the mark on the excluded lesion counts neither way
    assert figures["mean_center_error_mm"] == pytest.approx((3 + 2) / 2)  # three voxels of 1 mm, one slice of 2 mm
    assert figures["mean_diameter_error_mm"] == pytest.approx(1.0)  # |7 - 8|; the other mark has none
    # one nodule of three before the first false mark (0.9 > 0.85), two before the second (0.8 > 0.1), at 1 per scan
    assert figures["sensitivities"][3] == pytest.approx(2 / 3)
    assert figures["sensitivities"][0] == pytest.approx(1 / 3)


def test_the_score_command_gives_the_same_figures(
    tmp_path: Path, first: Any, second: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = scored(tmp_path / "run", first, second)
    tables = {"submission": "submission", "annotations": "annotations", "excluded": "annotations_excluded",
              "seriesuids": "seriesuids"}  # fmt: skip
    files = [part for key, name in tables.items() for part in (f"--{key}", str(tmp_path / "run" / f"{name}.csv"))]
    main(["score", *files, "--output_dir", str(tmp_path / "score"), "--json"])
    official = json.loads(capsys.readouterr().out)
    assert official["cpm"] == pytest.approx(figures["cpm"])
    assert official["sensitivities"] == pytest.approx(figures["sensitivities"])


def test_folds_pooled_are_scored_as_one_run(tmp_path: Path, first: Any, second: Any) -> None:
    together = scored(tmp_path / "both", first, second)
    scored(tmp_path / "a", first)
    scored(tmp_path / "b", second)
    figures = pooled_figures([tmp_path / "a", tmp_path / "b"])
    assert figures == {key: value for key, value in together.items() if key != "data"}
    table = results_table({"detection_test": [tmp_path / "a", tmp_path / "b"], "only_b": [tmp_path / "b"]})
    rows = table.splitlines()
    assert rows[2].startswith("| detection test | 2 | 4 | 75.0%")
    assert rows[3].endswith("| 0.00 mm, 3.00 mm |")


def test_scans_without_any_nodule_have_their_tables_and_count_false_marks(tmp_path: Path) -> None:
    clear, marked = dark_case("clear"), dark_case("marked")
    found = [finding(marked, (20, 20, 10), 0.9), finding(marked, (50, 50, 10), 0.2)]
    figures = scored(tmp_path, (clear, []), (marked, found))
    assert (figures["scans"], figures["nodules"], figures["false_positives"]) == (2, 0, 2)
    assert figures["false_marks_per_scan"] == 1.0
    assert figures["cpm"] is figures["sensitivity"] is figures["median_center_error_mm"] is None
    assert figures["true_negative_patients"]["scans_without_mark"] == 1
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 3
    assert "| 2 | 0 | - | 1.0 |" in results_table({"healthy": [tmp_path]})


def test_a_bundles_logging_shows_where_an_evaluation_stands(
    tmp_path: Path, first: Any, second: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        for conf in sorted(ROOT.glob("bundles/*/configs/logging.conf")):
            logging.config.fileConfig(conf, disable_existing_loggers=False)
            scored(tmp_path / "two", first, second)
            told = capsys.readouterr().err
            assert "1 of 2 scored" in told and "2 of 2 scored" in told
            assert "drawn by hand: 2 scans, 3 of 4 nodules found, CPM 0." in told and "in two" in told
            logging.getLogger("lungcad.reading").info("a detail")
            assert capsys.readouterr().err == ""
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in ("ignite", "monai.transforms", "lungcad.training", "lungcad.papers"):
            logging.getLogger(name).setLevel(logging.NOTSET)
