# SPDX-License-Identifier: Apache-2.0
import csv
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.data.utils import no_collation
from monai.engines import SupervisedEvaluator
from sklearn.metrics import roc_auc_score

import train
from lungcad.chain.results_table import results_markdown
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.papers.inferers import CropInferer
from lungcad.papers.mtmrnet.inference import DecodeMalignancyd, SliceCropper
from lungcad.papers.mtmrnet.nodules import SCORES, RatedNodule
from lungcad.papers.mtmrnet.scoring import COLUMNS, NoduleScorer, between_readers
from lungcad.papers.mtmrnet.tables import malignancy_results
from lungcad.papers.mtmrnet.training import WholeNodules
from lungcad.papers.transforms import prepare_case
from lungcad.scores.malignancy import area_under_curve
from lungcad.scores.predictions import read_predictions
from lungcad.tables import read_table
from lungcad.training.cases import LEFT_OUT

NODULES = range(40)
"""Every other one malignant, two per patient, readers 1 to 4, two of each eight diameters misleading."""


def perfect(nodule: int) -> float:
    return 0.9 if nodule % 2 else 0.1


def useless(nodule: int) -> float:
    return 0.5


def fold(folder: Path, probability: Any = perfect, nodules: Any = NODULES, n_readers: int | None = None) -> Path:
    """A scored folder; true attributes are 2 for half of the nodules and 3, predicted ones 0.25 too large."""
    folder.mkdir(parents=True)
    rows = []
    for n in nodules:
        readers, larger = n_readers or 1 + n // 2 % 4, n % 2 if n % 8 > 1 else -(n % 2)
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"nodule_id": f"n{n}", "patient_id": f"p{n // 2}", "probability": probability(n), "n_readers": readers,
                "mean_malignancy": 4 if n % 2 else 2, "diameter_mm": 10 + larger}  # fmt: skip
        for name in ATTRIBUTES:
            row |= {name: 2.25 + n % 4 // 2, f"{name}_true": 2 + n % 4 // 2}
            row |= {f"{name}_between_readers": readers / 10 if readers > 1 else ""}
        rows.append(row)
    with (folder / "predictions.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def rows_of(text: str, table: int) -> list[list[str]]:
    """Cells of the rows of one of the three tables."""
    parts = re.split(r"^\|---.*\n", text, flags=re.MULTILINE)
    lines = parts[table + 1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_a_perfect_and_a_useless_network(tmp_path: Path) -> None:
    text = malignancy_results({"net": [fold(tmp_path / "a")], "no_ranking": [fold(tmp_path / "b", useless)]})
    rows = rows_of(text, 0)
    names = ("net", "no ranking", "diameter alone")
    assert [row[:4] for row in rows[:3]] == [[name, "1 or more", "40", "20"] for name in names]
    assert rows[0][4:] == [*["100.0% (100.0% to 100.0%)"] * 3, "1.000 (1.000 to 1.000)", "0.100"]
    assert rows[1][7] == "0.500 (0.500 to 0.500)"
    assert rows[1][5].startswith("100.0%") and rows[1][6].startswith("0.0%")  # 0.5 is called malignant
    # of 20 malignant nodules 15 (11 mm) beat all benign ones (10 mm), 5 (9 mm) none
    assert rows[2][7].startswith("0.750 (")
    # patients of three and four readers: half of them
    assert [row[:4] for row in rows[3:6]] == [[name, "3 or more", "20", "10"] for name in names]
    assert [row[0] for row in rows[6:]] == [
        "paper: MTMR-Net (w L_reg), no ranking",
        "paper: MTMR-Net (w L_rank), no regression",
        "paper: MTMR-Net",
    ]
    assert rows[8][4:8] == ["93.5%", "93.0%", "89.4%", "0.979"]


def test_differences_are_paired(tmp_path: Path) -> None:
    def noisy(nodule: int) -> float:
        return (perfect(nodule) + np.random.default_rng(nodule).random()) / 2

    scored = {"net": [fold(tmp_path / "a", noisy)], "same": [fold(tmp_path / "b", noisy)],
              "monotone": [fold(tmp_path / "c", lambda n: noisy(n) ** 3)]}  # fmt: skip
    text = malignancy_results(scored)
    assert not rows_of(text, 0)[0][7].startswith("1.000")
    rows = rows_of(text, 1)
    assert [row[:3] for row in rows[:3]] == [
        ["net", name, "1 or more"] for name in ("same", "monotone", "diameter alone")
    ]
    # either has an interval of its own, but drawn together they never differ
    assert rows[0][3] == rows[1][3] == "+0.000 (+0.000 to +0.000)" != rows[2][3]
    low, high = map(float, re.findall(r"[+-][\d.]+", rows[2][3])[1:])
    assert low < float(rows[2][3].split()[0]) < high


def test_steps_of_other_nodules_are_not_compared(tmp_path: Path) -> None:
    scored = {"single": [fold(tmp_path / "a")], "multi": [fold(tmp_path / "b", nodules=range(20, 40), n_readers=3)]}
    text = malignancy_results(scored)
    assert [row[:2] for row in rows_of(text, 1)] == [[name, "diameter alone"] for name in ("single", "single", "multi")]
    assert [row[:3] for row in rows_of(text, 0)[4:6]] == [
        ["multi", "3 or more", "20"],
        ["diameter alone", "3 or more", "20"],
    ]


def test_attribute_errors_and_what_they_have_to_beat(tmp_path: Path) -> None:
    text = malignancy_results({"net": [fold(tmp_path / "a")]})
    rows = rows_of(text, 2)
    assert rows[0] == ["net", "1 or more", "40", *["0.25 (0.25 to 0.25)"] * 8]
    assert rows[1] == ["constant", "1 or more", "40", *["0.50"] * 8]  # median 2.5 of truths 2 and 3
    # nodules by readers 2, 3, 4: 1, 3, 6 pairs that differ by 0.2, 0.3, 0.4: (0.2 + 0.9 + 2.4) / 10
    assert rows[2] == ["between readers", "1 or more", "30", *["0.35"] * 8]
    assert rows[5][:4] == ["between readers", "3 or more", "20", "0.37"]  # 3.3 / 9
    assert rows[6][0] == "paper: MTMR-Net" and rows[7][::10] == ["paper: IB", "0.054"]


def test_nodules_of_one_reader_each_have_no_pairs(tmp_path: Path) -> None:
    rows = rows_of(malignancy_results({"net": [fold(tmp_path / "a", n_readers=1)]}), 2)
    assert [row[0] for row in rows[:4]] == ["net", "constant", "between readers", "paper: MTMR-Net"]
    assert rows[2][2:] == ["0", *["-"] * 8]


def test_pooled_folds_are_one_table(tmp_path: Path) -> None:
    whole = fold(tmp_path / "whole")
    parts = [fold(tmp_path / "0", nodules=range(24, 40)), fold(tmp_path / "1", nodules=range(24))]
    assert malignancy_results({"net": parts}) == malignancy_results({"net": [whole]})
    with pytest.raises(InputError, match=r"nodule_id n0 stands in predictions\.csv, line 2 already") as refused:
        malignancy_results({"net": [whole, parts[1]]})
    assert refused.value.code == "E-TABLE"


def test_the_script_chooses_by_what_the_folders_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = {"net": [fold(tmp_path / "runs" / "net")]}
    assert results_markdown(scored) == malignancy_results(scored)
    (tmp_path / "cases" / "subset0").mkdir(parents=True)
    (tmp_path / "cases" / "subset0" / LEFT_OUT).write_text("1.2.3: too thick\n")
    train._write_results(scored, tmp_path / "runs" / "results.md", tmp_path / "cases")
    text = (tmp_path / "runs" / "results.md").read_text()
    assert text.startswith(malignancy_results(scored)) and text.endswith("1.2.3: too thick\n")
    assert text in capsys.readouterr().out


def test_weighted_auc_is_that_of_scikit_learn_and_fast() -> None:
    rng = np.random.default_rng(0)
    label, score, weight = rng.integers(2, size=1500), rng.random(1500).round(2), rng.integers(4, size=1500)
    expected = roc_auc_score(label, score, sample_weight=weight)
    assert area_under_curve(label, score, weight) == pytest.approx(expected)
    start = time.process_time()
    for _ in range(100):
        area_under_curve(label, score, weight)
    assert time.process_time() - start < 0.5  # a bootstrap of 1000 rounds takes seconds


def test_variation_between_readers_by_hand() -> None:
    readings = np.array([[1, 5], [2, 5], [4, 2]])
    assert between_readers(readings).tolist() == [(1 + 3 + 2) / 3, (0 + 3 + 3) / 3]


class MeanPixel(torch.nn.Module):
    """Logit and attributes from an image's mean, so that slices differ."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = image.mean(dim=(1, 2, 3))[:, None] / 50
        return torch.cat([mean, mean.sigmoid().expand(-1, 8)], dim=1)


def nodule(name: str, malignancy: list[int], slices: int, seed: int) -> RatedNodule:
    readings = np.full((len(malignancy), len(SCORES)), 2.0)
    readings[:, 0] = malignancy
    readings[0, -1] = 5  # texture: the first reader differs by 3
    rng = np.random.default_rng(seed)
    images = np.stack([np.full((40, 40), hu, dtype=np.int16) for hu in rng.integers(-800, 200, slices)])
    return RatedNodule(name, f"p{seed}", images, (20.0, 20.0), (0.7, 0.7), 8.0, readings)


def test_what_the_scorer_writes(tmp_path: Path) -> None:
    nodules = [nodule("a", [1, 2, 1], 3, 0), nodule("b", [5], 1, 1), nodule("c", [3, 3], 2, 2)]
    cropper = SliceCropper(window_hu=(-1000, 400), channel_means=(103.9, 116.8, 123.7), crop_factor=2, size=36, crop=32)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"), network=MeanPixel(), prepare_batch=prepare_case, decollate=False,
        val_data_loader=DataLoader(WholeNodules(nodules, cropper, 8), batch_size=None, collate_fn=no_collation),
        inferer=CropInferer(2, "float32"), postprocessing=DecodeMalignancyd("pred", 1.0),
        val_handlers=[NoduleScorer(str(tmp_path), "three nodules")],
    )  # fmt: skip
    evaluator.run()
    table = read_table(tmp_path / "predictions.csv")
    assert table.columns == COLUMNS
    for row, one in zip(table.rows, nodules, strict=True):
        logits = np.array(row.text("logits").split(), dtype=float)
        assert len(logits) == len(one.slices) == row.number("slices")
        assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(row.number("probability"), abs=1e-4)
    assert len(set(table.rows[0].text("logits").split())) == 3
    # three readers, three pairs: texture differs by 3, 3 and 0
    assert table.rows[0].number("texture_between_readers") == 2 and table.rows[0].number("margin_between_readers") == 0
    assert table.rows[1].cells["texture_between_readers"] == ""
    assert table.rows[2].number("texture_between_readers") == 3
    predictions, left_out = read_predictions(tmp_path / "predictions.csv")
    assert (predictions.label.tolist(), left_out) == ([0, 1], 1)
