# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: whether a result was made from this input by this chain. Needs no network and no torch."""

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad import __version__
from lungcad.bundle.registry import CHAIN, STAGE_KEYS, bundle_root, read_metadata, stage_bundle, stages_folder
from lungcad.dicom.lost import folder_state
from lungcad.reading.volume_file import is_volume_file, volume_suffix


def chain_fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 of all that a chain's results depend on: settings, configs and weights of its bundles, versions.

    The device is left out: a result of a GPU stands on a CPU too.

    Args:
        settings: values of the chain's keys, as for :class:`lungcad.batch.engine.Engine`.

    Raises:
        InputError: E-CONFIG or E-BUNDLE, there is no such bundle.
    """
    root = bundle_root(CHAIN)
    folder = settings.get("bundles_dir") or stages_folder(root)
    relevant = {key: value for key, value in settings.items() if key not in ("device", "bundles_dir")}
    parts: list[Any] = [__version__, read_metadata(root)["version"], relevant]
    for stage, key in STAGE_KEYS.items():
        bundle = stage_bundle(stage, settings[key], folder)
        if bundle is None:
            continue
        metadata = read_metadata(bundle)
        configs = [bundle / "configs" / name for name in ("inference.json", f"{stage}.json")]
        parts.append([metadata["name"], metadata["version"], metadata.get("weights_sha256")])
        parts.append([config.read_text(encoding="utf-8") for config in configs if config.is_file()])
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def input_fingerprint(chain: str, series_uid: str, path: Path) -> str:
    """SHA-256 of a chain's fingerprint and the state of an input: name, size and time of each of its files.

    Contents are not read: an archive has terabytes. A copy with other times therefore counts as another input.

    Args:
        chain: fingerprint of the chain.
        series_uid: name of the series.
        path: DICOM folder, searched with its sub-folders, or volume file, with the files of the same stem.
    """
    if is_volume_file(path):
        stem = path.name[: len(path.name) - len(volume_suffix(path))]
        parts = sorted(glob.glob(f"{glob.escape(str(path.with_name(stem)))}.*"))
        state = {name: value for part in parts for name, value in folder_state(part).items()}
    else:
        state = folder_state(path)
    base = path if path.is_dir() else path.parent
    files = sorted((os.path.relpath(name, base), *value) for name, value in state.items())
    text = json.dumps([chain, series_uid, files])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
