# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcad import cli
from lungcad.errors import InputError
from lungcad.scores.malignancy import Predictions, calibration, calibration_error, classification, score_malignancy
from lungcad.scores.predictions import read_predictions

SCRIPTS = Path(cli.__file__).parents[1]

LABEL = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
PROBABILITY = np.array([0.9, 0.8, 0.5, 0.2, 0.6, 0.4, 0.3, 0.2, 0.1, 0.0])


def predictions(times: int = 1, **attributes: np.ndarray) -> Predictions:
    number = len(LABEL) * times
    return Predictions(np.tile(LABEL, times), np.tile(PROBABILITY, times), np.arange(number), attributes)


def test_classification_by_hand() -> None:
    figures = classification(LABEL, PROBABILITY, 0.5)
    # malignant called so: 0.9, 0.8, 0.5 (the threshold itself); missed: 0.2; benign called malignant: 0.6
    assert figures["sensitivity"] == pytest.approx(3 / 4)
    assert figures["specificity"] == pytest.approx(5 / 6)
    assert figures["accuracy"] == pytest.approx(8 / 10)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 5 / 6) / 2)
    # of 6 benign nodules 0.9 and 0.8 beat 6 each, 0.5 beats 5, 0.2 beats 2 and ties with 1
    assert figures["auc"] == pytest.approx((6 + 6 + 5 + 2.5) / 24)


def test_weights_count_as_repeated_nodules() -> None:
    weight = np.array([2, 0, 1, 3, 1, 0, 2, 1, 0, 1])
    repeated = classification(LABEL.repeat(weight), PROBABILITY.repeat(weight), 0.5)
    assert classification(LABEL, PROBABILITY, 0.5, weight) == pytest.approx(repeated)


def test_calibration_by_hand() -> None:
    label, probability = np.array([0, 1, 0, 1, 1, 1]), np.array([0.0, 0.4, 0.5, 0.7, 0.9, 1.0])
    low, high = calibration(label, probability, bins=2)
    # [0, 0.5) holds 0 and 0.4: mean 0.2, 1 of 2 malignant | [0.5, 1] holds 0.5, 0.7, 0.9, 1: mean 0.775, 3 of 4
    assert (low["nodules"], low["malignant"], low["mean_probability"]) == (2, 1, pytest.approx(0.2))
    assert (high["nodules"], high["malignant"], high["mean_probability"]) == (4, 3, pytest.approx(0.775))
    assert calibration_error([low, high]) == pytest.approx((2 * abs(0.2 - 0.5) + 4 * abs(0.775 - 0.75)) / 6)


def test_calibration_leaves_empty_bins_unknown_and_out_of_the_error() -> None:
    table = calibration(np.array([0, 1]), np.array([0.05, 0.95]), bins=10)
    assert [one["nodules"] for one in table] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert table[4]["mean_probability"] is None
    assert calibration_error(table) == pytest.approx(0.05)


def test_calibrated_probabilities_have_a_small_error_and_overconfident_ones_a_large_one() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20000)
    label = (rng.random(20000) < probability).astype(int)
    assert calibration_error(calibration(label, probability)) < 0.02
    # pushed to 0 and 1: on average |p - round(p)| = 1/4 too sure
    assert calibration_error(calibration(label, probability.round())) == pytest.approx(0.25, abs=0.02)


def test_attribute_errors_by_hand() -> None:
    spiculation = np.array([[1, 2, 3, 4, 5, 1, 1, 1, 1, 1.5], [1, 1, 1, 4, 2, 1, 1, 1, 1, 1]], dtype=float)
    figures = score_malignancy(predictions(spiculation=spiculation), bootstraps=50)
    error = figures["attribute_errors"]["spiculation"]
    assert error["error"] == pytest.approx((1 + 2 + 3 + 0.5) / 10)  # MTMR-Net, equation 11
    assert error["ci"][0] < error["error"] < error["ci"][1]


def test_brier_score_by_hand() -> None:
    squares = [0.01, 0.04, 0.25, 0.64, 0.36, 0.16, 0.09, 0.04, 0.01, 0.0]
    assert score_malignancy(predictions(), bootstraps=5)["brier"] == pytest.approx(sum(squares) / 10)


