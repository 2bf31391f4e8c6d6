# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pytest
import torch
from small_cases import NODULE_VOX, ROOT, SLIM, dark_case, small_bundles, small_chest, write_image, write_table

import make_cases
import train
from lungcad.errors import InputError
from lungcad.geometry import to_world
from lungcad.training.case_writer import Job, write_cases
from lungcad.training.cases import Case, Sphere, save_case
from lungcad.training.recipe import Step, _run, command, load_recipe, run_recipe, step_values

DETECTION, REDUCTION = "lung_nodule_detection_dou2017", "lung_nodule_fpr_dou2017"
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
        ([FIRST | {"config": "infer"}], "expected train, evaluate, mine"),
        ([FIRST | {"epochs": 3}], "no recipe in"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_hours_of_training(
    tmp_path: Path, steps: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(write_recipe(tmp_path / "recipe.json", *steps))


@pytest.mark.parametrize(
    ("trained", "scored"),
    [("train", "test"), ("train", "healthy"), ("validation", "test"), ("final", "final_test"),
     ("final", "final_healthy")],
)
def test_scored_composites_share_no_lung_patient_or_draw_with_the_trained_ones(trained: str, scored: str) -> None:
    one, other = make_cases.SPLITS[trained], make_cases.SPLITS[scored]
    assert not set(one["backgrounds"]) & set(other["backgrounds"])
    assert not set(one["folds"]) & set(other["folds"])
    assert one["seed"] != other["seed"]


def test_shipped_recipes_hold_together() -> None:
    recipes = list(ROOT.glob("bundles/*/configs/recipe*.json"))
    assert recipes
    for path in recipes:
        steps = load_recipe(path)
        assert len({step.name for step in steps}) == len(steps)
        assert any(step.cases == "test" for step in steps)


def words_of(step: Step, processes: int = 1, **overrides: Any) -> tuple[list[str], dict[str, str]]:
    folders = {name: f"runs/{name}" for name in "abc"}
    words = command(step, step_values(step, folders, ["cases"], overrides), processes)
    flags = words[words.index("run") + 1 :]
    return words, dict(zip(flags[::2], flags[1::2], strict=True))


def test_a_step_becomes_the_command_that_the_readme_shows() -> None:
    step = Step("b", DETECTION, "train", "train", set={"start_from": "{a}/model.pt", "epochs": 9})
    words, flags = words_of(step, epochs=3)
    assert words[1:4] == ["-m", "monai.bundle", "run"]
    assert flags["--start_from"] == "runs/a/model.pt"
    assert flags["--epochs"] == "3"  # what the user says goes over the recipe
    assert flags["--run_dir"] == "runs/b"
    assert "multi_gpu_train" not in flags["--config_file"]
    words, flags = words_of(step, processes=2)
    assert "--nproc_per_node=2" in words
    assert "multi_gpu_train.json" in flags["--config_file"]
    score = Step("c", DETECTION, "evaluate", "test", weights="a", set={"data": "some"})
    words, flags = words_of(score, processes=2, epochs=3, device="cpu")
    assert "--nproc_per_node=2" not in words
    assert flags["--weights"] == "runs/a/model.pt"
    assert flags["--device"] == "cpu"
    assert "--epochs" not in flags


@pytest.fixture
def done(tmp_path: Path) -> tuple[list[Step], dict[str, list[Path]]]:
    """Two steps, the second on the first's weights, both done."""
    steps = [Step("a", DETECTION, "train", "train"), Step("b", DETECTION, "evaluate", "train", "a")]
    cases = {"train": [tmp_path / "cases"]}
    folders = {step.name: str(tmp_path / step.name) for step in steps}
    for step, result in zip(steps, ("model.pt", "metrics.json"), strict=True):
        (tmp_path / step.name).mkdir()
        (tmp_path / step.name / result).touch()
        values = step_values(step, folders, cases["train"], {})
        (tmp_path / step.name / "step.json").write_text(json.dumps(values))
    return steps, cases


def test_what_is_done_is_not_done_again(tmp_path: Path, done: Any) -> None:
    steps, cases = done
    assert run_recipe(steps, tmp_path, cases) == [tmp_path / "b" / "metrics.json"]


def test_what_was_done_otherwise_is_refused(tmp_path: Path, done: Any) -> None:
    steps, cases = done
    with pytest.raises(InputError, match="a was run with other settings: epochs"):
        run_recipe(steps, tmp_path, cases, overrides={"epochs": 2})
    with pytest.raises(InputError, match="other settings: cases_dir"):
        run_recipe(steps, tmp_path, {"train": [tmp_path / "others"]})
    os.utime(tmp_path / "a" / "model.pt", (4e9, 4e9))  # trained again since
    with pytest.raises(InputError, match="made from an earlier a"):
        run_recipe(steps, tmp_path, cases)
    with pytest.raises(InputError, match="split train"):
        run_recipe(steps, tmp_path, {})
    with pytest.raises(InputError, match="several processes"):
        run_recipe(steps, tmp_path, cases, processes=2, overrides={"device": "cpu"})


def test_a_case_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save_case(tmp_path / split, dark_case("scan-7"))
    with pytest.raises(InputError, match=r"E-CONFIG.*case scan-7 is in (train and in test|test and in train)"):
        train.split(DETECTION, str(tmp_path), str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


class MadeCases(list[Case]):
    """Cases that are there, as a dataset that knows their names."""

    @property
    def names(self) -> list[str]:
        return [case.name for case in self]


def test_cases_are_not_made_into_a_folder_that_holds_others(tmp_path: Path) -> None:
    made = MadeCases([dark_case("scan-7")])
    write_cases([Job(tmp_path / "train", made, {"seed": 1})], workers=0)
    for cases, settings in ((made, {"seed": 2}), (MadeCases([dark_case("scan-8")]), {"seed": 1})):
        with pytest.raises(InputError, match=r"E-CONFIG.*/train holds cases already"):
            write_cases([Job(tmp_path / "train", cases, settings)], workers=0)
    with pytest.raises(InputError, match=r"E-CONFIG.*case scan-7 of validation is in train already"):
        write_cases([Job(tmp_path / "validation", made, {"seed": 1})], workers=0)
    (tmp_path / "train" / "cases.json").unlink()  # of a version that wrote none
    with pytest.raises(InputError, match=r"E-CONFIG.*/train holds cases already: old and new"):
        write_cases([Job(tmp_path / "train", made, {"seed": 1})], workers=0)
    assert [path.name for path in tmp_path.glob("*/*.npz")] == ["scan-7.npz"]


def test_a_folder_without_cases_is_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*no such folder of cases: none"):
        train.split(DETECTION, str(tmp_path / "none"), str(tmp_path / "runs"))
    (tmp_path / "cases" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match=r"E-CONFIG.*needs cases of the split train; there are none.*make_cases"):
        train.split(REDUCTION, str(tmp_path / "cases"), str(tmp_path / "runs"))
    save_case(tmp_path / "cases" / "subset0", dark_case("a"))
    (tmp_path / "cases" / "subset1").mkdir()
    with pytest.raises(InputError, match="fewer than two folders"):
        train.cross_validate(REDUCTION, str(tmp_path / "cases"), str(tmp_path / "runs"))
    for recipe, advice in (("recipe", f"trained along with {REDUCTION}"), ("recipe_x", "")):
        with pytest.raises(InputError, match=rf"E-CONFIG.*{DETECTION} has no .*{advice}"):
            train.split(DETECTION, str(tmp_path / "cases"), str(tmp_path / "runs"), recipe=recipe)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("script", "starts"),
    [
        ("touch checkpoint.pt; sleep 0.01; exit 1", 3),  # torchrun's code for a killed worker, after some epochs
        ("exit 1", 1),
        ("kill -9 $$", 3),
        ("exit 0", 1),
    ],
)
def test_what_was_killed_starts_again_and_what_is_wrong_does_not(tmp_path: Path, script: str, starts: int) -> None:
    line = ["bash", "-c", f"cd {tmp_path}; echo start >> log; {script}"]
    with contextlib.nullcontext() if script == "exit 0" else pytest.raises(InputError, match="ended with exit code"):
        _run(line, tmp_path, restarts=2)
    assert len((tmp_path / "log").read_text().split()) == starts


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


CROSS = (
    {"name": "detection", "bundle": DETECTION, "config": "train", "cases": "train"},
    {"name": "mined", "bundle": DETECTION, "config": "evaluate", "cases": "train", "weights": "detection"},
    {"name": "reduction", "bundle": REDUCTION, "config": "train", "cases": "train",
     "set": {"detection_weights": "{detection}/model.pt", "candidates": "{mined}/candidates.json"}},
    {"name": "detection_test", "bundle": DETECTION, "config": "evaluate", "cases": "test", "weights": "detection"},
)  # fmt: skip


def run_here(line: Sequence[str], folder: Path, restarts: int) -> None:
    """Run the command of a step in this process, which has imported what each new one takes seconds to import."""
    from monai.bundle.scripts import run

    fire.Fire(run, command=[*line[line.index("run") + 1 :], "--logging_file=False"])


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcad.training.recipe._run", run_here)


@pytest.mark.slow
def test_cross_validation_scores_every_scan_once_and_resumes(
    tmp_path: Path, cases_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(folder.name for folder in cases_dir.iterdir()) == [
        "subset0", "subset0_scaled", "subset1", "subset1_scaled"
    ]  # fmt: skip
    bundles = small_bundles(tmp_path / "bundles")
    write_recipe(bundles / REDUCTION / "configs" / "recipe.json", *CROSS)
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(bundles))
    runs = tmp_path / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lungcad.training.recipe._run", run_here)
        train.cross_validate(REDUCTION, str(cases_dir), str(runs), **SMALL)
    table = (runs / "results.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|") for line in table.splitlines()[2:]}
    assert list(rows) == ["detection test"]
    for row in rows.values():
        assert [cell.strip() for cell in row[2:4]] == ["2", "2"]  # scans, nodules: each subset's, once
    for fold in range(2):
        tested = json.loads((runs / f"subset{fold}" / "detection_test" / "candidates.json").read_text())
        assert list(tested) == [f"1.2.{fold}"]
        mined = json.loads((runs / f"subset{fold}" / "mined" / "candidates.json").read_text())
        assert f"1.2.{fold}" not in mined  # what is tested on is not trained on
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")}
    (runs / "subset1" / "detection_test" / "metrics.json").unlink()  # done again, in a process of its own
    train.cross_validate(REDUCTION, str(cases_dir), str(runs), **SMALL)
    assert (runs / "results.md").read_text() == table
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.pt")} == before


def split_noisy_case(bundle: str, folder: Path) -> None:
    """Follow configs/recipe_small.json on one noisy case with a nodule, to train and to test on."""
    case = dark_case(nodules=[Sphere(np.array([40.0, 40.0, 20.0]), 14.0)])
    case.hu += np.random.default_rng(0).integers(-99, 99, case.hu.shape, dtype=np.int16)
    case.spacing_mm = (3.0, 3.0, 3.0)
    for split, name in (("train", "seen"), ("test", "case")):
        save_case(folder / "cases" / split, replace(case, name=name))
    train.split(bundle, str(folder / "cases"), str(folder / "runs"), recipe="recipe_small", **SMALL)


def _validate_on_test_cases(step: dict[str, Any], folder: Path) -> None:
    """Let a step validate during its training on two samples of the test's case."""
    step["set"] |= {"validation_dir": str(folder / "cases" / "test"), "train#validation_samples#length": 2}


def validation_losses(run: Path) -> list[float]:
    lines = (run / "validation.csv").read_text().splitlines()
    return [float(line.split(",")[1]) for line in lines[1:]]


@pytest.mark.slow
def test_yaos_stages_hand_on_what_the_next_one_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    """Pre-training, mining, fine-tuning, candidates with diameters, classifier: as the bundle's recipe says."""
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    name, configs = "lung_nodule_fpr_yao2018", tmp_path / "bundles"
    recipe = json.loads((ROOT / "bundles" / name / "configs" / "recipe.json").read_text())["steps"]
    for step in recipe:  # whatever the narrow network sees becomes a candidate
        if step["bundle"] != name and step["config"] != "train":
            step["set"] |= {"score_threshold": 0.0, "max_candidates": 20}
    small = [step for step in recipe if step["cases"] != "validation"]
    _validate_on_test_cases(small[0], tmp_path)
    write_recipe(configs / name / "configs" / "recipe_small.json", *small)
    split_noisy_case(name, tmp_path)
    assert "reduction test" in (tmp_path / "runs" / "results_small.md").read_text()
    mined = json.loads((tmp_path / "runs" / "mined" / "hard_blocks.json").read_text())
    assert 0 <= mined["hard_blocks"] <= mined["nodule_free_blocks"]
    assert mined["nodule_free_blocks"] > 0
    found = json.loads((tmp_path / "runs" / "detection_test" / "candidates.json").read_text())["case"]
    assert all(finding["diameter_mm"] > 0 for finding in found)
    judged = json.loads((tmp_path / "runs" / "reduction_test" / "candidates.json").read_text())["case"]
    assert 0 < len(judged) <= len(found)
    assert all(0 <= finding["nodule_probability"] <= 1 for finding in judged)
    tuned, start = (torch.load(tmp_path / "runs" / step / "model.pt") for step in ("detection", "pretrained"))
    assert 0 < max((tuned[key] - start[key]).abs().max() for key in tuned if key.endswith("weight")) < 0.05
    assert len(validation_losses(tmp_path / "runs" / "pretrained")) == SMALL["epochs"]


@pytest.mark.slow
def test_3dags_stages_hand_on_what_the_next_one_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    """Proposals, hard regions, both branches with and without Local Magnification, and both models merged."""
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    name, configs = "lung_nodule_detection_3dag", tmp_path / "bundles"
    recipe = json.loads((ROOT / "bundles" / name / "configs" / "recipe.json").read_text())["steps"]
    steps = [step for step in recipe if step["cases"] != "validation"]
    merged = {"data": "test cases", "second_weights": "{joint_magnify}/model.pt", "keep": "union"}
    union = {"name": "union", "bundle": name, "config": "merge", "cases": "test", "weights": "joint", "set": merged}
    steps.append(union)
    _validate_on_test_cases(next(step for step in steps if step["name"] == "joint"), tmp_path)
    for step in steps:
        kept = {"score_threshold": 0.3, "nms_shared": 1.0}  # networks of chance mark each place many times
        step["set"] |= {"cube_size": [64, 64, 64]} if step["config"] == "train" else kept
    steps[-1]["set"] |= {f"second_network_def#{key}": value for key, value in SLIM.items()}
    write_recipe(configs / name / "configs" / "recipe_small.json", *steps)
    split_noisy_case(name, tmp_path)
    assert "union" in (tmp_path / "runs" / "results_small.md").read_text()
    found = {step: json.loads((tmp_path / "runs" / step / "candidates.json").read_text())["case"]
             for step in ("joint_test", "joint_magnify_test", "union")}  # fmt: skip
    assert found["joint_test"] and found["joint_magnify_test"]
    assert len(found["union"]) >= max(len(found["joint_test"]), len(found["joint_magnify_test"]))
    start, joint = (torch.load(tmp_path / "runs" / step / "model.pt") for step in ("proposals", "joint_magnify"))
    assert any("magnify" in key for key in joint.keys() - start.keys())
    kept = torch.load(tmp_path / "runs" / "joint" / "checkpoint.pt", weights_only=True)["loss"]
    assert int(kept["proposals.steps"]) == SMALL["epochs"] * SMALL["batches_per_epoch"]
    losses = validation_losses(tmp_path / "runs" / "joint")
    assert len(losses) == SMALL["epochs"] and np.isfinite(losses).all()


@pytest.mark.slow
def test_two_processes_one_killed_and_started_again_end_with_the_same_weights(
    tmp_path: Path, cases_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    steps = [Step(name, DETECTION, "train", "train") for name in ("whole", "killed")]
    folders = {step.name: str(tmp_path / step.name) for step in steps}
    small = SMALL | {"epochs": 3}
    lines = [command(step, step_values(step, folders, [cases_dir / "subset0"], small), 2) for step in steps]
    whole, killed = (line[line.index("monai.bundle") + 1 :] for line in lines)
    launches = json.dumps([(whole, False), (killed, True), (killed, False)])
    launcher = [sys.executable, str(ROOT / "tests" / "support" / "two_processes.py"), launches]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(launcher, env=environment, stdout=subprocess.PIPE, text=True, timeout=300)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, False, True]
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in folders)
    assert one["epoch"] == other["epoch"] == 3
    assert {int(state["step"]) for state in one["optimizer"]["state"].values()} == {3 * 2}  # as of one process
    assert one["settings"]["batch_size"] == "4" and "gate_hu" in one["settings"]  # those of the config in use
    for name, value in one["network"].items():
        assert torch.equal(value, other["network"][name]), name
    events = list((tmp_path / "whole" / "tensorboard").iterdir())
    assert any(b"learning_rate" in path.read_bytes() for path in events)


def test_what_a_bundle_infers_with_is_the_same_in_its_evaluation() -> None:
    bundle, overrides = "lung_nodule_malignancy_mtmrnet", {"patch_size": 56, "epochs": 1}
    trained, scored = (Step(config, bundle, config, "train") for config in ("train", "evaluate"))
    folders = {"train": "a", "evaluate": "b"}
    assert step_values(trained, folders, ["cases"], overrides).items() >= overrides.items()
    values = step_values(scored, folders, ["cases"], overrides)
    assert values["patch_size"] == 56 and "epochs" not in values
