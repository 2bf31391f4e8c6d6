# SPDX-License-Identifier: Apache-2.0
"""Help page of ``lungcad run``: its arguments, and the keys of a bundle with the texts of the bundle's docs."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from lungcad.bundle.registry import bundle_root, read_config
from lungcad.bundle.values import PLUMBING

WIDTH = 100
ARGUMENTS = {
    "IN": "DICOM folder, file or DICOMDIR, or a volume file in HU: .mhd, .mha, .nii, .nii.gz, .hdr, .nrrd, .nhdr",
    "OUT": "gets a folder named after the series with nodules.json, nodules.csv, report.html, run.json and, of a DICOM "
    "series, nodules.sr.dcm and nodules.seg.dcm",
    "--bundle NAME": "another bundle of `lungcad list` than the chain lung_nodule_cad; `lungcad run --help --bundle "
    "NAME` shows its keys",
    "--choose best": "takes the most suitable of several series and says why",
    "--debug": "show tracebacks",
}
OBJECTS = ("network_def", "dataset", "inferer", "chain", "evaluator", "preprocessing", "postprocessing", "network")
"""Keys that build objects; a config file can change them, the command line cannot."""


def run_help(bundle: str) -> str:
    """Text of the help page for one bundle.

    Args:
        bundle: name of a bundle, from ``lungcad list``.

    Raises:
        InputError: E-BUNDLE (there is no such bundle).
    """
    root = bundle_root(bundle)
    keys, words = shown_keys(read_config(root)), described_keys(root)
    lines = ["usage: lungcad run IN OUT [--bundle NAME] [--KEY VALUE ...]", ""]
    lines += [_entry(name, text) for name, text in ARGUMENTS.items()]
    lines += ["", f"keys of {bundle}, with their values:"]
    lines += [_entry(f"--{key}", f"{words.get(key, '')} {value}".strip()) for key, value in keys]
    return "\n".join([*lines, "", "Research use only. Not a medical device."])


def shown_keys(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Keys of a config that a user may change, each with its default in brackets (empty for an expression)."""
    hidden = {*PLUMBING, *OBJECTS, "bundle_root", "dataset_dir", "output_dir", "debug"}
    return [
        (key, "" if str(value).startswith("$") else f"[{value if isinstance(value, str) else json.dumps(value)}]")
        for key, value in config.items()
        if key not in hidden and not (isinstance(value, dict) and "_target_" in value)
    ]


def described_keys(root: Path) -> dict[str, str]:
    """Meaning of each key, from the table in the bundle's docs/README.md; empty where there is no table."""
    docs = root / "docs" / "README.md"
    text = docs.read_text(encoding="utf-8") if docs.is_file() else ""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, flags=re.MULTILINE)
    return {key: re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", words).replace("`", "") for key, words in rows}


def _entry(name: str, text: str) -> str:
    """Entry of the page: a name with its text, wrapped in a second column."""
    column = " " * 22
    filled = textwrap.fill(text, WIDTH, initial_indent=column, subsequent_indent=column, break_long_words=False)
    return f"  {name:<19} {filled.lstrip()}" if len(name) < 20 else f"  {name}\n{filled}"
