# SPDX-License-Identifier: Apache-2.0
"""Settings of a chain for a batch: the bundle's own, with what the command line changes, checked before any work."""

from collections.abc import Mapping
from typing import Any

from lungcad.bundle.launch import check_override_values
from lungcad.bundle.registry import CHAIN, bundle_root, read_config

KEYS = (
    "detector", "reducer", "characteriser", "measurer", "stage_overrides", "leniency", "operating_point",
    "overrides_of", "thresholds_of", "thresholds", "dicom_results", "device", "bundles_dir",
)  # fmt: skip
"""Keys of the chain's inference.json that a batch takes."""


def chain_settings(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Value of each of KEYS; the device is None where a bundle would choose it.

    Raises:
        InputError: E-CONFIG, an unknown key, or a value that is an expression or of another kind.
    """
    config = {key: value for key, value in read_config(bundle_root(CHAIN)).items() if key in KEYS}
    check_override_values(overrides, config)
    return {**config, "device": None, **overrides}
