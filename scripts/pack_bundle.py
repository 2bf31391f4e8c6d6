# SPDX-License-Identifier: Apache-2.0
"""Pack a bundle that runs without this repository: ``python scripts/pack_bundle.py BUNDLE [--output_dir dist]``.

The pack is a folder and a zip of it: the bundle as it is, this package as ``lungcad`` beside its configs, for a chain
the bundles for its stages, the requirements, and a manifest that is checked on every run.
"""

import json
import shutil
import tomllib
import zipfile
from pathlib import Path
from string import Template

import lungcad
from lungcad.atomic import replaced_folder, whole_file
from lungcad.bundle.manifest import MANIFEST, sha256_of, write_manifest
from lungcad.bundle.registry import bundle_root, config_keys, describe, list_bundles, stage_bundle
from lungcad.cli import run_script
from lungcad.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]

PARTS = ("configs", "docs", "models", "LICENSE")
"""Files and folders of a bundle that are packed."""

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Date of all files in the zip, so that its bytes depend on nothing but the files."""

README = Template("""\
# $name $version, packed

$task. **Research use only. Not a medical device.**

## Run

With Python 3.11 or newer, in an environment of its own:

    python -m venv .venv && . .venv/bin/activate
    pip install -r $name/requirements.txt -c $name/constraints.txt
    python -m monai.bundle run --config_file $name/configs/inference.json --bundle_root $name \\
        --dataset_dir <DICOM folder, .mhd, .nii.gz or .nrrd> --output_dir out$more

`pip` may fetch PyTorch with gigabytes of CUDA; for a CPU build give it PyTorch's own index (pytorch.org, Get started).
All options and outputs: `docs/README.md`. Licences: `LICENSE`, `docs/data_license.txt`$stages.

## What is checked

Every run first compares all files with `$manifest` and ends with exit code 2, `error[E-WEIGHTS]` or
`error[E-CONFIG]`, where one was altered or removed, or one was added where configs, weights or code are looked for.
That finds broken copies and edits, not an attacker, who would alter the list or the code that reads it. Configs are
code: run only what you trust. To know that this is what was published, compare the list's own checksum with the
published one, then the files with the list, before the first run:

    cd $name && sha256sum $manifest && sha256sum --check --quiet $manifest
""")


def pack(name: str, target: Path) -> None:
    """Fill the empty folder ``target`` with a bundle and all files that it needs to run.

    Raises:
        InputError: E-BUNDLE, no such bundle; E-WEIGHTS, a bundle has no models/model.pt.
    """
    root, meta = bundle_root(name), describe(name)
    _copy_bundle(root, target)
    if meta["stage"] == "chain":
        for bundle in list_bundles():
            if bundle["weights"] is not None:
                _copy_bundle(Path(bundle["root"]), target / "stages" / bundle["name"])
        (target / "models").mkdir()
        shutil.copyfile(_first_network(root), target / "models" / "model.pt")
    package = Path(lungcad.__file__).parent
    shutil.copytree(package, target / "lungcad", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    _write(target / "requirements.txt", "".join(f"{line}\n" for line in project["dependencies"]))
    shutil.copyfile(REPOSITORY / "scripts" / "constraints.txt", target / "constraints.txt")
    _write(target / "README.md", README.substitute(
        name=name, version=meta["version"], task=meta["task"], manifest=MANIFEST,
        more=" \\\n        --candidates <nodules.json or .csv>" if "candidates" in config_keys(root) else "",
        stages=", and those in `stages/`" if meta["stage"] == "chain" else "",
    ))  # fmt: skip
    write_manifest(target)


def write_zip(folder: Path, path: Path) -> None:
    """Write a folder's files as a zip that unpacks to a folder of that name; same files, same bytes.

    Files are stored uncompressed: compression would save a tenth, and its bytes depend on the installed zlib.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix(), FIRST_DAY)
                entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, a file that all may read
                archive.writestr(entry, file.read_bytes())


def _copy_bundle(root: Path, target: Path) -> None:
    """Copy the parts of a bundle; raises InputError E-WEIGHTS if it lacks weights."""
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    for part in PARTS:
        if (root / part).is_dir():
            shutil.copytree(root / part, target / part, ignore=hidden)
        elif (root / part).is_file():
            shutil.copyfile(root / part, target / part)
    is_chain = describe(root.name, root.parent)["stage"] == "chain"
    if not is_chain and not (target / "models" / "model.pt").is_file():
        raise InputError("E-WEIGHTS", f"{root.name} has no models/model.pt to pack.", "Train it, or fetch its weights.")


def _first_network(chain: Path) -> Path:
    """Path of the weights of a chain's ``network_def``, its first stage, for tools that look for models/model.pt."""
    config = json.loads((chain / "configs" / "inference.json").read_text(encoding="utf-8"))
    detector = stage_bundle("detect", config["detector"], chain.parent)
    assert detector is not None, "a chain has a detector"
    return detector / "models" / "model.pt"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def main(bundle: str, output_dir: str = "dist") -> None:
    """Write OUTPUT_DIR/<bundle>/ and OUTPUT_DIR/<bundle>_v<version>.zip, and print the checksums to publish.

    Args:
        bundle: name from ``lungcad list``.
        output_dir: folder, created if needed; an earlier pack in it is replaced.
    """
    target = Path(output_dir) / bundle
    with replaced_folder(target, mark=MANIFEST) as folder:
        pack(bundle, folder)
    archive = Path(output_dir) / f"{bundle}_v{describe(bundle)['version']}.zip"
    with whole_file(archive) as part:
        write_zip(target, part)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB\nsha256, to publish where others can compare:")
    for path in (archive, target / MANIFEST):
        print(f"{sha256_of(path)}  {path.relative_to(output_dir)}")


if __name__ == "__main__":
    run_script(main)
