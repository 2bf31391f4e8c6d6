# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ignite.engine import Engine
from small_cases import dark_case

from lungcad.finding import Finding
from lungcad.papers.threedag.lesion_scores import LesionScorer
from lungcad.training.cases import Case, Sphere


def lesion(x: float, y: float, z: float, diameter: float, kind: str) -> Sphere:
    return Sphere(np.array([x, y, z]), diameter, kind)


def mark(case: Case, x: float, y: float, z: float, score: float) -> Finding:
    a, b, c = (case.to_mm @ [x, y, z, 1.0])[:3].tolist()
    return Finding((a, b, c), detection_score=score)


def scored(folder: Path, *batches: tuple[Case, list[Finding]]) -> dict[str, Any]:
    engine = Engine(lambda engine, batch: None)
    LesionScorer(str(folder), "drawn by hand").attach(engine)
    engine.run([{"case": case, "findings": found} for case, found in batches])
    assert (folder / "metrics.json").is_file()
    return json.loads((folder / "lesions.json").read_text())


def test_tables_v_and_vi_by_hand(tmp_path: Path) -> None:
    first = dark_case("a", [lesion(20, 20, 10, 8.0, "lung"), lesion(50, 50, 20, 30.0, "liver")])
    found = [mark(first, 20, 20, 10, 0.9), mark(first, 5, 70, 35, 0.8), mark(first, 50, 50, 20, 0.1)]
    second = dark_case("b", [lesion(40, 40, 20, 40.0, "lung")])
    others = [mark(second, 40, 40, 20, 0.7), *(mark(second, 2 + n, 2, 1, 0.5) for n in range(8))]
    figures = scored(tmp_path, (first, found), (second, others))
    # above 0.5 there is one false mark in two images, from 0.5 up nine, 4.5 an image: 0.7 is the lowest score up to 4
    assert figures["threshold"] == 0.7
    assert figures["found_by_type"] == {"liver": [0, 1], "lung": [2, 2]}
    assert figures["found_by_diameter"] == {"<10 mm": [1, 1], "10-30 mm": [0, 1], ">30 mm": [1, 1]}
    assert figures["fp_per_image"] == [0.5, 1, 2, 4, 8, 16]
    assert figures["sensitivities"] == pytest.approx([2 / 3] * 4 + [1, 1])
    assert figures["average"] == pytest.approx(7 / 9)


def test_without_a_lesion_there_is_no_figure(tmp_path: Path) -> None:
    case = dark_case("a")
    figures = scored(tmp_path, (case, [mark(case, 5, 5, 5, 0.5)]))
    assert figures["sensitivities"] is None
    assert figures["found_by_type"] is None
