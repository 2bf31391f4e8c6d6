# SPDX-License-Identifier: Apache-2.0
"""Check a MAP's build context: ``python check_context.py CONTEXT``. Needs neither the SDK nor Docker."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lungcad.bundle.manifest import MANIFEST, check_manifest
from lungcad.errors import InputError

NEEDED = ("Dockerfile", "tools", "app.config", "map/app.json", "map/pkg.json", "pip/requirements.txt")
"""Files of a build context besides application and models."""


def check_context(context: Path) -> list[str]:
    """What is wrong with a build context, a line each: what Docker copies, what it installs, what the image runs."""
    wrong = [f"missing: {name}" for name in NEEDED if not (context / name).is_file()]
    return wrong or [
        *_copies(context), *_application(context), *_models(context), *_requirements(context), *_leftovers(context),
    ]  # fmt: skip


def _copies(context: Path) -> list[str]:
    sources = re.findall(r"^COPY (?:--\S+ )*\./(\S+)", (context / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [
        *(f"Dockerfile does not copy {name}" for name in sorted({"app", "models", *NEEDED[1:]} - set(sources))),
        *(f"Dockerfile copies {name}, which is not there" for name in sources if not (context / name).exists()),
    ]


def _application(context: Path) -> list[str]:
    manifest = json.loads((context / "map" / "app.json").read_text())
    dockerfile = (context / "Dockerfile").read_text()
    command = json.loads(manifest["command"])
    wrong = []
    if command != ["python3", manifest["environment"]["HOLOSCAN_APPLICATION"]]:
        wrong.append(f"app.json runs {command}")
    if f"COPY ./app {command[-1]}" not in dockerfile:
        wrong.append(f"the application is not copied to {command[-1]}")
    if not (manifest["input"]["formats"] and manifest["output"]["formats"]):
        wrong.append("app.json has no formats of input and output: their keys in app.yaml are not those that are read")
    for path in sorted((context / "app").glob("*.py")):
        try:
            compile(path.read_text(), path.name, "exec")
        except SyntaxError as error:
            wrong.append(f"app/{path.name}: {error}")
    return wrong if (context / "app" / "__main__.py").is_file() else [*wrong, "missing: app/__main__.py"]


def _models(context: Path) -> list[str]:
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
    return [] if manifest["resources"] else ["pkg.json tells no resources"]


def _requirements(context: Path) -> list[str]:
    lines = (context / "pip" / "requirements.txt").read_text().splitlines()
    asked = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = {line.partition("==")[0] for line in asked}
    missing = {"monai-deploy-app-sdk", "holoscan-cu13", "monai", "torch", "pydicom", "highdicom"} - names
    return [
        *(f"not pinned: {line}" for line in asked if not re.fullmatch(r"[\w.-]+==[\w.]+", line)),
        *(f"not asked for: {name}" for name in sorted(missing)),
    ]


def _leftovers(context: Path) -> list[str]:
    """Nobody's data, no environment: what has no place in an image."""
    odd = [path for path in context.rglob("*") if path.suffix == ".dcm" or path.name in (".venv", ".git")]
    return [f"does not belong there: {path.relative_to(context)}" for path in odd]


if __name__ == "__main__":
    problems = check_context(Path(sys.argv[1]))
    print("\n".join(problems) or f"{sys.argv[1]}: complete")
    sys.exit(1 if problems else 0)
