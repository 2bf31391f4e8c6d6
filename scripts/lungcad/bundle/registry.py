# SPDX-License-Identifier: Apache-2.0
"""Registry of the bundles, made from their metadata.json alone; never imports torch."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad.errors import InputError

CHAIN = "lung_nodule_cad"
"""Name of the chain's own bundle."""

STAGE_KEYS = {"detect": "detector", "reduce": "reducer", "characterise": "characteriser", "measure": "measurer"}
"""Key of the chain's config that names the bundle, by stage, in the order in which the stages work."""

_CHECKOUT_BUNDLES = Path(__file__).resolve().parents[3] / "bundles"


def bundles_folder(folder: str | Path | None = None) -> Path:
    """Folder that holds the bundles.

    Args:
        folder: path; None for the variable LUNGCAD_BUNDLES or, where that is unset, ``bundles`` of the checkout.

    Raises:
        InputError: E-BUNDLE, there is no such folder.
    """
    found = Path(folder or os.environ.get("LUNGCAD_BUNDLES") or _CHECKOUT_BUNDLES)
    if not found.is_dir():
        raise InputError(
            "E-BUNDLE", f"no folder of bundles: {found}.",
            "Set LUNGCAD_BUNDLES to the folder bundles/ of a checkout.",
        )  # fmt: skip
    return found


def list_bundles(folder: str | Path | None = None) -> list[dict[str, Any]]:
    """List all bundles, sorted by name.

    Args:
        folder: see :func:`bundles_folder`.

    Returns:
        For each bundle ``name``, ``version``, ``task``, ``root`` and ``weights``: whether its weights are present, None
        for a chain, which has none.

    Raises:
        InputError: E-BUNDLE, there is no folder of bundles or a metadata.json is no JSON.
    """
    return [
        {
            "name": root.name,
            "version": metadata.get("version"),
            "task": metadata.get("task"),
            "root": str(root),
            "weights": None if metadata.get("stage") == "chain" else (root / "models" / "model.pt").is_file(),
        }
        for root in _roots(folder)
        for metadata in [_metadata(root)]
    ]


def bundle_root(name: str, folder: str | Path | None = None) -> Path:
    """Folder of a bundle.

    Raises:
        InputError: E-BUNDLE, there is no such bundle; names the nearest one.
    """
    roots = {root.name: root for root in _roots(folder)}
    if name in roots:
        return roots[name]
    near = difflib.get_close_matches(name, roots, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(roots) or 'none'}."
    raise InputError("E-BUNDLE", f"unknown bundle: {name}.", hint)


def stage_bundle(stage: str, name: str | None, folder: str | Path | None = None) -> Path | None:
    """Folder of the bundle chosen for a stage of the chain; None where the stage is left out.

    A bundle's metadata names its ``stage`` and, if it can take others too, all of its ``stages``.

    Args:
        stage: ``detect``, ``reduce``, ``characterise`` or ``measure``.
        name: name of the bundle, in full or its last part (``dou2017``); None or ``none`` leaves the stage out.
        folder: see :func:`bundles_folder`.

    Raises:
        InputError: E-CONFIG, no bundle of that name for the stage; lists the names of those there are. E-BUNDLE.
    """
    if name is None or str(name).lower() == "none":
        return None
    suitable = {root.name: root for root in _roots(folder) if stage in stages_of(_metadata(root))}
    by_short_name = {_short(root.name): root for root in suitable.values()}
    found = suitable.get(name) or by_short_name.get(name)
    if found is None:
        expected = ", ".join([*sorted(by_short_name), *(["none"] if stage != "detect" else [])])
        raise InputError("E-CONFIG", f"no bundle {name} for the stage {stage} (expected {expected}).",
                         "See `lungcad list`.")  # fmt: skip
    return found


def pair_name(detector: str | None, reducer: str | None) -> str:
    """Key of a detector with a reducer in a chain's config, "3dag dou2017", from their full or short names."""
    return f"{_short(detector)} {_short(reducer)}"


def stages_folder(chain: str | Path) -> str:
    """Folder with the bundles of a chain's stages: ``stages`` inside a packed chain, else the chain's parent."""
    packed = Path(chain) / "stages"
    return str(packed if packed.is_dir() else Path(chain) / "..")


def stages_of(metadata: Mapping[str, Any]) -> list[str]:
    """Stages that a bundle can take in a chain, by its metadata; first the one of its plain inference.json."""
    first = metadata.get("stage")
    return [first, *(other for other in metadata.get("stages", ()) if other != first)]


def read_metadata(root: str | Path) -> dict[str, Any]:
    """Metadata.json of the bundle in a folder, with its ``name``; raises InputError E-BUNDLE if it is no JSON."""
    root = Path(root).resolve()
    return {"name": root.name} | _metadata(root)


def describe(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Metadata.json of a bundle, with its ``name``; raises InputError as :func:`bundle_root`."""
    return read_metadata(bundle_root(name, folder))


def read_config(root: Path) -> dict[str, Any]:
    """Return a bundle's inference.json; InputError E-BUNDLE if it is no JSON."""
    return _json(root / "configs" / "inference.json")


def config_keys(root: Path) -> list[str]:
    """Top-level keys of a bundle's inference.json."""
    return list(read_config(root))


def _short(name: str | None) -> str:
    return str(name).rpartition("_")[2]


def _roots(folder: str | Path | None) -> list[Path]:
    return sorted(path.parents[1] for path in bundles_folder(folder).glob("*/configs/metadata.json"))


def _metadata(root: Path) -> dict[str, Any]:
    return _json(root / "configs" / "metadata.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        what = f"{path.parents[1].name}/configs/{path.name}: {error}."
        raise InputError("E-BUNDLE", what, "Restore the file from the repository.") from error
    return document
