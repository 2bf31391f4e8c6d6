# SPDX-License-Identifier: Apache-2.0
"""Settings of a chain that works on many scans, for archives and nodes: checked before any work, loaded, identified.

Checking and identifying need no network and no torch.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lungcad import __version__
from lungcad.bundle.launch import check_override_values, silence_optional_decoder
from lungcad.bundle.manifest import check_pack
from lungcad.bundle.registry import (
    CHAIN,
    STAGE_KEYS,
    bundle_root,
    read_config,
    read_metadata,
    stage_bundle,
    stages_folder,
)
from lungcad.bundle.values import decoded, switches

if TYPE_CHECKING:
    from lungcad.chain.chain import Chain

CHAIN_KEYS = (
    *STAGE_KEYS.values(), "stage_overrides", "operating_point", "overrides_of", "thresholds_of", "thresholds", "device",
    "bundles_dir",
)  # fmt: skip
"""Keys of the chain's inference.json that are arguments of :class:`lungcad.chain.chain.Chain`."""

READING_KEYS = ("leniency", "dicom_results")
"""Keys of the chain's inference.json that concern reading and writing."""


def chain_settings(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Value of each of CHAIN_KEYS and READING_KEYS; the device is None where a bundle would choose it.

    Args:
        overrides: values of some keys, from a command line.

    Raises:
        InputError: E-CONFIG, an unknown key, or a value that is an expression or of another kind; E-BUNDLE.
    """
    config = read_config(bundle_root(CHAIN))
    known = {key: config[key] for key in (*CHAIN_KEYS, *READING_KEYS)}
    check_override_values(overrides, known)
    given = {key: decoded(value) for key, value in overrides.items()} | switches(overrides, known)
    return known | {"device": None} | given


def load_chain(settings: Mapping[str, Any]) -> "Chain":
    """Chain with its networks loaded.

    Raises:
        InputError: E-CONFIG, E-BUNDLE or E-WEIGHTS, the chain cannot be loaded.
    """
    from lungcad.chain.chain import Chain

    silence_optional_decoder()
    root = bundle_root(CHAIN)
    check_pack([root])
    chain = Chain(root=root, **{key: settings[key] for key in CHAIN_KEYS})
    _ = chain.thresholds  # loads the networks
    return chain


def chain_fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 of all that a chain's results depend on: settings, configs and weights of its bundles, versions.

    The device is left out: a result of a GPU stands on a CPU too.

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
