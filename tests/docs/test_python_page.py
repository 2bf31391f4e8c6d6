# SPDX-License-Identifier: Apache-2.0
"""The page of examples runs, from its first line to its last, on a synthetic chest."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_cases import ROOT

PAGE = ROOT / "bundles" / "lung_nodule_cad" / "docs" / "python.md"


@pytest.mark.slow
def test_the_page_of_examples_runs(
    phantom_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(phantom_dir, tmp_path / "scans" / "chest")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    told = capsys.readouterr().out
    assert re.search(r"at or above 0\.\d+ \(balanced\)", told)
    assert "E-NO-DICOM" in told and "usable" in told and "my scan" in told
    assert (next((tmp_path / "out").iterdir()) / "nodules.sr.dcm").is_file()
    assert names["same"].hu.shape == names["volume"].hu.shape
