# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path

import pytest

from lungcad import InputError
from lungcad.bundle.manifest import MANIFEST, check_manifest, check_pack, sha256_of, write_manifest

FILES = {
    "configs/inference.json": "{}", "models/model.pt": "weights", "lungcad/__init__.py": "", "lungcad/net.py": "x = 1",
    "stages/fpr/models/model.pt": "more weights", "docs/README.md": "words",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    write_manifest(tmp_path / "pack")
    return tmp_path / "pack"


def refused(root: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        check_manifest(root)
    return caught.value


def test_a_pack_as_it_was_packed_passes(root: Path) -> None:
    check_manifest(root)
    (root / "eval").mkdir()
    (root / "eval" / "nodules.json").write_text("results may lie in it")
    (root / "lungcad" / "__pycache__").mkdir()
    for name in ("net.cpython-311.pyc", "net.cpython-311.pyc.139745"):  # the latter while it is being written
        (root / "lungcad" / "__pycache__" / name).write_text("as may what Python compiles")
    check_manifest(root)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_or_missing_file_is_named_with_its_code(root: Path, name: str) -> None:
    code = "E-WEIGHTS" if name.endswith(".pt") else "E-CONFIG"
    (root / name).write_text(FILES[name] + " ")
    assert refused(root).code == code
    assert f"{name} was altered" in str(refused(root))
    (root / name).unlink()
    assert refused(root).code == code
    assert f"{name} is missing" in str(refused(root))


@pytest.mark.parametrize(("name", "code"), [
    ("lungcad/net/__init__.py", "E-CONFIG"), ("configs/characterise.json", "E-CONFIG"),
    ("stages/fpr/configs/inference.json", "E-CONFIG"), ("models/model_wide.pt", "E-WEIGHTS"),
    ("highdicom.py", "E-CONFIG"), ("scipy/__init__.py", "E-CONFIG"), ("torch.so", "E-CONFIG"),
    ("lungcad/__pycache__/net.py", "E-CONFIG"), ("stages/__pycache__/configs/inference.json", "E-CONFIG"),
])  # fmt: skip
def test_what_was_added_to_what_is_run_is_refused(root: Path, name: str, code: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("")
    assert refused(root).code == code
    assert f"{name} was added" in str(refused(root))


@pytest.mark.parametrize(("link", "told"), [("stages/fpr2", "stages/fpr2"), ("scipy", "scipy/__init__.py")])
def test_a_link_to_a_folder_elsewhere_is_refused(root: Path, link: str, told: str) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "__init__.py").write_text("")
    (root / link).symlink_to(elsewhere, target_is_directory=True)
    assert refused(root).code == "E-CONFIG"
    assert f"{told} was added" in str(refused(root))


@pytest.mark.parametrize("text", [b"", b"no list\n"])
def test_a_broken_manifest_is_refused(root: Path, text: bytes) -> None:
    (root / MANIFEST).write_bytes(text)
    assert refused(root).code == "E-CONFIG"


@pytest.mark.parametrize("at", [0, 66])
def test_a_byte_of_the_manifest_that_is_no_text_is_refused(root: Path, at: int) -> None:
    text = bytearray((root / MANIFEST).read_bytes())
    text[at] = 0xFF  # of the first checksum, of the first name
    (root / MANIFEST).write_bytes(text)
    assert refused(root).code == "E-CONFIG"


@pytest.mark.parametrize("up", ["..", "lungcad/../.."])
def test_a_manifest_names_nothing_outside_of_the_pack(root: Path, up: str) -> None:
    other = root.parent / "other.txt"
    other.write_text("not ours")
    for name in (f"{up}/other.txt", str(other)):
        (root / MANIFEST).write_text(f"{sha256_of(other)}  {name}\n")
        assert f"{MANIFEST} is no list" in str(refused(root))


def test_a_folder_without_a_manifest_is_no_pack(root: Path) -> None:
    (root / MANIFEST).unlink()
    (root / "lungcad" / "net.py").write_text("x = 2")
    check_manifest(root)


def test_a_pack_is_not_run_by_another_lungcad(root: Path) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*another lungcad"):
        check_pack([root])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum of coreutils")
def test_the_manifest_is_what_sha256sum_checks(root: Path) -> None:
    command = ["sha256sum", "--check", "--strict", MANIFEST]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == 0
    (root / "models" / "model.pt").write_text("others")
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == 1
