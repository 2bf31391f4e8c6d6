# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

import lungcad
from lungcad.bundle import lean
from lungcad.bundle.registry import (
    CHAIN,
    STAGE_KEYS,
    bundle_root,
    list_bundles,
    read_config,
    read_metadata,
    stage_bundle,
)
from lungcad.cli import start

SCRIPTS = Path(lungcad.__file__).parents[1]
OURS = [Path(one["root"]) for one in list_bundles()]
STAGES = [root for root in OURS if read_metadata(root).get("stage") != "chain"]
ALL_STAGES = """
import sys
from importlib import import_module
from lungcad.bundle.lean import optional_packages_withheld
with optional_packages_withheld():
    import monai.bundle
for target in sys.argv[1:]:
    module, _, name = target.rpartition(".")
    getattr(import_module(module), name)
assert not {"ignite", "itk", "matplotlib", "sklearn", "scipy.stats", "torch.distributed.optim"} & set(sys.modules)
import torch
parts = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1}
scale = monai.bundle.ConfigParser({"scale": parts}).get_parsed_content("scale")
assert float(scale({"image": torch.full((1, 2), -300.0)})["image"][0, 0]) == 0.5
import matplotlib
"""


def targets_of(config: dict[str, Any]) -> set[str]:
    """Classes that a chain makes of a bundle: all but those of its own run."""
    parts = {key: part for key, part in config.items() if key not in ("dataset", "evaluator")}
    return set(re.findall(r'"_target_": "([^"]+)"', json.dumps(parts)))


def test_withheld_packages_are_there_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "OPTIONAL", frozenset({"colorsys"}))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with lean.optional_packages_withheld():
        with pytest.raises(ModuleNotFoundError, match="withheld"):
            import colorsys
        with pytest.raises(ModuleNotFoundError, match="No module named"):
            import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    import colorsys

    assert colorsys.rgb_to_hls(0, 0, 0) == (0, 0, 0)


@pytest.mark.parametrize("root", STAGES, ids=lambda root: root.name)
def test_stages_of_ours_need_no_optional_package(root: Path) -> None:
    assert not lean.needs_optional_packages([read_config(root)])


@pytest.mark.parametrize(
    "change",
    [
        {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96]}},
        {"preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "ResampleToMatchd", "keys": "image"}]}},
        {"decode": "$monai.transforms.AsDiscrete(argmax=True)"},
    ],
)
def test_stage_with_other_parts_gets_the_whole_of_monai(change: dict[str, Any]) -> None:
    assert lean.needs_optional_packages([read_config(STAGES[0]), read_config(STAGES[0]) | change])


def test_every_stage_of_the_chain_is_looked_at() -> None:
    root = bundle_root(CHAIN)
    chosen = read_config(root)
    seen = [config["network_def"] for config in start._stage_configs(root, chosen)]
    stages = [stage_bundle(stage, chosen[key]) for stage, key in STAGE_KEYS.items()]
    assert seen == [read_config(stage)["network_def"] for stage in stages if stage]
    assert len(seen) == 4


def test_every_stage_loads_without_the_optional_packages() -> None:
    targets = {target for root in STAGES for target in targets_of(read_config(root)) if target.startswith("lungcad.")}
    targets |= {"lungcad.chain.cad.NoduleCAD", "lungcad.results.dicom.write.write_dicom"}
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", ALL_STAGES, *sorted(targets)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", ["dataset", "evaluator", "imports", "run"])
def test_what_a_chain_does_not_evaluate_is_not_looked_at(key: str) -> None:
    config = read_config(STAGES[0])
    assert key in config
    assert not lean.needs_optional_packages([config | {key: {"_target_": "SupervisedEvaluator"}}])
    assert lean.needs_optional_packages([config | {"network": {"_target_": "SupervisedEvaluator"}}])


def test_itk_core_holds_the_formats_that_monai_reads_with_itk() -> None:
    names = {path.name for path in files("itk-core") or []}
    wanted = {f"ITKIO{kind}Config.py" for kind in ("GDCM", "NIFTI", "Meta", "NRRD", "ImageBase")}
    assert wanted <= names and "itkConfig.py" in names
