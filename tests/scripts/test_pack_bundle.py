# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from small_cases import small_bundles

import pack_bundle
from lungcad import InputError
from lungcad.bundle.manifest import MANIFEST, check_manifest
from lungcad.bundle.registry import describe

CHAIN, REDUCE = "lung_nodule_cad", "lung_nodule_fpr_dou2017"
ZIP = f"{CHAIN}_v{describe(CHAIN)['version']}.zip"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain of narrow networks, packed: the folder with pack and zip."""
    bundles, dist = small_bundles(tmp_path_factory.mktemp("bundles")), tmp_path_factory.mktemp("packed") / "dist"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCAD_BUNDLES", str(bundles))
        pack_bundle.main(CHAIN, str(dist))
    return dist


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    """The zip, unpacked in a folder that holds nothing else."""
    zipfile.ZipFile(packed / ZIP).extractall(tmp_path / "empty")
    return tmp_path / "empty" / CHAIN


def isolated(*words: str, cwd: Path) -> "subprocess.Popen[str]":
    """Python with the installed packages, but without what .pth files add: an editable lungcad cannot be imported."""
    installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LUNGCAD", "PYTHON"))}
    environment |= {"PYTHONPATH": os.pathsep.join(installed), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-S", *words], cwd=cwd, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def run_pack(root: Path, series: Path) -> "subprocess.Popen[str]":
    """``python -m monai.bundle run`` of a pack, in the folder that it was unpacked in."""
    return isolated(
        "-m", "monai.bundle", "run", "--config_file", f"{root.name}/configs/inference.json",
        "--bundle_root", root.name, "--dataset_dir", str(series), "--output_dir", "out",
        "--stage_overrides", "{'detect': {'max_candidates': 3}}", cwd=root.parent,
    )  # fmt: skip


def test_runs_where_nothing_of_the_repository_can_be_imported(unpacked: Path, phantom_dir: Path) -> None:
    without = isolated("-c", "import lungcad", cwd=unpacked.parent)
    assert "No module named 'lungcad'" in without.communicate()[1]
    done = run_pack(unpacked, phantom_dir)
    told, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    assert "report:" in told
    (result,) = (unpacked.parent / "out").glob("*/nodules.json")
    assert CHAIN in json.loads(result.read_text())["software"]["bundles"]
    check_manifest(unpacked)  # a run leaves the pack as it was


def test_an_altered_pack_ends_with_exit_code_2_before_it_reads_anything(unpacked: Path, tmp_path: Path) -> None:
    with (unpacked / "lungcad" / "geometry.py").open("ab") as stream:
        stream.write(b"\n")
    one = run_pack(unpacked, tmp_path / "no such scan")
    errors = one.communicate(timeout=300)[1]
    assert one.returncode == 2, errors
    assert errors.strip().splitlines()[-1].startswith("error[E-CONFIG] lungcad/geometry.py was altered")


@pytest.mark.parametrize(("name", "code"), [("models/model.pt", "E-WEIGHTS"), ("configs/inference.json", "E-CONFIG")])
def test_an_altered_file_of_a_stage_is_named(unpacked: Path, name: str, code: str) -> None:
    with (unpacked / "stages" / REDUCE / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(InputError, match=rf"{code}.*stages/{REDUCE}/{name} was altered"):
        check_manifest(unpacked)


def test_folder_and_zip_hold_the_same_and_pack_alike_again(packed: Path, unpacked: Path, tmp_path: Path) -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert files(unpacked) == files(packed / CHAIN)
    for path in unpacked.rglob("*"):
        os.utime(path, (0, 10**9))
    pack_bundle.write_zip(unpacked, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (packed / ZIP).read_bytes()


def test_a_pack_tells_how_to_run_it_and_what_to_install(packed: Path) -> None:
    root = packed / CHAIN
    readme = (root / "README.md").read_text()
    assert f"--config_file {CHAIN}/configs/inference.json" in readme
    assert "--candidates" not in readme
    assert "$" not in readme
    assert any(line.startswith("monai") for line in (root / "requirements.txt").read_text().splitlines())
    assert "torch==" in (root / "constraints.txt").read_text()


def test_the_checksums_to_publish_are_printed(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path / "bundles")))
    for _ in range(2):  # an earlier pack is replaced
        pack_bundle.main(REDUCE, str(tmp_path / "dist"))
    digest, name = capsys.readouterr().out.splitlines()[-1].split("  ")
    assert name == f"{REDUCE}/{MANIFEST}"
    assert digest == pack_bundle.sha256_of(tmp_path / "dist" / name)
    assert "--candidates" in (tmp_path / "dist" / REDUCE / "README.md").read_text()
    assert not (tmp_path / "dist" / REDUCE / "stages").exists()


def test_a_bundle_without_weights_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = small_bundles(tmp_path / "bundles")
    (bundles / REDUCE / "models" / "model.pt").unlink()
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(bundles))
    with pytest.raises(InputError, match="E-WEIGHTS"):
        pack_bundle.main(REDUCE, str(tmp_path / "dist"))
    assert not (tmp_path / "dist" / REDUCE).exists()
