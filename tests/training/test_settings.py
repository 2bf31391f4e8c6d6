# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser
from small_cases import ROOT

from lungcad.bundle.values import carries_code
from lungcad.training.settings import NO_SETTINGS, changed_settings, training_settings

TRAINED = sorted(path.parent for path in ROOT.glob("bundles/*/configs/train.json"))


def config_of(configs: Path, *overlays: str) -> dict[str, Any]:
    names = ("inference.json", "train.json", *overlays)
    return dict(ConfigParser.load_config_files([str(configs / name) for name in names]))


def test_settings_are_the_plain_values_that_the_run_uses() -> None:
    config = {
        "imports": ["$import a"], "initialize": ["$set_determinism(@seed)"], "run": ["$@train#trainer.run()"],
        "train": {"_target_": "make", "rate": "@rate", "margin": 12, "loss": {"_desc_": "a", "weights": [0.5, 1]}},
        "rate": 0.1, "seed": 3, "grid": "$@size * 2", "size": 4, "threshold": 0.5, "run_dir": "runs",
    }  # fmt: skip
    expected = {"rate": "0.1", "seed": "3", "train#margin": "12", "train#loss#weights": "[0.5, 1]"}
    assert training_settings(config) == expected
    config["train"] |= {"grid": "@grid", "epochs": "@run_dir"}
    assert training_settings(config) == expected | {"size": "4"}
    assert training_settings({}) == {}


def test_what_only_one_version_knows_is_no_change() -> None:
    assert changed_settings({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"}) == ["b"]
    assert changed_settings({}, {"a": "1"}) == []


@pytest.mark.parametrize("configs", TRAINED, ids=lambda path: path.parent.name)
def test_no_key_of_a_training_is_forgotten(configs: Path) -> None:
    settings = training_settings(config_of(configs))
    own = json.loads((configs / "train.json").read_text())
    plain = {key for key, value in own.items() if key not in NO_SETTINGS and not carries_code(value)
             and not isinstance(value, dict)}  # fmt: skip
    assert plain <= settings.keys() and "validation_dir" in plain and "window_hu" in settings
    assert not settings.keys() & {*NO_SETTINGS, "dataset_dir", "output_dir", "operating_point", "debug"}


def test_options_of_the_network_are_settings() -> None:
    configs = ROOT / "bundles" / "lung_nodule_detection_3dag" / "configs"
    settings, magnified = (training_settings(config_of(configs, *more)) for more in ((), ("magnify.json",)))
    assert "network_def#magnify" in changed_settings(settings, magnified) and "anchors_mm" in settings
