# SPDX-License-Identifier: Apache-2.0
"""Check the build context of a MAP: ``python check_context.py CONTEXT``. Needs neither the SDK nor Docker."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lungcad.bundle.manifest import MANIFEST, check_manifest
from lungcad.errors import InputError

REQUIRED_FILES = ("Dockerfile", "tools", "app.config", "map/app.json", "map/pkg.json", "pip/requirements.txt")
"""Files of a build context besides application and models."""


def check_context(context: Path) -> list[str]:
    """List the faults of a build context: in the files that Docker copies, the packages, the application."""
    missing = [f"missing: {name}" for name in REQUIRED_FILES if not (context / name).is_file()]
    return missing or [
        *_copies(context), *_application(context), *_models(context), *_requirements(context), *_leftovers(context),
    ]  # fmt: skip


def _copies(context: Path) -> list[str]:
    """Faults of the Dockerfile's COPY lines."""
    sources = re.findall(r"^COPY (?:--\S+ )*\./(\S+)", (context / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [
        *(f"Dockerfile does not copy {name}" for name in sorted({"app", "models", *REQUIRED_FILES[1:]} - set(sources))),
        *(f"Dockerfile copies {name}, which is not there" for name in sources if not (context / name).exists()),
    ]


def _application(context: Path) -> list[str]:
    """Faults of the application and its manifest."""
    manifest = json.loads((context / "map" / "app.json").read_text())
    dockerfile = (context / "Dockerfile").read_text()
    command = json.loads(manifest["command"])
    faults = []
    if command != ["python3", manifest["environment"]["HOLOSCAN_APPLICATION"]]:
        faults.append(f"app.json runs {command}")
    if f"COPY ./app {command[-1]}" not in dockerfile:
        faults.append(f"the application is not copied to {command[-1]}")
    if not (manifest["input"]["formats"] and manifest["output"]["formats"]):
        faults.append("app.json has no formats of input and output: their keys in app.yaml are not those that are read")
    for path in sorted((context / "app").glob("*.py")):
        try:
            compile(path.read_text(), path.name, "exec")
        except SyntaxError as error:
            faults.append(f"app/{path.name}: {error}")
    return faults if (context / "app" / "__main__.py").is_file() else [*faults, "missing: app/__main__.py"]


def _models(context: Path) -> list[str]:
    """Faults of the packed chain and of the package manifest."""
    manifest = json.loads((context / "map" / "pkg.json").read_text())
    names = sorted(path.name for path in (context / "models").iterdir())
    if sorted(manifest["models"]) != names or len(names) != 1:
        return [f"models: {names}, in pkg.json {list(manifest['models'])} (expected one packed chain)"]
    root = context / "models" / names[0]
    if not (root / MANIFEST).is_file():
        return [f"models/{root.name} is not packed: no {MANIFEST}"]
    try:
        check_manifest(root)
    except InputError as error:
        return [str(error)]
    return [] if manifest["resources"] else ["pkg.json has no resources"]


def _requirements(context: Path) -> list[str]:
    """Faults of the packages: unpinned or missing."""
    lines = (context / "pip" / "requirements.txt").read_text().splitlines()
    pins = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = {line.partition("==")[0] for line in pins}
    missing = {"monai-deploy-app-sdk", "holoscan-cu13", "monai", "torch", "pydicom", "highdicom"} - names
    return [
        *(f"not pinned: {line}" for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)),
        *(f"not asked for: {name}" for name in sorted(missing)),
    ]


def _leftovers(context: Path) -> list[str]:
    """Files that must not be in an image: data, environments, repositories."""
    leftovers = [path for path in context.rglob("*") if path.suffix == ".dcm" or path.name in (".venv", ".git")]
    return [f"does not belong there: {path.relative_to(context)}" for path in leftovers]


if __name__ == "__main__":
    problems = check_context(Path(sys.argv[1]))
    print("\n".join(problems) or f"{sys.argv[1]}: complete")
    sys.exit(1 if problems else 0)
