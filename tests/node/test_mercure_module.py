# SPDX-License-Identifier: Apache-2.0
"""The module for mercure: folder in, folder out, with settings from task.json."""

import importlib.util
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts" / "deploy" / "mercure.py"


@pytest.fixture
def module() -> Any:
    spec = importlib.util.spec_from_file_location("mercure_module", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_report_and_findings_come_out_flat(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    (source / "task.json").write_text(json.dumps({"process": {"settings": {"operating_point": "sensitive"}}}))
    asked: list[str] = []

    def run(command: list[str], check: bool) -> Any:
        asked.extend(command)
        result = Path(command[3]) / "1.2.3"
        result.mkdir()
        for name in ("nodules.sr.dcm", "nodules.json", "report.html"):
            (result / name).write_text(name)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    assert module.main(source, target) == 0
    assert asked[:3] == ["lungcad", "run", str(source)] and asked[4:] == [
        "--choose", "best", "--operating_point", "sensitive",
    ]  # fmt: skip
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "nodules.sr.dcm": "nodules.sr.dcm", "result.json": "nodules.json",
    }  # fmt: skip


def test_a_refusal_is_mercures_error(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2))
    assert module.main(tmp_path, tmp_path / "out") == 2