def test_intervals_narrow_with_more_patients_but_not_with_more_nodules_of_the_same() -> None:
    def width(given: Predictions) -> float:
        low, high = score_malignancy(given, bootstraps=200)["accuracy_ci"]
        return high - low

    few, many = predictions(), predictions(times=9)
    same = Predictions(few.label.repeat(9), few.probability.repeat(9), few.patient.repeat(9), {})
    assert width(many) < width(few) / 2  # a third, by the square root of 9
    assert width(same) == pytest.approx(width(few))


def test_draws_without_both_classes_are_drawn_again() -> None:
    # of two patients each draw holds both or, in half of the cases, one alone: those would have no AUC
    given = Predictions(np.array([0, 1]), np.array([0.2, 0.9]), np.array([0, 1]), {})
    assert score_malignancy(given, bootstraps=40)["auc_ci"] == [1.0, 1.0]


def test_one_class_gives_what_needs_no_other() -> None:
    attributes = {"texture": np.array([[4.0, 5.0, 2.0], [5.0, 5.0, 5.0]])}
    given = Predictions(np.ones(3, int), np.array([0.9, 0.6, 0.2]), np.arange(3), attributes)
    figures = score_malignancy(given, bootstraps=20)
    assert (figures["accuracy"], figures["sensitivity"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (figures["benign"], figures["malignant"]) == (0, 3)
    assert figures["brier"] == pytest.approx((0.01 + 0.16 + 0.64) / 3)
    assert figures["attribute_errors"]["texture"]["error"] == pytest.approx(4 / 3)
    for name in ("specificity", "balanced_accuracy", "auc"):
        assert figures[name] is None and figures[f"{name}_ci"] is None
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    with pytest.raises(ValueError, match="no nodule"):
        score_malignancy(Predictions(np.zeros(0, int), np.zeros(0), np.zeros(0, int), {}))


TABLE = """\
nodule_id,patient_id,mean_malignancy,probability,texture,texture_true
n1,p1,3.25,0.9,4.2,5
n2,p1,2.75,0.4,5.1,5
n3,p2,3,0.5,3,1
n4,p3,1,0.1,1.5,2
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "predictions.csv"
    path.write_text(text)
    return path


def test_mean_malignancy_becomes_a_label_and_3_is_left_out(tmp_path: Path) -> None:
    found, left_out = read_predictions(written(tmp_path, TABLE))
    assert (found.label.tolist(), found.probability.tolist(), left_out) == ([1, 0, 0], [0.9, 0.4, 0.1], 1)
    assert found.patient.tolist() == [0, 0, 1]  # p2's only nodule is left out
    assert found.attributes["texture"].tolist() == [[4.2, 5.1, 1.5], [5, 5, 2]]


def test_labels_and_nodules_without_patients(tmp_path: Path) -> None:
    found, left_out = read_predictions(written(tmp_path, "nodule_id,label,probability\na,1,0.5\nb,0,1\nc,1,0\n"))
    assert (found.label.tolist(), found.patient.tolist(), left_out) == ([1, 0, 1], [0, 1, 2], 0)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("0.9", "1.1", "line 2: probability is 1.1 (expected 0 to 1)"),
        ("0.9", "nan", "line 2: probability is 'nan' (expected a finite number)"),
        ("2.75", "0", "line 3: mean_malignancy is 0 (expected 1 to 5)"),
        ("4.2,5", "4.2,0.8", "line 2: texture_true is 0.8 (expected 1 to 5)"),
        ("n4", "n1", "line 5: nodule_id n1 stands in line 2 already"),
        ("p1", "", "line 2: patient_id is empty"),
        ("texture_true", "notes", "column texture_true missing"),
        (",texture,", ",notes,", "column texture missing"),
        ("mean_malignancy", "malignant", "no truth"),
        ("probability", "score", "column probability missing"),
        ("patient_id", "nodule_id", "column nodule_id stands there more than once"),
        (TABLE, "nodule_id,mean_malignancy,probability\nn1,3,0.5\n", "0 benign, 0 malignant nodules"),
    ],
)
def test_refuses_predictions(old: str, new: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_predictions(written(tmp_path, TABLE.replace(old, new)))
    assert refused.value.code == "E-TABLE" and error in str(refused.value)


def test_refuses_labels_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 3: label is 2 \(expected 0 benign or 1 malignant\)"):
        read_predictions(written(tmp_path, "nodule_id,label,probability\na,1,0.5\nb,2,1\n"))


def run(tmp_path: Path, *more: str) -> None:
    path = written(tmp_path, TABLE)
    flags = ["--predictions", str(path), "--output_dir", str(tmp_path / "out"), "--bootstraps", "20"]
    cli.main(["score_malignancy", *flags, *more])


def test_command_prints_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--json", "--bins", "5")
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (figures["nodules"], figures["patients"], figures["left_out"], figures["auc"]) == (3, 2, 1, 1.0)
    assert figures["attribute_errors"]["texture"]["error"] == pytest.approx((0.8 + 0.1 + 0.5) / 3)
    # each in a bin of its own: 0.9 against 1, 0.4 and 0.1 against 0
    assert (figures["ece"], figures["ece_bins"]) == (pytest.approx((0.1 + 0.4 + 0.1) / 3), 5)
    picture = np.array(Image.open(tmp_path / "out" / "reliability.png").convert("RGB"))
    assert min(picture.shape[:2]) > 500 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_command_tells_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--threshold", "0.95")
    text = capsys.readouterr().out
    assert text.startswith("3 nodules of 2 patients: 2 benign, 1 malignant (1 of mean malignancy 3 left out)\n")
    assert "malignant from 0.95 up" in text and "sensitivity       0.000" in text and "AUC               1.000" in text
    assert "texture           0.467" in text


def baseline(tmp_path: Path, *rows: str) -> tuple[str, str]:
    path = tmp_path / "baseline.csv"
    path.write_text("\n".join(["nodule_id,patient_id,label,probability", *rows]))
    return "--baseline", str(path)


def test_a_baseline_is_compared_over_the_nodules_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = baseline(tmp_path, "n4,p3,0,0.7", "n1,p1,1,0.6", "n9,p9,1,0.0")  # n2 is missing, n9 foreign
    run(tmp_path, *other, "--json")
    both = json.loads(capsys.readouterr().out)["baseline"]
    assert both["nodules"] == 2
    assert (both["auc"], both["baseline_auc"], both["auc_difference"]) == (1.0, 0.0, 1.0)
    assert (both["balanced_accuracy"], both["baseline_balanced_accuracy"]) == (1.0, 0.5)
    assert both["auc_difference_ci"] == [1.0, 1.0]  # a draw with both classes has both nodules
    run(tmp_path, *other)
    assert "AUC               1.000 - 0.000 = +1.000  (+1.000 to +1.000)" in capsys.readouterr().out


def test_a_table_of_one_class_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, TABLE.replace("3.25", "2.5"))
    flags = ["--predictions", str(path), "--output_dir", str(tmp_path / "out"), "--bootstraps", "20"]
    cli.main(["score_malignancy", *flags, *baseline(tmp_path, "n4,p3,0,0.7", "n1,p1,0,0.6")])
    text = capsys.readouterr().out
    assert text.startswith("3 nodules of 2 patients: 3 benign, 0 malignant")
    assert "AUC               -" in text and "specificity       0.667" in text and "texture           0.467" in text
    assert "accuracy          0.500 - 0.000 = +0.500" in text
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["auc"] is None
    assert (tmp_path / "out" / "reliability.png").exists()


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (["n4,p3,1,0.7", "n1,p1,1,0.6"], "baseline.csv, line 2: n4 has another label in predictions.csv"),
        (["n9,p9,1,0.6"], "0 benign, 0 malignant nodules"),
    ],
)
def test_a_baseline_that_cannot_be_compared_is_refused(
    rows: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(tmp_path, *baseline(tmp_path, *rows))
    printed = capsys.readouterr().err
    assert end.value.code == 2 and printed.startswith("error[E-TABLE]") and error in printed


@pytest.mark.parametrize("more", [("--threshold", "2"), ("--threshold", "high"), ("--bins", "0"), ("--bins", "2.5")])
def test_bad_options_exit_with_2(more: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(tmp_path, *more)
    assert end.value.code == 2 and capsys.readouterr().err.startswith(f"error[E-USAGE] {more[0]} is {more[1]}")


def test_scoring_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, lungcad.cli; lungcad.cli.main(); assert not {'torch', 'monai'} & set(sys.modules)"
    flags = ["--predictions", str(written(tmp_path, TABLE)), "--output_dir", str(tmp_path / "out"), "--bootstraps", "5"]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code, "score_malignancy", *flags], capture_output=True, text=True,
                          env=environment, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
