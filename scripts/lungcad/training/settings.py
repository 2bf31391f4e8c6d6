# SPDX-License-Identifier: Apache-2.0
"""Settings of a training: what its config says about it, so that a checkpoint is not continued with others."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lungcad.bundle.values import carries_code

NO_SETTINGS = ("run_dir", "epochs", "num_workers", "device", "precision", "bundle_root")
"""Keys that say where and how fast a training runs; the number of epochs has a check of its own."""


def training_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Plain values that a training's config uses, as text by id (``learning_rate``, ``network_def#magnify``).

    A key is used if ``run`` or ``initialize`` refers to it, directly or through other keys. Of inference.json, which
    lies under train.json, that is the grid, for example, but not the thresholds. Folders of cases are settings, too:
    other cases make another training, and other cases of the validation choose other weights. Expressions are left out.

    Args:
        config: top level of the config in use, with what the command line changed; empty without one.
    """
    used, todo = set[str](), ["run", "initialize"]
    while todo:
        key = todo.pop()
        if key in config and key not in used:
            used.add(key)
            todo += re.findall(r"@([A-Za-z]\w*)", json.dumps(config[key], default=str))
    values = (pair for key in sorted(used.difference(NO_SETTINGS)) for pair in _plain_values(key, config[key]))
    return {name: str(value) for name, value in values}


def changed_settings(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Ids of the settings that both know, with other values: a newer version may know more of them, or fewer."""
    return sorted(name for name in before.keys() & now.keys() if before[name] != now[name])


def _plain_values(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Values within a part of a config by id, without expressions, references and MONAI's own keys."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not key.startswith("_"):
                yield from _plain_values(f"{name}#{key}", part)
    elif not carries_code(value):
        yield name, value
