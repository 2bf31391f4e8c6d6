# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pydicom
import pytest
from small_cases import ROOT, small_bundles

import pack_bundle
from deploy.app.packed import packed_chain
from deploy.check_context import check_context

DEPLOY = ROOT / "scripts" / "deploy"
SDK = DEPLOY / ".venv" / "bin" / "python"
CHAIN = "lung_nodule_cad"
needs_sdk = pytest.mark.skipif(not SDK.exists(), reason="needs the SDK's environment: bash scripts/deploy/setup.sh")


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    return {name.lower(): version for name, version in (line.split("==") for line in lines)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MODELS: a folder with the packed chain of narrow networks."""
    bundles, folder = small_bundles(tmp_path_factory.mktemp("bundles")), tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCAD_BUNDLES", str(bundles))
        pack_bundle.pack(CHAIN, folder / CHAIN)
    return folder


@pytest.fixture
def context(models: Path, tmp_path: Path) -> Path:
    """A build context with all that the packager writes, but for the steps between base image and copies."""
    root = tmp_path / "context"
    shutil.copytree(DEPLOY / "app", root / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(models, root / "models")
    copies = {
        "tools": "/var/holoscan/tools", "pip/requirements.txt": "/tmp/requirements.txt", "app": "/opt/holoscan/app",
        "models": "/opt/holoscan/models", "app.config": "/var/holoscan/app.yaml",
        "map/app.json": "/etc/holoscan/app.json", "map/pkg.json": "/etc/holoscan/pkg.json",
    }  # fmt: skip
    (root / "map").mkdir()
    (root / "pip").mkdir()
    (root / "Dockerfile").write_text("".join(f"COPY ./{name} {target}\n" for name, target in copies.items()))
    (root / "tools").write_text("#!/bin/bash\n")
    shutil.copyfile(DEPLOY / "app" / "app.yaml", root / "app.config")
    shutil.copyfile(DEPLOY / "app" / "requirements.txt", root / "pip" / "requirements.txt")
    (root / "map" / "app.json").write_text(json.dumps({
        "command": '["python3", "/opt/holoscan/app"]', "environment": {"HOLOSCAN_APPLICATION": "/opt/holoscan/app"},
        "input": {"formats": ["file"]}, "output": {"formats": ["file"]},
    }))  # fmt: skip
    package = {"models": {CHAIN: f"/opt/holoscan/models/{CHAIN}"}, "resources": {"cpu": 2}}
    (root / "map" / "pkg.json").write_text(json.dumps(package))
    return root


def test_the_environment_has_what_was_tested_and_all_that_the_chain_needs() -> None:
    asked, tested = pins(DEPLOY / "app" / "requirements.txt"), pins(ROOT / "scripts" / "constraints.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {re.match(r"[\w.-]+", line)[0].lower() for line in project}  # type: ignore[index]
    assert asked.keys() - needed == {"monai-deploy-app-sdk", "holoscan-cu13", "holoscan-cli"}
    assert {name: asked[name] for name in needed} == {name: tested[name] for name in needed}


def test_packager_and_runtime_are_of_one_version() -> None:
    asked = pins(DEPLOY / "app" / "requirements.txt")
    (known,) = json.loads((DEPLOY / "artifacts.json").read_text())
    assert asked["holoscan-cli"] == asked["holoscan-cu13"] == known


def test_app_yaml_says_what_the_packager_reads() -> None:
    keys = re.findall(r"^\s*([\w-]+):", (DEPLOY / "app" / "app.yaml").read_text(), flags=re.MULTILINE)
    assert {"application", "title", "version", "input-formats", "output-formats", "resources"} <= set(keys)
    assert not {"inputFormats", "outputFormats"} & set(keys)  # silently ignored


@pytest.mark.parametrize("name", ["setup.sh", "build_map.sh"])
def test_scripts_are_whole(name: str) -> None:
    assert subprocess.run(["bash", "-n", str(DEPLOY / name)]).returncode == 0


def test_models_may_be_the_pack_or_the_folder_around_it(models: Path, tmp_path: Path) -> None:
    assert packed_chain(models) == packed_chain(models / CHAIN) == models / CHAIN
    with pytest.raises(SystemExit, match="2"):
        packed_chain(tmp_path)
    for name in "ab":
        shutil.copytree(models / CHAIN, tmp_path / name)
    with pytest.raises(SystemExit, match="2"):
        packed_chain(tmp_path)


def test_a_complete_context_passes(context: Path) -> None:
    assert check_context(context) == []


@pytest.mark.parametrize("name", ["Dockerfile", "tools", "map/pkg.json", "app/__main__.py"])
def test_a_missing_file_of_the_context_is_named(context: Path, name: str) -> None:
    (context / name).unlink()
    assert check_context(context) == [f"missing: {name}"]


@pytest.mark.parametrize(("name", "old", "new", "told"), [
    ("Dockerfile", "COPY ./models", "COPY ./model", "Dockerfile copies model, which is not there"),
    ("Dockerfile", "COPY ./app /opt/holoscan/app", "COPY ./app /opt/app", "not copied to /opt/holoscan/app"),
    ("map/app.json", "python3", "python2", "app.json runs"),
    ("map/app.json", '["file"]', "null", "no formats"),
    ("map/pkg.json", '"lung_nodule_cad":', '"lung":', "expected one packed chain"),
    ("map/pkg.json", '{"cpu": 2}', "{}", "no resources"),
    ("pip/requirements.txt", "monai==", "monai>=", "not pinned: monai>="),
    ("pip/requirements.txt", "highdicom==", "lowdicom==", "not asked for: highdicom"),
    ("app/operators.py", "class ", "klass ", "app/operators.py: invalid syntax"),
    ("models/lung_nodule_cad/lungcad/geometry.py", "import", " import", "E-CONFIG"),
])  # fmt: skip
def test_what_is_wrong_with_a_context_is_told(context: Path, name: str, old: str, new: str, told: str) -> None:
    text = (context / name).read_text()
    assert old in text
    (context / name).write_text(text.replace(old, new))
    assert any(told in line for line in check_context(context))


def test_scans_and_unpacked_models_do_not_get_into_a_context(context: Path) -> None:
    (context / "app" / "slice.dcm").write_text("")
    assert check_context(context) == ["does not belong there: app/slice.dcm"]
    (context / "app" / "slice.dcm").unlink()
    (context / "models" / CHAIN / "SHA256SUMS").unlink()
    assert any("is not packed" in line for line in check_context(context))


def run_app(series: Path, models: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """``python -m app`` in the SDK's environment, which has no lungcad but the packed one."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LUNGCAD", "PYTHON"))}
    command = [str(SDK), "-m", "app", "-i", str(series), "-o", str(out), "-m", str(models)]
    return subprocess.run(command, cwd=DEPLOY, env=environment, capture_output=True, text=True, timeout=600)


@needs_sdk
@pytest.mark.slow
def test_the_application_runs_what_was_packed(phantom_dir: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = run_app(phantom_dir, models, out)
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    assert {path.name for path in folder.iterdir()} >= {"nodules.json", "nodules.sr.dcm", "report.html", "run.json"}
    report, scan = pydicom.dcmread(folder / "nodules.sr.dcm"), pydicom.dcmread(next(phantom_dir.iterdir()))
    assert (report.Modality, report.StudyInstanceUID) == ("SR", scan.StudyInstanceUID)


@needs_sdk
@pytest.mark.slow
def test_the_application_refuses_in_one_line(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    done = run_app(tmp_path / "in", models, tmp_path / "out")
    assert done.returncode == 2
    assert "error[E-NO-DICOM]" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.copytree(models / CHAIN, tmp_path / CHAIN)
    (tmp_path / CHAIN / "models" / "model.pt").write_text("others")
    done = run_app(tmp_path / "in", tmp_path / CHAIN, tmp_path / "out")
    assert done.returncode == 2
    assert "error[E-WEIGHTS]" in done.stderr


@needs_sdk
@pytest.mark.slow
def test_the_packagers_context_is_complete(models: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    command = [str(SDK), str(DEPLOY / "build_context.py"), str(models), "lung-nodule-cad:test", str(context)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert check_context(context) == []
