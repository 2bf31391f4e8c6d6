# SPDX-License-Identifier: Apache-2.0
import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lungcad import cli
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.scores.attributes import PAPER, fold_importances, importances, ranks, read_pooled, relatedness_figures
from lungcad.scores.plots import draw_tsne, embed

FILES = ["relatedness.json", "relatedness.md", "tsne_all.png", "tsne_discarded.png"]


def table(path: Path, nodules: range = range(120), drop: str = "") -> Path:
    """Malignancy comes of spiculation and, half as much, of lobulation; the other six are noise. Two per patient."""
    columns = [part for name in ATTRIBUTES for part in (name, f"{name}_true")]
    names = [name for name in ("nodule_id", "patient_id", "mean_malignancy", "probability", *columns) if name != drop]
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, names, extrasaction="ignore")
        rows.writeheader()
        for nodule in nodules:
            rng = np.random.default_rng(nodule)
            true = dict(zip(ATTRIBUTES, rng.integers(1, 5, 8), strict=True))
            score = 2 * true["spiculation"] + true["lobulation"] - 7.5 + 0.5 * rng.normal()
            seen = {f"{name}_true": int(value) for name, value in true.items()}
            seen |= {name: f"{value + rng.normal() / 3:.3f}" for name, value in true.items()}
            rows.writerow(seen | {"nodule_id": f"n{nodule}", "patient_id": f"p{nodule // 2}", "probability": 0.5,
                                  "mean_malignancy": 4 if score > 0 else 2})  # fmt: skip
    return path


