# SPDX-License-Identifier: Apache-2.0
"""Checks of files, licences and the shape of configs."""

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
STAGE_FILES = ("configs/train.json", "configs/evaluate.json", "models/model.pt")
"""What every bundle has, and what a bundle with a network of its own has besides."""

SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "precision", "debug", "network_def",
    "network", "preprocessing", "dataset", "inferer", "decode", "postprocessing", "evaluator", "initialize", "run",
)  # fmt: skip
CHAIN_SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "debug", "detector", "reducer",
    "characteriser", "network_def", "dataset", "inferer", "chain", "evaluator", "initialize", "run",
)  # fmt: skip
"""Top-level keys of inference.json, in this order; a bundle's own knobs stand before ``network_def``."""


def check_files(bundle: Bundle) -> str:
    """All files of the layout are there."""
    wanted = FILES + (() if bundle.is_chain else STAGE_FILES)
    missing = [name for name in wanted if not (bundle.root / name).is_file()]
    assert not missing, f"missing: {', '.join(missing)}"
    for listing in bundle.root.glob("large_files.*"):
        entries = ConfigParser.load_config_file(listing)["large_files"]
        absent = [one["path"] for one in entries if not (bundle.root / one["path"]).is_file()]
        assert not absent, f"not downloaded: {', '.join(absent)}"
    return f"{len(wanted)} files"


def check_license(bundle: Bundle) -> str:
    """LICENSE is the Apache License 2.0 in full; docs/data_license.txt tells of the data."""
    text = (bundle.root / "LICENSE").read_text(encoding="utf-8")
    whole = all(part in text for part in ("Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"))
    assert whole, "LICENSE is not the text of the Apache License 2.0"
    assert (bundle.root / "docs" / "data_license.txt").read_text(encoding="utf-8").strip(), "data_license.txt is empty"
    return "Apache-2.0"


def _walk(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below a config with its id."""
    yield path, config
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in entries:
        yield from _walk(value, f"{path}#{key}" if path else str(key))


def check_skeleton(bundle: Bundle) -> str:
    """Same keys in the same order in every bundle; our networks, losses, inferers are described; no machine's paths."""
    config = json.loads(bundle.config("inference").read_text())
    skeleton = CHAIN_SKELETON if bundle.is_chain else SKELETON
    shared = [key for key in config if key in skeleton]
    assert shared == list(skeleton), f"keys {', '.join(shared)} (expected {', '.join(skeleton)})"
    late = [key for key in list(config)[list(config).index("network_def") :] if key not in skeleton]
    assert not late, f"own keys behind network_def: {', '.join(late)}"
    assert (config["initialize"], config["run"][0]) == ([], "$check_command_line()"), (
        "run does not start with $check_command_line()"
    )
    for path in sorted((bundle.root / "configs").glob("*.json")):
        for where, value in _walk(json.loads(path.read_text())):
            target = value.get("_target_", "") if isinstance(value, dict) else ""
            ours = re.match(r"lungcad\.papers\.(\w+\.)?(network|loss|inference|inferers)\.", target)
            described = not ours or target.endswith("d") or "_desc_" in value  # a transform's name ends with d
            assert described, f"{path.name}: {where} ({target}) has no _desc_"
            machine = isinstance(value, str) and re.search(r"^(/|~|[A-Z]:\\)|/(home|root|tmp|Users|mnt)/", value)
            assert not machine, f"{path.name}: {where} is a path of one machine: {value}"
    return f"{len(config)} keys"
