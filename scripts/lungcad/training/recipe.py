# SPDX-License-Identifier: Apache-2.0
"""Recipes: a paper's whole training as a list of bundle runs, from rounds of training to scores.

A recipe is a JSON file in the bundle of its last step. Each step is one ``python -m monai.bundle run`` with the folder
``<runs_dir>/<name>``; a finished step is skipped, a training that was cut off goes on from its last epoch. So the same
command again finishes a run, whatever ended it.

    {"steps": [{"name": "detection", "bundle": "lung_nodule_detection_dou2017", "config": "train", "cases": "train",
                "set": {"epochs": 24}},
               {"name": "mined", "bundle": "lung_nodule_detection_dou2017", "config": "evaluate", "cases": "train",
                "weights": "detection", "set": {"max_candidates": 100}}, ...]}

``{name}`` within a value of ``set`` stands for the folder of that step, such as for the candidates of one round that
the next round trains on. ``step.json`` beside a step's result keeps the settings of the run. A finished step is refused
rather than skipped if its settings are others now, or if a step that it builds on was run again.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lungcad.bundle.registry import bundle_root, config_keys
from lungcad.errors import InputError
from lungcad.training.parallel import MULTI_GPU_OVERLAY

logger = logging.getLogger(__name__)

RECORD = "step.json"
"""File with the settings of a step's run."""

RESULT = {
    "train": "model.pt", "evaluate": "metrics.json", "mine": "hard_blocks.json", "merge": "metrics.json",
    "truth": "metrics.json",
}  # fmt: skip
"""Result file of a step, by config; a step that has it is done."""

OVERLAYS = {
    "train": ["train"], "evaluate": ["evaluate"], "mine": ["evaluate", "mine"], "merge": ["evaluate", "merge"],
    "truth": ["evaluate", "truth"],
}  # fmt: skip
"""Configs laid over the bundle's inference.json, by the step's config."""


@dataclass
class Step:
    """Step of a recipe: one bundle run.

    Attributes:
        name: name of the step and its folder.
        bundle: name of a bundle, see ``lungcad list``.
        config: overlay on the bundle's inference.json: ``train``, ``evaluate``, or ``mine``, ``merge`` or ``truth``
            over that.
        cases: split of the cases.
        weights: name of the training step with the weights to evaluate; None for the bundle's own.
        set: values of the bundle's keys.
    """

    name: str
    bundle: str
    config: str
    cases: str
    weights: str | None = None
    set: dict[str, Any] = field(default_factory=dict)


