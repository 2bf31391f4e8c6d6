# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: whether a result was made from this input by this chain. Reads no pixels."""

import glob
import hashlib
import json
import os
from pathlib import Path

from lungcad.dicom.lost import folder_state
from lungcad.reading.volume_file import is_volume_file, volume_suffix


def input_fingerprint(chain: str, series_uid: str, path: Path) -> str:
    """SHA-256 of a chain's fingerprint and the state of an input: name, size and time of each of its files.

    Contents are not read: an archive has terabytes. A copy with other times therefore counts as another input.

    Args:
        chain: fingerprint of the chain, of :func:`lungcad.chain.settings.chain_fingerprint`.
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