def noise(nodules: int = 200, columns: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Correlated scores, and a label of some of them."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(nodules, columns)) @ rng.normal(size=(columns, columns))
    return scores, (scores[:, 0] + scores[:, 1] + 3 * rng.normal(size=nodules) > 0).astype(int)


def test_what_malignancy_comes_of_ranks_first(tmp_path: Path) -> None:
    pooled, left_out = read_pooled([table(tmp_path / "a.csv")])
    figures = relatedness_figures(pooled)
    assert (figures["nodules"], figures["patients"], left_out) == (120, 60, 0)
    for found in figures["sources"].values():
        assert (found["spiculation"]["rank"], found["lobulation"]["rank"]) == (1, 2)
        assert [name for name in ATTRIBUTES if found[name]["above_average"]] == ["lobulation", "spiculation"]
        assert sorted(one["rank"] for one in found.values()) == list(range(1, 9))
        assert sum(one["importance"] for one in found.values()) == pytest.approx(1)
        assert all(one["std"] > 0 for one in found.values())


def test_elimination_is_that_of_scikit_learn() -> None:
    scores, label = noise()
    _, order = importances(scores, label)
    rfe = RFE(LogisticRegression(), n_features_to_select=1).fit(StandardScaler().fit_transform(scores), label)
    assert order == np.argsort(-rfe.ranking_).tolist()


def test_importance_by_hand() -> None:
    scores, label = noise(columns=2)
    first, second = np.abs(LogisticRegression().fit(StandardScaler().fit_transform(scores), label).coef_[0])
    # of two, one is removed with its share, and the other has what is left over
    assert importances(scores, label)[0] == pytest.approx(np.array([first, second]) / (first + second))


def test_importance_grows_in_the_order_of_elimination() -> None:
    values, order = importances(*noise())
    assert (np.diff(values[order]) >= 0).all() and values.sum() == pytest.approx(1)


def test_what_outlives_another_weighs_no_less(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([[0.2, 0.3, 0.5], [0.01, 0.99], [1.0]])  # shares 0.2, 0.01 of 0.8, the rest 0.792

    def fit(model: LogisticRegression, *_: np.ndarray) -> LogisticRegression:
        model.coef_ = -np.array([next(steps)])
        return model

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    values, order = importances(*noise(columns=3))
    assert order == [0, 1, 2] and values == pytest.approx(np.array([0.2, 0.2, 0.792]) / 1.192)


def test_units_do_not_matter() -> None:
    scores, label = noise()
    assert importances(scores * np.arange(1, 9) + 7, label)[0] == pytest.approx(importances(scores, label)[0])


def test_a_constant_attribute_weighs_nothing() -> None:
    scores, label = noise()
    scores[:, 4] = 1  # as internal structure nearly is
    values, order = importances(scores, label)
    assert (order[0], values[4]) == (4, 0)
    assert importances(np.ones((200, 8)), label)[0] == pytest.approx(np.full(8, 1 / 8))  # none tells anything


def test_folds_are_of_whole_patients() -> None:
    scores, label = noise()
    patient = np.arange(200) // 40  # five patients: each fold is one
    left_out = [importances(scores[patient != one], label[patient != one])[0] for one in range(5)]
    found = fold_importances(scores, label, patient)
    assert sorted(found.tolist()) == pytest.approx(np.array(sorted(one.tolist() for one in left_out)))


@pytest.mark.parametrize(
    ("patient", "label", "error"),
    [
        (np.arange(200) % 4, np.arange(200) % 2, "4 patients .expected at least 5"),
        (np.arange(200) // 40, np.arange(200) // 160, "one fold's patients"),
    ],
)
def test_refuses_too_few_patients(patient: np.ndarray, label: np.ndarray, error: str) -> None:
    with pytest.raises(InputError, match=error) as refused:
        fold_importances(noise()[0], label, patient)
    assert refused.value.code == "E-TABLE"


def test_the_papers_ranks() -> None:
    assert ranks(np.array(list(PAPER.values()))).tolist() == [1, 8, 4, 6, 5, 2, 3, 7]


def test_folds_are_pooled(tmp_path: Path) -> None:
    whole, _ = read_pooled([table(tmp_path / "whole.csv")])
    parts = [table(tmp_path / "0.csv", range(61)), table(tmp_path / "1.csv", range(61, 120))]  # p30 is in both
    pooled, _ = read_pooled(parts)
    assert relatedness_figures(pooled) == relatedness_figures(whole)


def test_left_out_nodules_do_not_shift_the_patients(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", range(20))
    lines = path.read_text().splitlines()
    for n in (1, 2):  # p0's two nodules
        cells = lines[n].split(",")
        lines[n] = ",".join([*cells[:2], "3", *cells[3:]])
    path.write_text("\n".join(lines))
    pooled, left_out = read_pooled([path])
    assert (left_out, len(pooled.label), len(np.unique(pooled.patient))) == (2, 18, 9)
    assert (np.bincount(pooled.patient) == 2).all()


@pytest.mark.parametrize("drop", ["spiculation", "spiculation_true"])
def test_refuses_half_an_attribute(drop: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"column {drop} missing"):
        read_pooled([table(tmp_path / "a.csv", range(10), drop=drop)])


def test_refuses_seven_attributes(tmp_path: Path) -> None:
    text = table(tmp_path / "a.csv", range(10)).read_text().replace(",margin,margin_true,", ",a,b,")
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(InputError, match=r"b\.csv: no scores of margin") as refused:
        read_pooled([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert refused.value.code == "E-TABLE"


def test_refuses_a_nodule_of_two_folds(tmp_path: Path) -> None:
    paths = [table(tmp_path / "a.csv", range(20)), table(tmp_path / "b.csv", range(19, 40))]
    with pytest.raises(InputError, match=r"b\.csv, line 2: nodule_id n19 stands in a\.csv, line 21 already") as refused:
        read_pooled(paths)
    assert refused.value.code == "E-TABLE"


def test_refuses_no_table() -> None:
    with pytest.raises(InputError, match="no table"):
        read_pooled([])


@pytest.mark.parametrize(("nodules", "columns"), [(5, 8), (30, 1)])
def test_small_tables_have_a_picture(nodules: int, columns: int, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(nodules, columns))
    draw_tsne(tmp_path / "a.png", scores, np.arange(nodules) % 2, ATTRIBUTES[:columns], "few")
    assert np.isfinite(embed(scores)).all() and (tmp_path / "a.png").stat().st_size > 5000


def test_command_writes_four_files_alike_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folds = f"{table(tmp_path / 'a.csv', range(60))},{table(tmp_path / 'b.csv', range(60, 120))}"
    cli.main(["relate_attributes", folds, str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert text.startswith("120 nodules of 60 patients: ") and text.rstrip().endswith("tsne_all.png")
    row = next(line for line in text.splitlines() if line.startswith("| spiculation"))
    assert [cell.strip() for cell in row.split("|")][3:8:2] == ["1", "1", "3"]  # readers, network, Table IV
    assert (tmp_path / "out" / "relatedness.md").read_text().strip() in text
    first = {path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())}
    assert list(first) == FILES

    cli.main(["relate_attributes", f"[{folds}]", str(tmp_path / "again"), "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads(first["relatedness.json"])
    assert figures["tsne"]["discarded"] == [name for name in ATTRIBUTES if name not in ("lobulation", "spiculation")]
    assert {name: (tmp_path / "again" / name).read_bytes() for name in FILES} == first


def test_pictures_show_both_classes(tmp_path: Path) -> None:
    draw_tsne(tmp_path / "a.png", noise(60)[0], np.arange(60) % 2, ATTRIBUTES, "title")
    picture = np.array(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    red, blue = picture[..., 0] - picture[..., 2], picture[..., 2] - picture[..., 0]
    assert min(picture.shape[:2]) > 700 and (red > 80).sum() > 1000 and (blue > 80).sum() > 1000


def test_command_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["relate_attributes", str(table(tmp_path / "a.csv", range(8))), str(tmp_path / "out")])
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error[E-TABLE] 4 patients")
    assert not (tmp_path / "out").exists()