def load_recipe(path: str | Path) -> list[Step]:
    """Read a recipe.

    Raises:
        InputError: E-CONFIG, there is no such file, it has an unknown entry, or a step names a later one.
    """
    try:
        steps = [Step(**entry) for entry in json.loads(Path(path).read_text())["steps"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"no recipe in {Path(path).name}: {error}."
        raise InputError("E-CONFIG", text, "See lungcad/training/recipe.py.") from error
    earlier: dict[str, str] = {}
    for step in steps:
        if step.config not in RESULT:
            raise InputError("E-CONFIG", f"step {step.name}: config {step.config} (expected {', '.join(RESULT)}).")
        if step.weights is not None and step.weights not in earlier:
            text = f"step {step.name} takes weights of {step.weights}, which is no step before it."
            raise InputError("E-CONFIG", text)
        _filled(step, earlier)
        earlier[step.name] = step.name
    return steps


def _filled(step: Step, folders: Mapping[str, str]) -> dict[str, Any]:
    """Values of a step with the folders of other steps filled in, also in lists."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(part) for part in value]
        return value.format_map(folders) if isinstance(value, str) else value

    try:
        return {key: filled(value) for key, value in step.set.items()}
    except (KeyError, ValueError) as error:
        raise InputError("E-CONFIG", f"step {step.name} refers to {error}, which is no step before it.") from error


def run_recipe(
    steps: Sequence[Step], runs_dir: str | Path, cases: Mapping[str, Sequence[str | Path]], *, processes: int = 1,
    restarts: int = 0, overrides: Mapping[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Run the steps of a recipe that are not done yet.

    Args:
        steps: steps of the recipe.
        runs_dir: folder for one folder per step.
        cases: folders of cases by split.
        processes: number of processes that train together under torchrun; evaluation takes one.
        restarts: number of times that a step that was killed starts again.
        overrides: values for every training step: ``epochs``, ``batches_per_epoch`` ...; keys of the bundle's
            inference.json, such as ``device`` or ``patch_size``, also for evaluations.

    Returns:
        Files ``metrics.json`` of the evaluations, in order.

    Raises:
        InputError: E-TRAIN, a step fails; E-CONFIG, a split has no folder, or a step in ``runs_dir`` was run with
            other settings.
    """
    root = Path(runs_dir).absolute()
    folders = {step.name: str(root / step.name) for step in steps}
    overrides = overrides or {}
    if processes > 1 and "device" in overrides:
        raise InputError("E-CONFIG", "--device with several processes (expected one of them): each takes its own GPU.")
    for step in steps:
        if not cases.get(step.cases):
            text = f"step {step.name} needs cases of the split {step.cases}; there are none."
            raise InputError("E-CONFIG", text, "scripts/make_cases.py and make_nodules.py write a folder for each.")
    results: dict[str, Path] = {}
    for step in steps:
        values = step_values(step, folders, cases[step.cases], overrides)
        results[step.name] = result = root / step.name / RESULT[step.config]
        _refuse_other_settings(root / step.name, values)
        if result.exists():
            _refuse_stale(step, result, results)
            logger.info("%s: done before", step.name)
        else:
            (root / step.name).mkdir(parents=True, exist_ok=True)
            (root / step.name / RECORD).write_text(json.dumps(values, indent=2))
            _run(command(step, values, processes), root / step.name, restarts)
    return [results[step.name] for step in steps if RESULT[step.config] == "metrics.json"]


def _refuse_other_settings(folder: Path, values: Mapping[str, Any]) -> None:
    """Refuse a folder of a step that was run with other settings."""
    record = folder / RECORD
    if not folder.exists():
        return
    before = json.loads(record.read_text()) if record.exists() else {}
    other = sorted(key for key in before.keys() | values.keys() if before.get(key) != values.get(key))
    if other:
        text = f"{folder.name} was run with other settings: {', '.join(other)}."
        raise InputError("E-CONFIG", text, f"Give another --runs_dir, or delete {folder.name} and the steps after it.")


def _refuse_stale(step: Step, result: Path, results: Mapping[str, Path]) -> None:
    """Refuse a result that is older than that of a step it was made from."""
    used = [name for name in results if name == step.weights or f"{{{name}}}" in json.dumps(step.set)]
    newer = [name for name in used if results[name].stat().st_mtime > result.stat().st_mtime]
    if newer:
        text = f"step {step.name} was made from an earlier {newer[0]}."
        raise InputError("E-CONFIG", text, f"Delete its folder and those of the steps after it: {result.parent}.")


def step_values(
    step: Step, folders: Mapping[str, str], cases: Sequence[str | Path], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of the bundle's keys for a step: the step's own, those of the command line, and folders.

    Args:
        step: step of a recipe.
        folders: folder of each step by name.
        cases: folders of cases.
        overrides: values of the command line; in an evaluation only those of the bundle's inference.json hold.
    """
    values: dict[str, Any] = {"cases_dir": [str(Path(folder).absolute()) for folder in cases], **_filled(step, folders)}
    if step.config == "train":
        return values | dict(overrides) | {"run_dir": folders[step.name]}
    if step.weights is not None:
        values["weights"] = f"{folders[step.weights]}/model.pt"
    shared = config_keys(bundle_root(step.bundle))
    everywhere = {key: value for key, value in overrides.items() if key in shared}
    return values | everywhere | {"output_dir": folders[step.name]}


def command(step: Step, values: Mapping[str, Any], processes: int) -> list[str]:
    """Command line of one step.

    Args:
        step: step of a recipe.
        values: values of the bundle's keys.
        processes: number of processes that train together.
    """
    bundle, together = bundle_root(step.bundle), step.config == "train" and processes > 1
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("inference", *OVERLAYS[step.config])]
    configs += [str(MULTI_GPU_OVERLAY)] if together else []
    launcher = [sys.executable, "-m"]
    if together:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    flags = {"config_file": configs, "bundle_root": bundle, **values}
    words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
    return [*launcher, "monai.bundle", "run", *words]


def _run(line: Sequence[str], folder: Path, restarts: int) -> None:
    """Run a step; a step that was killed starts again from its last checkpoint, at most ``restarts`` times.

    torchrun reports a killed worker by the same exit code as a faulty one: there a step starts again only if the
    checkpoint has changed since the start.
    """
    checkpoint = folder / "checkpoint.pt"
    for attempt in range(restarts + 1):
        logger.info("%s: %s", folder.name, "starts" if attempt == 0 else f"starts again ({attempt} of {restarts})")
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        code = subprocess.run(line).returncode
        if code == 0:
            return
        went_on = checkpoint.exists() and checkpoint.stat().st_mtime_ns != before
        if code > 0 and not went_on:
            break
    text = f"step {folder.name} ended with exit code {code}."
    raise InputError("E-TRAIN", text, "Mend what it says above, and run this again: it resumes.")
