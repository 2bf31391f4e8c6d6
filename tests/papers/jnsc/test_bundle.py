# SPDX-License-Identifier: Apache-2.0
"""The joint bundle in a chain: one folder is a detector and a characteriser."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from small_cases import CPU, ROOT, dark_case, edit_json, export_weights_to, small_volume

from lungcad.bundle.registry import CHAIN, stage_bundle, stages_of
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.results.result import rank_findings
from lungcad.scan.scan import Scan
from lungcad.training.cases import Sphere, save_case
from lungcad.training.recipe import load_recipe

NAME = "lung_nodule_joint_jnsc"
CONFIGS = ROOT / "bundles" / NAME / "configs"
NARROW = {"channels": [2, 3, 4, 5, 6], "depth": [1, 1, 1, 1, 1], "features": 3}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle with a narrow network of random weights, on a coarse grid."""
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(CONFIGS, folder / NAME / "configs")
    torch.manual_seed(0)
    network = JNSCNet(**NARROW, prior=0.5)
    torch.nn.init.normal_(network.out.weight)
    export_weights_to(folder / NAME, network)
    knobs = {
        "spacing_mm": [3.0] * 3, "patch_size": [32] * 3, "window_stride": 16, "score_threshold": 0.6,
        "least_diameter_mm": 6.0,
    }  # fmt: skip
    edit_json(
        folder / NAME / "configs" / "inference.json", lambda c: (c.update(knobs), c["network_def"].update(NARROW))
    )
    return folder


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("recipe*.json")), ids=lambda path: path.stem)
def test_recipes_name_keys_that_there_are(path: Path) -> None:
    own = {name: set(json.loads((CONFIGS / f"{name}.json").read_text())) for name in ("inference", "train", "evaluate")}
    steps = load_recipe(path)
    assert steps
    for step in steps:
        assert step.bundle == NAME
        assert set(step.set) <= own["inference"] | own["train" if step.config == "train" else "evaluate"]


def test_one_bundle_is_two_stages(bundles: Path) -> None:
    assert stage_bundle("detect", "jnsc", bundles) == stage_bundle("characterise", "jnsc", bundles) == bundles / NAME
    with pytest.raises(InputError, match="no bundle jnsc for the stage reduce"):
        stage_bundle("reduce", "jnsc", bundles)
    assert stages_of({"stage": "detect"}) == ["detect"]
    assert stages_of({"stage": "detect", "stages": ["characterise", "detect"]}) == ["detect", "characterise"]


def test_a_detector_finds_regions_with_masks_and_a_characteriser_judges_given_findings(bundles: Path) -> None:
    scan = Scan(small_volume())
    found = BundleStage(bundles / NAME, CPU, stage="detect")(scan)
    assert found
    assert all(f.volume_mm3 == pytest.approx(f.mask.volume_mm3) for f in found)
    assert all(0 <= p <= 1 for f in found for p in (f.detection_score, f.nodule_probability, f.malignancy_probability))
    assert min(f.diameter_mm for f in found) > 3.8  # a single voxel is 3.7; masks are smaller than their regions
    given = [Finding((-58.0, 0.0, -230.0), 12.0, 0.9, 0.8), Finding((56.0, 10.0, -230.0), None, 0.5, 0.4)]
    judged = BundleStage(bundles / NAME, CPU, stage="characterise")(scan, given)
    assert [(f.center_lps_mm, f.diameter_mm, f.nodule_probability) for f in judged] == [
        (f.center_lps_mm, f.diameter_mm, f.nodule_probability) for f in given
    ]
    assert 0 <= judged[0].malignancy_probability <= 1
    for finding in judged:
        assert (finding.volume_mm3 is None) == (finding.mask is None)
    assert BundleStage(bundles / NAME, CPU, stage="characterise")(scan, []) == []


@pytest.mark.parametrize("overlays", [("evaluate",), ("evaluate", "truth")], ids="+".join)
def test_its_own_evaluation_scores_detection_masks_and_malignancy(
    bundles: Path, tmp_path: Path, overlays: tuple[str, ...]
) -> None:
    case = dark_case(nodules=[Sphere(np.array([16.0, 16.0, 16.0]), 8.0, "p_1", (5.0, 4.0, 5.0))])
    masks = np.zeros(case.hu.shape, np.uint8)
    masks[14:19, 14:19, 14:19] = 1
    cases, out = tmp_path / "cases", tmp_path / "out"
    cases.mkdir()
    save_case(cases, replace(case, masks=masks, affine=np.eye(4), spacing_mm=(3.0, 3.0, 3.0)))
    configs = bundles / NAME / "configs"
    workflow = ConfigWorkflow(
        [str(configs / f"{name}.json") for name in ("inference", *overlays)], meta_file=str(configs / "metadata.json"),
        bundle_root=str(bundles / NAME), cases_dir=str(cases), output_dir=str(out), data="one",
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    detection, joint = (json.loads((out / f"{name}.json").read_text()) for name in ("metrics", "joint"))
    assert (detection["scans"], detection["nodules"], joint["nodules"]) == (1, 1, 1)
    assert detection["hits"] == joint["found"]
    assert len((out / "segmentation.csv").read_text().splitlines()) == 2
    if "truth" in overlays:  # the nodule's own mask is what is classified
        assert (joint["found"], joint["mean_dice"], joint["mean_volume_error_percent"]) == (1, 1.0, 0.0)


def test_a_chain_takes_it_as_both_stages_and_asks_for_malignancy_of_probable_nodules(bundles: Path) -> None:
    scan = Scan(small_volume())

    def findings(**thresholds: float) -> list[Finding]:
        chain = Chain("jnsc", None, "jnsc", CPU, "candidates", thresholds={"candidates": 0.0} | thresholds,
                      bundles_dir=bundles, root=ROOT / "bundles" / CHAIN, measurer=None)  # fmt: skip
        return rank_findings(chain.find(scan))

    best = findings()[0].nodule_probability
    assert best is not None
    assert findings(sensitive=best - 0.01)[0].malignancy_probability is not None
    assert all(finding.malignancy_probability is None for finding in findings(sensitive=best + 0.01))
