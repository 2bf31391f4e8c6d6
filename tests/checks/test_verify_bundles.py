# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import pack_bundle
import verify_bundles
from lungcad.checks import CHECKS, FILES, STAGE_FILES, Bundle, check_files, check_inference, verify

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
DETECTION = "lung_nodule_detection_dou2017"
SCHEMA = Path("data", "schema", "meta_schema_20240725.json")
BY_NAME = {check.__name__.removeprefix("check_"): check for check in CHECKS}
NETWORK = [BY_NAME[name] for name in ("weights", "network", "torchscript")]
LAYOUT = [check for name, check in BY_NAME.items() if name not in ("metadata", "inference") and check not in NETWORK]
"""Checks that ask neither a network (schema) nor run one: scripts/test.sh makes all of them by verify_bundles.py."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the detection bundle that passes, to be broken."""
    root = tmp_path / DETECTION
    shutil.copytree(BUNDLES / DETECTION, root)
    verify_bundles.write_sha256(root)
    return root


def edited(path: Path, change: Callable[[dict], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def failures(root: Path, tmp_path: Path, *names: str) -> list[str]:
    """Names of the checks that fail, among those with these names."""
    return verify(root, None, tmp_path, checks=[BY_NAME[name] for name in names])


@pytest.mark.parametrize("name", sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/metadata.json")))
def test_files_and_configs_of_every_bundle_pass(name: str, tmp_path: Path) -> None:
    with verify_bundles.quiet():
        assert verify(BUNDLES / name, None, tmp_path, checks=LAYOUT) == []


def test_no_config_has_a_key_twice() -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), [name for name, _ in pairs]
        return dict(pairs)

    paths = sorted(BUNDLES.rglob("*.json"))
    assert paths
    for path in paths:
        assert json.loads(path.read_text(), object_pairs_hook=once) is not None, path


def test_a_network_with_its_weights_passes(copy: Path, tmp_path: Path) -> None:
    assert verify(copy, None, tmp_path, checks=NETWORK) == []


@pytest.mark.shared_data
def test_metadata_satisfies_monais_schema_and_a_gap_is_seen(copy: Path, tmp_path: Path, shared: Path) -> None:
    assert verify(copy, shared / SCHEMA, tmp_path, checks=[BY_NAME["metadata"]]) == []
    edited(copy / "configs" / "metadata.json", lambda meta: meta.pop("authors"))
    assert verify(copy, shared / SCHEMA, tmp_path, checks=[BY_NAME["metadata"]]) == ["metadata"]


def test_offline_schema_is_skipped_not_failed(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    url = (tmp_path / "nowhere.json").as_uri()
    edited(copy / "configs" / "metadata.json", lambda meta: meta.update(schema=url))
    assert verify(copy, None, tmp_path, checks=[BY_NAME["metadata"]]) == []
    assert "skip" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*FILES[2:], *STAGE_FILES])
def test_missing_file_is_named(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(AssertionError, match=name):
        check_files(Bundle(copy, None, tmp_path))


def test_altered_weights_fail(copy: Path, tmp_path: Path) -> None:
    path = copy / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    state["c5.bias"] += 1
    torch.save(state, path)
    assert failures(copy, tmp_path, "weights") == ["weights"]
    verify_bundles.write_sha256(copy)
    assert failures(copy, tmp_path, "weights") == []


def test_weights_that_are_not_finite_fail_even_with_their_hash(copy: Path, tmp_path: Path) -> None:
    path = copy / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    state["c5.bias"][0] = torch.nan
    torch.save(state, path)
    verify_bundles.write_sha256(copy)
    assert failures(copy, tmp_path, "weights") == ["weights"]


def test_weights_of_a_variant_need_their_hash_too(copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy / "models" / "model.pt", copy / "models" / "model_wide.pt")
    assert failures(copy, tmp_path, "weights") == ["weights"]
    path = copy / "configs" / "metadata.json"
    path.write_text(path.read_text().replace('"weights_sha256"', '"wide_weights_sha256": "",\n    "weights_sha256"', 1))
    verify_bundles.write_sha256(copy)
    assert failures(copy, tmp_path, "weights") == []
    meta = json.loads(path.read_text())
    assert meta["wide_weights_sha256"] == meta["weights_sha256"]


def test_torchscript_that_computes_something_else_fails(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_faced.py").write_text(
        "import torch\n"
        "from lungcad.papers.dou2017.network import CandidateFCN\n"
        "class TwoFaced(CandidateFCN):\n"
        "    def forward(self, x):\n"
        "        out = self.c5(torch.relu(self.c4(self.early(x))))\n"
        "        return out + 1 if torch.jit.is_scripting() else out\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    edited(
        copy / "configs" / "inference.json",
        lambda config: config["network_def"].update(_target_="two_faced.TwoFaced"),
    )
    assert verify(copy, None, tmp_path, checks=NETWORK) == ["torchscript"]


@pytest.mark.parametrize(
    ("config", "change", "check"),
    [
        ("metadata", lambda c: c.update(version="9.9.9"), "changelog"),
        ("metadata", lambda c: c["network_data_format"]["outputs"]["pred"].update(num_channels=3), "network"),
        ("inference", lambda c: c.update(decode=c.pop("decode")), "skeleton"),
        ("inference", lambda c: c["network_def"].pop("_desc_"), "skeleton"),
        ("inference", lambda c: c.update(output_dir="/home/somebody/eval"), "skeleton"),
        ("inference", lambda c: c.update(run=["$@evaluator.run()"]), "skeleton"),
        ("inference", lambda c: c.pop("evaluator"), "properties"),
        ("train", lambda c: c["train"]["trainer"].update(epochs="@epoch"), "overlays"),
        ("train", lambda c: c["train"]["loss"].update(hard_part=0.5), "overlays"),
        ("evaluate", lambda c: c["scorer"].update(_target_="lungcad.training.scoring.Scorer"), "overlays"),
    ],
)
def test_broken_config_fails_its_check(
    copy: Path, tmp_path: Path, config: str, change: Callable[[dict], object], check: str
) -> None:
    edited(copy / "configs" / f"{config}.json", change)
    assert verify(copy, None, tmp_path, checks=[BY_NAME[check]]) == [check]


def test_another_licence_and_an_empty_data_licence_fail(copy: Path, tmp_path: Path) -> None:
    assert verify(copy, None, tmp_path, checks=[BY_NAME["license"]]) == []
    for name in ("LICENSE", "docs/data_license.txt"):
        text = (copy / name).read_text()
        (copy / name).write_text("")
        assert verify(copy, None, tmp_path, checks=[BY_NAME["license"]]) == ["license"]
        (copy / name).write_text(text)


def test_a_version_that_the_zoo_has_published_fails(copy: Path, tmp_path: Path) -> None:
    version = json.loads((copy / "configs" / "metadata.json").read_text())["version"]
    published = copy.parent / "model_info.json"
    published.write_text(json.dumps({f"{DETECTION}_v0.0.0": {}}))
    assert verify(copy, None, tmp_path, checks=[BY_NAME["changelog"]]) == []
    published.write_text(json.dumps({f"{DETECTION}_v{version}": {}}))
    assert verify(copy, None, tmp_path, checks=[BY_NAME["changelog"]]) == ["changelog"]


@pytest.mark.parametrize("change", [
    lambda meta: meta["required_packages_version"].update(scipy="1.0"),
    lambda meta: meta["required_packages_version"].update(lungcad="0.1.0"),
    lambda meta: meta.update(pytorch_version="2.8.0"),
    lambda meta: meta.update(optional_packages_version={}),
])  # fmt: skip
def test_packages_that_were_not_tested_or_that_pip_lacks_fail(
    copy: Path, tmp_path: Path, change: Callable[[dict], object]
) -> None:
    shutil.copy(BUNDLES.parent / "scripts" / "constraints.txt", copy)
    assert verify(copy, None, tmp_path, checks=[BY_NAME["packages"]]) == []
    edited(copy / "configs" / "metadata.json", change)
    assert verify(copy, None, tmp_path, checks=[BY_NAME["packages"]]) == ["packages"]


def test_a_large_file_that_was_not_downloaded_fails(copy: Path, tmp_path: Path) -> None:
    listing = {"large_files": [{"path": "models/model.pt", "url": "https://example.org/model.pt"}]}
    (copy / "large_files.json").write_text(json.dumps(listing))
    assert verify(copy, None, tmp_path, checks=[BY_NAME["files"]]) == []
    listing["large_files"][0]["path"] = "models/model_wide.pt"
    (copy / "large_files.json").write_text(json.dumps(listing))
    assert verify(copy, None, tmp_path, checks=[BY_NAME["files"]]) == ["files"]


def test_a_broken_torchscript_file_beside_the_weights_fails(copy: Path, tmp_path: Path) -> None:
    (copy / "models" / "model.ts").write_text("no TorchScript")
    assert verify(copy, None, tmp_path, checks=[BY_NAME["torchscript"]]) == ["torchscript"]


def test_a_packed_chain_passes_as_the_chain_does(tmp_path: Path) -> None:
    pack_bundle.pack("lung_nodule_cad", tmp_path / "lung_nodule_cad")
    with verify_bundles.quiet():
        assert verify(tmp_path / "lung_nodule_cad", None, tmp_path, checks=LAYOUT + NETWORK) == []
    assert (tmp_path / "lung_nodule_cad" / "models" / "model.pt").is_file()


def test_a_run_that_refuses_its_input_fails(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(AssertionError, match="exit code 2"):
        check_inference(Bundle(copy, None, tmp_path, tmp_path / "nothing", tmp_path / "no.csv"))
