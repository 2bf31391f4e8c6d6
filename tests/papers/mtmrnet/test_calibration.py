# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

import fit_calibration as script
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.calibration import (
    Calibration,
    SliceLogits,
    calibration_figures,
    cross_fit,
    fit_calibration,
    read_logits,
)

TRUE = Calibration(2.5, -0.7)
"""The simulated logits are two and a half times too sure, and as if malignant nodules were twice as frequent."""
NONE = Calibration()


def simulated(nodules: int, seed: int, slices: int = 3) -> SliceLogits:
    """Labels drawn by the mean probability of the slices, whose logits then need :data:`TRUE`."""
    rng = np.random.default_rng(seed)
    honest = [rng.normal(scale=1.5) + rng.normal(scale=0.5, size=1 + rng.integers(slices)) for _ in range(nodules)]
    label = np.array([rng.random() < expit(one).mean() for one in honest], dtype=int)
    return SliceLogits([(one - TRUE.shift) * TRUE.temperature for one in honest], label)


def write(path: Path, nodules: SliceLogits, name: str) -> Path:
    """As the scorer writes them, and one nodule of mean malignancy 3."""
    rows = [f"{name}{n},{expit(one).mean()},{4 if label else 2},{' '.join(f'{value:.4f}' for value in one)}"
            for n, (one, label) in enumerate(zip(nodules.logits, nodules.label, strict=True))]  # fmt: skip
    path.write_text("\n".join(["nodule_id,probability,mean_malignancy,logits", *rows, f"{name}x,0.5,3,0.0"]))
    return path


def test_a_known_calibration_is_recovered() -> None:
    nodules = simulated(10000, 0)
    found = fit_calibration(nodules)
    assert found.temperature == pytest.approx(TRUE.temperature, rel=0.05)
    assert found.shift == pytest.approx(TRUE.shift, abs=0.05)
    before, after = (calibration_figures(nodules.label, nodules.probability(one)) for one in (NONE, found))
    assert all(after[key] < before[key] for key in ("nll", "ece", "brier"))
    assert after["ece"] < 0.03 < before["ece"]


def test_probability_is_the_mean_over_slices() -> None:
    nodules = SliceLogits([np.array([logit(0.2), logit(0.6)]), np.array([2 * logit(0.9)])], np.array([0, 1]))
    assert nodules.probability(NONE)[0] == pytest.approx(0.4)
    assert nodules.probability(Calibration(2))[1] == pytest.approx(0.9)
    assert nodules.probability(Calibration(2, -logit(0.9)))[1] == pytest.approx(0.5)


@pytest.mark.parametrize(("label", "bound"), [([0, 1], 0.2), ([1, 0], 5)])
def test_temperatures_are_bounded(label: list[int], bound: float) -> None:
    nodules = SliceLogits([np.array([-1.0]), np.array([1.0])], np.array(label))
    found = fit_calibration(nodules)
    assert found.temperature == pytest.approx(bound, rel=1e-3)
    assert found.shift == pytest.approx(0, abs=0.01)


def test_a_fold_is_fitted_on_the_others() -> None:
    sure, honest = simulated(4000, 0), simulated(4000, 1)
    honest = SliceLogits([one / TRUE.temperature + TRUE.shift for one in honest.logits], honest.label)
    (first, _), (second, probability) = cross_fit([sure, honest])
    assert (first.temperature, second.temperature) == pytest.approx((1, TRUE.temperature), rel=0.1)
    assert (first.shift, second.shift) == pytest.approx((0, TRUE.shift), abs=0.1)
    assert probability.tolist() == honest.probability(second).tolist()


def test_tables_are_read_without_the_indeterminate(tmp_path: Path) -> None:
    nodules = simulated(50, 0)
    found = read_logits([write(tmp_path / "a.csv", nodules, "n")])
    assert found.label.tolist() == nodules.label.tolist()
    assert found.probability(TRUE) == pytest.approx(nodules.probability(TRUE), abs=1e-4)


@pytest.mark.parametrize(("logits", "message"), [("1.0 b", "logits are '1.0 b'"), ("", "logits is empty")])
def test_refuses_what_are_no_logits(logits: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"nodule_id,probability,label,logits\na,0.5,1,{logits}\nb,0.5,0,1.0\n")
    with pytest.raises(InputError, match=f"line 2: {message}") as refused:
        read_logits([tmp_path / "a.csv"])
    assert refused.value.code == "E-TABLE"


def test_refuses_a_table_without_logits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("nodule_id,probability,label\na,0.5,1\nb,0.5,0\n")
    with pytest.raises(InputError, match="column logits missing"):
        read_logits([tmp_path / "a.csv"])


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("folds")
    return [str(write(root / f"{n}.csv", simulated(1000, n), f"{n}_")) for n in range(3)]


def told(text: str) -> dict[str, list[float]]:
    """Figures by the name of their line."""
    lines = re.findall(r"^(\S.*?)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)$", text, re.MULTILINE)
    return {name: [float(value) for value in values] for name, *values in lines}


def test_command_tells_calibrations_and_cross_fitted_figures(
    folds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(*folds)
    text = capsys.readouterr().out
    everything = read_logits(folds)
    assert f"fitted on all files: {fit_calibration(everything)} (3000 nodules)" in text
    assert len(re.findall(r"without \S+: T = 2\.\d{3}, shift -0\.\d{3}\n", text)) == 3
    figures = told(text)
    assert list(figures) == ["as they are", "cross-fitted"]
    before = calibration_figures(everything.label, everything.probability(NONE))
    assert figures["as they are"] == pytest.approx(list(before.values()), abs=6e-4)
    assert all(after < one for after, one in zip(figures["cross-fitted"], figures["as they are"], strict=True))


def test_command_with_one_file_fits_only(folds: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    script.main(folds[0])
    assert list(told(capsys.readouterr().out)) == ["as they are"]


def test_command_applies_the_others_calibration(folds: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    script.main(*folds, apply_to=folds[2])
    with_it = capsys.readouterr().out
    script.main(*folds[:2], apply_to=folds[2])
    assert capsys.readouterr().out == with_it  # the file itself is not fitted on
    calibration = fit_calibration(read_logits(folds[:2]))
    held_out = read_logits(folds[2:])
    after = calibration_figures(held_out.label, held_out.probability(calibration))
    assert told(with_it)["calibrated"] == pytest.approx(list(after.values()), abs=6e-4)


def test_command_refuses_what_it_cannot_fit_on(folds: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of predictions to fit on"):
        script.main(folds[0], apply_to=folds[0])
    copy = tmp_path / "copy.csv"
    copy.write_bytes(Path(folds[0]).read_bytes())
    for call in ({"apply_to": str(copy)}, {}):
        with pytest.raises(InputError, match=r"stands in 0\.csv, line 2 already"):
            script.main(folds[0], *([] if call else [str(copy)]), **call)
