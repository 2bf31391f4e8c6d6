# SPDX-License-Identifier: Apache-2.0
"""The check that a bundle runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from lungcad.bundle_checks.bundle import Bundle, SkipCheck


def check_inference(bundle: Bundle) -> str:
    """``python -m monai.bundle run`` from another folder on a small series ends with exit code 0 and results."""
    if bundle.series is None:
        raise SkipCheck("left out")
    output = bundle.work / "out" / bundle.root.name
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle.config("inference")),
        "--bundle_root", str(bundle.root), "--dataset_dir", str(bundle.series), "--output_dir", str(output),
    ]  # fmt: skip
    if bundle.meta["stage"] not in ("chain", "detect"):
        command += ["--candidates", str(bundle.candidates)]
    package = str(Path(__file__).resolve().parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(command, cwd=bundle.work, env=env, capture_output=True, text=True, timeout=600)
    told = (done.stderr or done.stdout).strip().splitlines()
    assert done.returncode == 0, f"exit code {done.returncode}: {told[-1] if told else 'silent'}"
    found = list(output.glob("*/nodules.json"))
    assert found, "no nodules.json"
    return f"{len(json.loads(found[0].read_text())['findings'])} findings"
