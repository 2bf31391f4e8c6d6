# SPDX-License-Identifier: Apache-2.0
"""Checks of files, licences and the layout of configs."""

import json
import re
from collections.abc import Iterator
from typing import Any

from monai.bundle import ConfigParser

from lungcad.checks.bundle import Bundle

FILES = (
    "LICENSE", "configs/metadata.json", "configs/inference.json", "configs/logging.conf", "docs/README.md",
    "docs/data_license.txt",
)  # fmt: skip
"""Files of every bundle."""

STAGE_FILES = ("configs/train.json", "configs/evaluate.json", "models/model.pt")
"""Further files of a bundle with a network of its own."""

SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "precision", "debug", "network_def",
    "network", "preprocessing", "dataset", "inferer", "decode", "postprocessing", "evaluator", "initialize", "run",
    "finalize",
)  # fmt: skip
"""Top-level keys of inference.json, in this order; a bundle's own parameters stand before ``network_def``."""

CHAIN_SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "debug", "detector", "reducer",
    "characteriser", "measurer", "network_def", "dataset", "inferer", "chain", "evaluator", "initialize", "run",
    "finalize",
)  # fmt: skip
"""Top-level keys of a chain's inference.json, in this order."""


def check_files(bundle: Bundle) -> str:
    """Check that all files of the layout are present."""
    expected = FILES + (() if bundle.is_chain else STAGE_FILES)
    missing = [name for name in expected if not (bundle.root / name).is_file()]
    assert not missing, f"missing: {', '.join(missing)}"
    for listing in bundle.root.glob("large_files.*"):
        entries = ConfigParser.load_config_file(listing)["large_files"]
        absent = [entry["path"] for entry in entries if not (bundle.root / entry["path"]).is_file()]
        assert not absent, f"not downloaded: {', '.join(absent)}"
    return f"{len(expected)} files"


def check_license(bundle: Bundle) -> str:
    """Check that LICENSE is the Apache License 2.0 in full and docs/data_license.txt is not empty."""
    text = (bundle.root / "LICENSE").read_text(encoding="utf-8")
    full = all(part in text for part in ("Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"))
    assert full, "LICENSE is not the text of the Apache License 2.0"
    assert (bundle.root / "docs" / "data_license.txt").read_text(encoding="utf-8").strip(), "data_license.txt is empty"
    return "Apache-2.0"


def _walk(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Id and value of everything in a config."""
    yield path, config
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in entries:
        yield from _walk(value, f"{path}#{key}" if path else str(key))


def check_skeleton(bundle: Bundle) -> str:
    """Check the order of top-level keys, the descriptions of our components, and that no path is one machine's."""
    config = json.loads(bundle.config("inference").read_text())
    skeleton = CHAIN_SKELETON if bundle.is_chain else SKELETON
    shared = [key for key in config if key in skeleton]
    assert shared == list(skeleton), f"keys {', '.join(shared)} (expected {', '.join(skeleton)})"
    late = [key for key in list(config)[list(config).index("network_def") :] if key not in skeleton]
    assert not late, f"own keys behind network_def: {', '.join(late)}"
    assert (config["initialize"], config["run"][0]) == ([], "$check_command_line()"), (
        "run does not start with $check_command_line()"
    )
    assert config["finalize"] == ["$check_command_line(finished=True)"], "finalize does not check the command line"
    for path in sorted((bundle.root / "configs").glob("*.json")):
        for key, value in _walk(json.loads(path.read_text())):
            target = value.get("_target_", "") if isinstance(value, dict) else ""
            component = re.match(r"lungcad\.papers\.(\w+\.)?(network|loss|inference|inferers)\.", target)
            described = not component or target.endswith("d") or "_desc_" in value  # a transform's name ends with d
            assert described, f"{path.name}: {key} ({target}) has no _desc_"
            machine = isinstance(value, str) and re.search(r"^(/|~|[A-Z]:\\)|/(home|root|tmp|Users|mnt)/", value)
            assert not machine, f"{path.name}: {key} is a path of one machine: {value}"
    return f"{len(config)} keys"
