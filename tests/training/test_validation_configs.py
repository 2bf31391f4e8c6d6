# SPDX-License-Identifier: Apache-2.0
"""Every train.json takes a folder of validation cases, and its loss on them is a number that does not change."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measured_ball import ball_crop
from small_cases import CPU, NARROW, ROOT, SLIM, dark_case
from small_nodules import rated
from torch.optim.swa_utils import AveragedModel

from lungcad.checks.bundle import Bundle
from lungcad.papers.mtmrnet.nodules import save_nodule
from lungcad.papers.unet.crops import save_crop
from lungcad.training.cases import Sphere, save_case
from lungcad.training.parallel import unwrapped
from lungcad.training.validation import Validation

SPHERE = Sphere(np.array([40.0, 40.0, 20.0]), 9.0, "p_1", (5.0, 4.0, 5.0))
NETWORKS: dict[str, dict[str, Any]] = {
    "lung_nodule_detection_dou2017": {"channels": NARROW, "head_channels": 5},
    "lung_nodule_fpr_dou2017": {"channels": NARROW, "branch_channels": 4},
    "lung_nodule_detection_yao2018": {"channels": NARROW},
    "lung_nodule_fpr_yao2018": {"channels": NARROW},
    "lung_nodule_detection_3dag": SLIM,
    "lung_nodule_joint_jnsc": {"channels": [2, 3, 4, 5, 6], "depth": [1] * 5, "features": 3},
    "lung_nodule_malignancy_mtmrnet": {"width": 2, "attribute_features": 5},
    "lung_nodule_segmentation_unet": {"features": [2] * 6},
}
OTHERS: dict[str, dict[str, Any]] = {
    "lung_nodule_detection_dou2017": {"gate_hu": -1000.0},
    "lung_nodule_fpr_dou2017": {"network_def#early_weights": None, "gate_hu": -1000.0},
    "lung_nodule_detection_3dag": {"training": "joint", "cube_size": [32, 32, 32]},
    "lung_nodule_joint_jnsc": {"training": "joint", "patch_size": [32, 32, 32]},
    "lung_nodule_malignancy_mtmrnet": {"network_def#feature_weights": None},
}


def write_cases(folder: Path, spacing_mm: Any, name: str) -> None:
    case = dark_case(name, [SPHERE])
    spacing_mm = np.broadcast_to(spacing_mm, 3).tolist()  # cubes have one spacing along all axes
    case.spacing_mm, case.affine = tuple(spacing_mm), np.diag([*spacing_mm, 1.0])
    case.masks = np.zeros(case.hu.shape, np.uint8)
    case.masks[38:43, 38:43, 18:23] = 1
    save_case(folder, case)
    finding = {"detection_score": 0.5, "diameter_mm": 6.0}
    found = [finding | {"center_lps_mm": [value * mm for value, mm in zip(place, spacing_mm, strict=True)]}
             for place in ((40, 40, 20), (12, 12, 12))]  # fmt: skip
    (folder / "candidates.json").write_text(json.dumps({name: found}))
    save_crop(folder / "outlined", ball_crop(name=f"{name}_1"))
    for number, malignancy in enumerate((1, 5)):
        save_nodule(folder / "multi_slice", rated(f"{name}{number}", (malignancy,)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_on_validation_cases_does_not_change(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    parser = Bundle(ROOT / "bundles" / name, None, tmp_path).parser("train")
    for split in ("train", "validation"):
        write_cases(tmp_path / split, parser.get("spacing_mm", [1.0] * 3), split)
    own = {f"network_def#{key}": value for key, value in NETWORKS[name].items()} | OTHERS.get(name, {})
    paths = {"cases_dir": str(tmp_path / "train"), "validation_dir": str(tmp_path / "validation")}
    files = {"candidates": "train", "validation_candidates": "validation"}
    paths |= {key: str(tmp_path / split / "candidates.json") for key, split in files.items() if key in parser.config}
    small: dict[str, Any] = {"batch_size": 2, "device": CPU}
    if "length" in parser.config["train"]["validation_samples"]:
        small["train#validation_samples#length"] = 2
    for key, value in (own | paths | small).items():
        parser[key] = value
    parser.parse(reset=True)

    def part(key: str) -> Any:
        return parser.get_parsed_content(f"train#{key}")

    network, shared = part("network"), {}
    for key in ("prepare_batch", "inferer"):
        if key in parser.config["train"]["trainer"]:
            shared[key] = part(f"trainer#{key}")
    average = AveragedModel(unwrapped(network))
    validation = Validation(tmp_path / "v.csv", part("validation"), network, average, part("loss"), CPU, **shared)
    for _ in range(2):
        validation(None)  # type: ignore[arg-type]
        torch.rand(7)
    first, second = validation.losses
    assert np.isfinite(first) and first == second
    assert parser.config["train"]["trainer"]["validation"] == "@train::validation"
