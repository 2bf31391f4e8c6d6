# SPDX-License-Identifier: Apache-2.0
"""Entry of the module for mercure: the images of a case in MERCURE_IN_DIR, its report out in MERCURE_OUT_DIR.

mercure starts the container for each case, under a user id of its own. Its settings (``process``, ``settings`` in
task.json) may hold keys of the chain's configs/inference.json, such as ``{"operating_point": "sensitive"}``. mercure
dispatches the files of the output folder that end with .dcm; a failure (exit code 2 for a case that cannot be used)
moves the case to its error folder.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def settings_of(folder: Path) -> dict[str, object]:
    """Settings of the module in mercure's task.json; empty without any."""
    try:
        task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        return dict((task.get("process") or {}).get("settings") or {})
    except FileNotFoundError:
        return {}


def main(source: Path, target: Path) -> int:
    """Analyse the best series of the case and put report, segmentation and result.json into ``target``.

    Returns:
        exit code of ``lungcad run``.
    """
    options = [part for key, value in settings_of(source).items() for part in (f"--{key}", str(value))]
    with tempfile.TemporaryDirectory() as work:
        command = ["lungcad", "run", str(source), work, "--choose", "best", *options]
        if code := subprocess.run(command, check=False).returncode:
            return code
        (result,) = (path for path in Path(work).iterdir() if path.is_dir())
        for file in sorted(result.glob("*.dcm")):
            shutil.copy(file, target / file.name)
        shutil.copy(result / "nodules.json", target / "result.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(os.environ["MERCURE_IN_DIR"]), Path(os.environ["MERCURE_OUT_DIR"])))
