# SPDX-License-Identifier: Apache-2.0
"""A paper's whole training as a list of bundle runs: rounds of training, candidates of one round for the next, scores.

A recipe is a JSON file in the bundle that it ends with. Each of its steps is one ``python -m monai.bundle run`` whose
folder is ``<runs_dir>/<name>``; a step whose result is there is skipped, a training that was cut off goes on from its
last epoch. So whatever ends a run, the same command again finishes it.

    {"steps": [{"name": "detection", "bundle": "lung_nodule_detection_dou2017", "config": "train", "cases": "train",
                "set": {"epochs": 24}},
               {"name": "mined", "bundle": "lung_nodule_detection_dou2017", "config": "evaluate", "cases": "train",
                "weights": "detection", "set": {"max_candidates": 100}}, ...]}

``{name}`` within a value of ``set`` stands for the folder of that step. What a step was run with is kept beside its
result in ``step.json``; asked for anything else, or after a step that it builds on was run again, it is refused rather
than taken for done.
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

RESULT = {"train": "model.pt", "evaluate": "metrics.json", "mine": "hard_blocks.json", "merge": "metrics.json"}
"""The file that says that a step is done, by config."""

OVERLAYS = {"train": ["train"], "evaluate": ["evaluate"], "mine": ["evaluate", "mine"], "merge": ["evaluate", "merge"]}
"""What lies over the bundle's inference.json, by config."""


@dataclass
class Step:
    """One bundle run.

    Attributes:
        name: of the step and its folder.
        bundle: a name from ``lungcad list``.
        config: overlay on the bundle's inference.json: ``train``, ``evaluate``, or, over that, ``mine`` or ``merge``.
        cases: which split of the cases.
        weights: training step whose weights are evaluated; None for the bundle's own.
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
        InputError: E-CONFIG; no such file, an unknown entry, or a step that names a later one.
    """
    try:
        steps = [Step(**entry) for entry in json.loads(Path(path).read_text())["steps"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"no recipe in {Path(path).name}: {error}."
        raise InputError("E-CONFIG", text, "See lungcad/training/recipe.py.") from error
    known: dict[str, str] = {}
    for step in steps:
        if step.config not in RESULT:
            raise InputError("E-CONFIG", f"step {step.name}: config {step.config} (expected {', '.join(RESULT)}).")
        if step.weights is not None and step.weights not in known:
            text = f"step {step.name} takes weights of {step.weights}, which is no step before it."
            raise InputError("E-CONFIG", text)
        _filled(step, known)
        known[step.name] = step.name
    return steps


def _filled(step: Step, folders: Mapping[str, str]) -> dict[str, Any]:
    """The step's values with the folders of other steps in them."""
    try:
        return {
            key: value.format_map(folders) if isinstance(value, str) else value for key, value in step.set.items()
        }
    except (KeyError, ValueError) as error:
        raise InputError("E-CONFIG", f"step {step.name} refers to {error}, which is no step before it.") from error


def run_recipe(
    steps: Sequence[Step], runs_dir: str | Path, cases: Mapping[str, Sequence[str | Path]], *, processes: int = 1,
    restarts: int = 0, overrides: Mapping[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Run what is not done yet.

    Args:
        steps: of the recipe.
        runs_dir: gets one folder a step.
        cases: folders of cases by split.
        processes: that train together under torchrun; evaluation takes one.
        restarts: how often a step that was killed starts again.
        overrides: for every training step: ``epochs``, ``batches_per_epoch`` ...; keys of the bundle's inference.json,
            such as ``device`` or ``patch_size``, also for evaluations.

    Returns:
        The ``metrics.json`` files of the evaluations, in order.

    Raises:
        InputError: E-TRAIN, where a step fails; E-CONFIG, where a split has no folder, or what is in ``runs_dir`` was
            made otherwise than it would be now.
    """
    root = Path(runs_dir).absolute()
    folders = {step.name: str(root / step.name) for step in steps}
    overrides = overrides or {}
    if processes > 1 and "device" in overrides:
        raise InputError("E-CONFIG", "--device with several processes (expected one of them): each takes its own GPU.")
    for step in steps:
        if not cases.get(step.cases):
            raise InputError("E-CONFIG", f"step {step.name} needs cases of the split {step.cases}; there are none.")
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
    record = folder / RECORD
    if not folder.exists():
        return
    before = json.loads(record.read_text()) if record.exists() else {}
    other = sorted(key for key in before.keys() | values.keys() if before.get(key) != values.get(key))
    if other:
        text = f"{folder.name} was run with other settings: {', '.join(other)}."
        raise InputError("E-CONFIG", text, f"Give another --runs_dir, or delete {folder.name} and the steps after it.")


def _refuse_stale(step: Step, result: Path, results: Mapping[str, Path]) -> None:
    used = [name for name in results if name == step.weights or f"{{{name}}}" in json.dumps(step.set)]
    newer = [name for name in used if results[name].stat().st_mtime > result.stat().st_mtime]
    if newer:
        text = f"step {step.name} was made from an earlier {newer[0]}."
        raise InputError("E-CONFIG", text, f"Delete its folder and those of the steps after it: {result.parent}.")


def step_values(
    step: Step, folders: Mapping[str, str], cases: Sequence[str | Path], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """What a step sets of its bundle's keys: its own values, those of the command line for training, and folders."""
    values: dict[str, Any] = {"cases_dir": [str(Path(folder).absolute()) for folder in cases], **_filled(step, folders)}
    if step.config == "train":
        return values | dict(overrides) | {"run_dir": folders[step.name]}
    if step.weights is not None:
        values["weights"] = f"{folders[step.weights]}/model.pt"
    shared = config_keys(bundle_root(step.bundle))
    everywhere = {key: value for key, value in overrides.items() if key in shared}
    return values | everywhere | {"output_dir": folders[step.name]}


def command(step: Step, values: Mapping[str, Any], processes: int) -> list[str]:
    """The command line of one step."""
    bundle, together = bundle_root(step.bundle), step.config == "train" and processes > 1
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("inference", *OVERLAYS[step.config])]
    configs += [str(MULTI_GPU_OVERLAY)] if together else []
    launcher = [sys.executable, "-m"]
    if together:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    flags = {"config_file": configs, "bundle_root": bundle, **values}
    return [*launcher, "monai.bundle", "run", *(part for key, one in flags.items() for part in (f"--{key}", str(one)))]


def _run(line: Sequence[str], folder: Path, restarts: int) -> None:
    """Run a step; one that was killed starts again from its last checkpoint, at most so many times.

    torchrun tells a killed worker by the same exit code as a faulty one: there it is the checkpoint's progress since
    the start that says that another start is worth it.
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
