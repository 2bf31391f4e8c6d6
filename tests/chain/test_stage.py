# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_cases import CPU, NODULE_VOX, edit_json, small_bundles, small_volume

from lungcad.chain.stage import BundleStage
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import to_index, to_world
from lungcad.scan.scan import Scan

DETECT, REDUCE = "lung_nodule_detection_dou2017", "lung_nodule_fpr_dou2017"
ANY_SCORE = {"score_threshold": 1e-6, "max_candidates": 7}


def refused(code: str, *args: object) -> InputError:
    with pytest.raises(InputError) as caught:
        BundleStage(*args)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value


def test_first_stage_finds_candidates_in_the_lungs_of_a_scan(bundles: Path, scan: Scan) -> None:
    findings = BundleStage(bundles / DETECT, CPU, ANY_SCORE)(scan)
    assert 1 <= len(findings) <= 7
    scores = [finding.detection_score for finding in findings]
    assert scores == sorted(scores, reverse=True)
    lungs = scan.lungs
    for finding in findings:
        x, y, z = np.rint(to_index(lungs.affine, finding.center_lps_mm)).astype(int)
        assert lungs.mask[x - 3 : x + 4, y - 3 : y + 4, z - 3 : z + 4].any()
        assert finding.nodule_probability is None


def test_second_stage_judges_what_the_first_found(bundles: Path, scan: Scan) -> None:
    x, y, z = to_world(scan.volume.affine, NODULE_VOX)
    stage = BundleStage(bundles / REDUCE, CPU, {"least_probability": 0.0})
    one = stage(scan, [Finding((x, y, z), detection_score=0.8)])
    assert len(one) == 1
    assert one[0].detection_score == 0.8
    assert 0 < one[0].nodule_probability < 1
    assert one[0].diameter_mm > 0
    assert stage(scan, []) == []
    assert stage(scan, [Finding((x, y, z), detection_score=0.8)]) == one  # nothing is left over from a call before


def test_overrides_take_effect_and_unknown_ones_are_refused(bundles: Path, scan: Scan) -> None:
    assert len(BundleStage(bundles / DETECT, CPU, ANY_SCORE | {"max_candidates": 1})(scan)) == 1
    assert BundleStage(bundles / DETECT, CPU, ANY_SCORE | {"gate_hu": 5000.0})(scan) == []
    error = refused("E-CONFIG", bundles / DETECT, CPU, {"score_treshold": 0.1})
    assert "score_treshold" in error.message
    assert "score_threshold" in str(error)


@pytest.mark.parametrize("word", ["false", "False", False])
def test_a_switch_given_as_a_word_is_no_text(bundles: Path, scan: Scan, word: object) -> None:
    x, y, z = to_world(scan.volume.affine, NODULE_VOX)
    candidate = Finding((x, y, z), 7.25, detection_score=0.8)
    (seen,) = BundleStage(bundles / REDUCE, CPU, {"least_probability": 0.0, "refine": word})(scan, [candidate])
    assert (seen.center_lps_mm, seen.diameter_mm) == (candidate.center_lps_mm, 7.25)


def test_no_such_bundle(bundles: Path) -> None:
    error = refused("E-CONFIG", bundles / "lung_nodule_detection_yolo", CPU)
    assert "lung_nodule_detection_yolo" in error.message
    assert str(bundles) not in str(error)


def test_altered_and_missing_weights(tmp_path: Path) -> None:
    folder = small_bundles(tmp_path)
    weights = folder / DETECT / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    state["c5.bias"] += 1
    torch.save(state, weights)
    assert "altered" in refused("E-WEIGHTS", folder / DETECT, CPU).message
    weights.unlink()
    assert "no weights" in refused("E-WEIGHTS", folder / DETECT, CPU).message


def test_weights_of_another_width(tmp_path: Path) -> None:
    folder = small_bundles(tmp_path)
    edit_json(folder / DETECT / "configs" / "inference.json", lambda c: c["network_def"].update(head_channels=6))
    assert "do not fit" in refused("E-WEIGHTS", folder / DETECT, CPU).message


def test_a_scan_without_lungs_is_refused(bundles: Path) -> None:
    volume = small_volume()
    volume.hu[volume.hu < -700] = 40.0
    with pytest.raises(InputError) as caught:
        BundleStage(bundles / DETECT, CPU)(Scan(volume))
    assert caught.value.code == "E-NO-LUNG"


def test_a_stage_knows_its_bundle(bundles: Path) -> None:
    stage = BundleStage(bundles / REDUCE, CPU)
    metadata = json.loads((bundles / REDUCE / "configs" / "metadata.json").read_text())
    assert (stage.meta["name"], stage.version) == (REDUCE, metadata["version"])
    thresholds = stage.thresholds
    assert thresholds and 0 < thresholds["sensitive"] < thresholds["balanced"] < thresholds["conservative"] < 1
    assert not stage.network.training


def test_a_fingerprint_is_that_of_what_findings_depend_on(bundles: Path, tmp_path: Path) -> None:
    def fingerprint(change: Callable[[dict[str, Any]], None], **overrides: Any) -> str:
        folder = shutil.copytree(bundles / DETECT, tmp_path / "bundle", dirs_exist_ok=True)
        edit_json(folder / "configs" / "inference.json", change)
        return BundleStage(folder, CPU, overrides).fingerprint

    same = fingerprint(lambda c: None)
    assert fingerprint(lambda c: c["thresholds"].update(balanced=0.123)) == same
    assert fingerprint(lambda c: None, max_candidates=7) != same
    assert fingerprint(lambda c: c.update(max_candidates=7)) != same
