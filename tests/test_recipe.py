# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import make_cases
import train
from lungcad.errors import InputError
from lungcad.geometry import to_world
from lungcad.training.recipe import Step, command, load_recipe, run_recipe
from small_cases import NODULE_VOX, ROOT, small_bundles, small_chest, write_image, write_table

DETECTION = "lung_nodule_detection_dou2017"
SMALL = {"epochs": 2, "batch_size": 4, "batches_per_epoch": 2}


def write_recipe(path: Path, *steps: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"steps": list(steps)}))
    return path


FIRST = {"name": "a", "bundle": DETECTION, "config": "train", "cases": "train"}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([FIRST | {"set": {"start_from": "{b}/model.pt"}}, FIRST | {"name": "b"}], "no step before it"),
        ([FIRST | {"config": "evaluate", "weights": "later"}], "no step before it"),
        ([FIRST | {"config": "infer"}], "expected train or evaluate"),
        ([FIRST | {"epochs": 3}], "no recipe in"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_hours_of_training(
    tmp_path: Path, steps: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(write_recipe(tmp_path / "recipe.json", *steps))


def test_shipped_recipes_hold_together() -> None:
    recipes = list(ROOT.glob("bundles/*/configs/recipe.json"))
    assert recipes
    for path in recipes:
        steps = load_recipe(path)
        assert len({step.name for step in steps}) == len(steps)
        assert any(step.cases == "test" for step in steps)


def test_a_step_becomes_the_command_that_the_readme_shows(tmp_path: Path) -> None:
    step = Step("b", DETECTION, "train", "train", set={"start_from": "{a}/model.pt", "epochs": 9})
    folders = {"a": "runs/a", "b": "runs/b"}
    words = command(step, folders, [tmp_path], 1, {"epochs": 3})
    pairs = dict(zip(words[4::2], words[5::2], strict=True))
    assert words[1:4] == ["-m", "monai.bundle", "run"]
    assert pairs["--start_from"] == "runs/a/model.pt"
    assert pairs["--epochs"] == "3"  # what the user says goes over the recipe
    assert pairs["--run_dir"] == "runs/b"
    assert "multi_gpu_train" not in pairs["--config_file"]
    together = command(step, folders, [tmp_path], 2, {})
    assert "--nproc_per_node=2" in together
    assert "multi_gpu_train.json" in " ".join(together)
    score = Step("c", DETECTION, "evaluate", "test", weights="a")
    scored = command(score, folders | {"c": "runs/c"}, [tmp_path], 2, {})
    pairs = dict(zip(scored[4::2], scored[5::2], strict=True))
    assert pairs["--weights"] == "runs/a/model.pt"


def test_what_is_done_is_not_done_again_and_missing_cases_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.pt").touch()
    done, todo = Step("a", DETECTION, "train", "train"), Step("b", DETECTION, "evaluate", "test", "a")
    assert run_recipe([done], tmp_path, {}) == []
    with pytest.raises(InputError, match="split test"):
        run_recipe([done, todo], tmp_path, {"train": [tmp_path]})


@pytest.fixture(scope="module")
def cases_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LUNA16-shaped subsets of one small scan each, made into cases."""
    root = tmp_path_factory.mktemp("luna16")
    hu, affine = small_chest()
    x, y, z = to_world(affine, NODULE_VOX)
    uids = [f"1.2.{subset}" for subset in range(2)]
    for subset, uid in enumerate(uids):
        write_image(root / f"subset{subset}" / f"{uid}.mhd", hu.astype(np.int16), affine)
    table = [{"seriesuid": uid, "coordX": x, "coordY": y, "coordZ": z, "diameter_mm": 13.0} for uid in uids]
    write_table(root / "annotations.csv", table)
    make_cases.luna16(str(root), str(root / "cases"), by_subset=True, versions=2, workers=0)
    return root / "cases"


@pytest.mark.slow
def test_cross_validation_scores_every_scan_once_and_resumes(
    tmp_path: Path, cases_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(folder.name for folder in cases_dir.iterdir()) == [
        "subset0", "subset0_scaled", "subset1", "subset1_scaled"
    ]  # fmt: skip
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    runs = tmp_path / "runs"
    train.cross_validate("lung_nodule_fpr_dou2017", str(cases_dir), str(runs), **SMALL)
    table = (runs / "results.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|") for line in table.splitlines()[2:]}
    assert list(rows) == ["detection test", "reduction test"]
    for row in rows.values():
        assert [cell.strip() for cell in row[2:4]] == ["2", "2"]  # scans, nodules: each subset's, once
    for fold in range(2):
        tested = json.loads((runs / f"subset{fold}" / "reduction_test" / "candidates.json").read_text())
        assert list(tested) == [f"1.2.{fold}"]
        mined = json.loads((runs / f"subset{fold}" / "mined_1" / "candidates.json").read_text())
        assert f"1.2.{fold}" not in mined  # what is tested on is not trained on
        assert list((runs / f"subset{fold}" / "reduction" / "tensorboard").iterdir())
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")}
    (runs / "subset1" / "reduction_test" / "metrics.json").unlink()
    train.cross_validate("lung_nodule_fpr_dou2017", str(cases_dir), str(runs), **SMALL)
    assert (runs / "results.md").read_text() == table
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")} == before


@pytest.mark.slow
def test_two_processes_one_killed_and_started_again_end_with_the_same_weights(
    tmp_path: Path, cases_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    steps = [Step(name, DETECTION, "train", "train") for name in ("whole", "killed")]
    folders = {step.name: str(tmp_path / step.name) for step in steps}
    small = SMALL | {"epochs": 12, "batches_per_epoch": 4}
    whole, killed = (command(step, folders, [cases_dir / "subset0"], 2, small) for step in steps)
    assert subprocess.run(whole).returncode == 0
    launcher = subprocess.Popen(killed)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    while not checkpoint.exists():
        assert launcher.poll() is None
        time.sleep(0.02)
    workers = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert launcher.wait(120) != 0
    assert not (tmp_path / "killed" / "model.pt").exists()  # it was killed in the middle
    assert subprocess.run(killed).returncode == 0
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in folders)
    assert one["epoch"] == other["epoch"] == 12
    for name, value in one["network"].items():
        assert torch.equal(value, other["network"][name]), name
