# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from lungcad import InputError
from lungcad.bundle.registry import bundle_root, bundles_folder, config_keys, describe, list_bundles, stage_bundle


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    for name in ("lung_nodule_cad", "lung_nodule_fpr"):
        configs = tmp_path / name / "configs"
        configs.mkdir(parents=True)
        (configs / "metadata.json").write_text(json.dumps({"version": "0.2.0", "task": f"task of {name}"}))
        (configs / "inference.json").write_text('{"dataset_dir": "in", "device": "cpu"}')
    (tmp_path / "lung_nodule_cad" / "models").mkdir()
    (tmp_path / "lung_nodule_cad" / "models" / "model.pt").touch()
    (tmp_path / "not_a_bundle").mkdir()
    return tmp_path


def test_lists_bundles_by_name(bundles: Path) -> None:
    found = list_bundles(bundles)
    assert [(one["name"], one["version"], one["weights"]) for one in found] == [
        ("lung_nodule_cad", "0.2.0", True),
        ("lung_nodule_fpr", "0.2.0", False),
    ]


def test_environment_names_the_folder(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(bundles))
    assert bundles_folder() == bundles
    assert describe("lung_nodule_fpr")["task"] == "task of lung_nodule_fpr"
    assert config_keys(bundle_root("lung_nodule_cad")) == ["dataset_dir", "device"]


def test_checkout_has_its_bundles_beside_the_package() -> None:
    assert bundles_folder() == Path(__file__).resolve().parents[2] / "bundles"


def test_unknown_bundle_names_the_nearest(bundles: Path) -> None:
    with pytest.raises(InputError, match=r"E-BUNDLE.*Did you mean lung_nodule_fpr\?"):
        bundle_root("lung_nodules_fpr", bundles)


def test_refuses_no_folder_and_broken_metadata(bundles: Path) -> None:
    with pytest.raises(InputError, match="E-BUNDLE"):
        list_bundles(bundles / "none")
    (bundles / "lung_nodule_cad" / "configs" / "metadata.json").write_text("{")
    with pytest.raises(InputError, match=r"lung_nodule_cad/configs/metadata\.json"):
        list_bundles(bundles)


@pytest.mark.parametrize(("stage", "name", "bundle"), [
    ("detect", "yao2018", "lung_nodule_detection_yao2018"),
    ("reduce", "yao2018", "lung_nodule_fpr_yao2018"),
    ("reduce", "lung_nodule_fpr_dou2017", "lung_nodule_fpr_dou2017"),
    ("characterise", "mtmrnet", "lung_nodule_malignancy_mtmrnet"),
])  # fmt: skip
def test_a_stage_is_named_by_its_paper_or_its_bundle(stage: str, name: str, bundle: str) -> None:
    assert stage_bundle(stage, name) == bundle_root(bundle)


@pytest.mark.parametrize("name", [None, "none", "None"])
def test_a_stage_may_be_none(name: str | None) -> None:
    assert stage_bundle("reduce", name) is None


def test_a_stage_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"E-CONFIG\] no bundle mtmrnet for the stage reduce .expected dou2017, yao"):
        stage_bundle("reduce", "mtmrnet")
