# SPDX-License-Identifier: Apache-2.0
"""Which bundles there are and what they say about themselves, from their metadata.json alone; never imports torch."""

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad.errors import InputError

_CHECKOUT_BUNDLES = Path(__file__).resolve().parents[3] / "bundles"


def bundles_folder(folder: str | Path | None = None) -> Path:
    """Find the folder of bundles: as given, or the variable LUNGCAD_BUNDLES, or ``bundles`` of the checkout.

    Raises:
        InputError: E-BUNDLE, where there is no such folder.
    """
    found = Path(folder or os.environ.get("LUNGCAD_BUNDLES") or _CHECKOUT_BUNDLES)
    if not found.is_dir():
        raise InputError(
            "E-BUNDLE", f"no folder of bundles: {found}.",
            "Set LUNGCAD_BUNDLES to the folder bundles/ of a checkout.",
        )  # fmt: skip
    return found


def list_bundles(folder: str | Path | None = None) -> list[dict[str, Any]]:
    """Return name, version, task, root and whether weights are there (None: it has none), of every bundle, by name.

    Raises:
        InputError: E-BUNDLE, where there is no folder of bundles or a metadata.json is no JSON.
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
    """Return a bundle's folder.

    Raises:
        InputError: E-BUNDLE, with the nearest name.
    """
    roots = {root.name: root for root in _roots(folder)}
    if name in roots:
        return roots[name]
    near = difflib.get_close_matches(name, roots, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(roots) or 'none'}."
    raise InputError("E-BUNDLE", f"unknown bundle: {name}.", hint)


def stage_bundle(stage: str, name: str | None, folder: str | Path | None = None) -> Path | None:
    """Return the folder of the bundle that a stage of the chain is to be; None where the stage is left out.

    A bundle's metadata names its ``stage`` and, if it can be others too, all of its ``stages``.

    Args:
        stage: ``detect``, ``reduce`` or ``characterise``.
        name: of the bundle, whole or its last part (``dou2017``); None or ``none`` leaves the stage out.
        folder: see :func:`bundles_folder`.

    Raises:
        InputError: E-CONFIG, with the names there are; E-BUNDLE.
    """
    if name is None or str(name).lower() == "none":
        return None
    fit = {root.name: root for root in _roots(folder) if stage in stages_of(_metadata(root))}
    short = {_short(root.name): root for root in fit.values()}
    found = fit.get(name) or short.get(name)
    if found is None:
        known = ", ".join([*sorted(short), *(["none"] if stage != "detect" else [])])
        raise InputError("E-CONFIG", f"no bundle {name} for the stage {stage} (expected {known}).",
                         "See `lungcad list`.")  # fmt: skip
    return found


def pair_name(detector: str | None, reducer: str | None) -> str:
    """Return how a chain's config calls a detector with a reducer, "3dag dou2017", from their whole or short names."""
    return f"{_short(detector)} {_short(reducer)}"


def stages_folder(chain: str | Path) -> str:
    """Return the folder with the bundles of a chain: ``stages`` within it, if it is packed, or the folder around it."""
    own = Path(chain) / "stages"
    return str(own if own.is_dir() else Path(chain) / "..")


def stages_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return what a bundle can be in a chain, by its metadata; first what its inference.json alone is."""
    first = metadata.get("stage")
    return [first, *(other for other in metadata.get("stages", ()) if other != first)]


def read_metadata(root: str | Path) -> dict[str, Any]:
    """Return the metadata.json of the bundle in a folder, with its name; InputError E-BUNDLE if it is no JSON."""
    root = Path(root).resolve()
    return {"name": root.name} | _metadata(root)


def describe(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Return a bundle's metadata.json with its name; raises as :func:`bundle_root`."""
    return read_metadata(bundle_root(name, folder))


def read_config(root: Path) -> dict[str, Any]:
    """Return a bundle's inference.json; InputError E-BUNDLE if it is no JSON."""
    return _json(root / "configs" / "inference.json")


def config_keys(root: Path) -> list[str]:
    """Return the top-level keys of a bundle's inference.json."""
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
