# SPDX-License-Identifier: Apache-2.0
"""Start of a run: refuses bad input before PyTorch is imported, and reads the scan while PyTorch and MONAI are."""

import gc
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lungcad.bundle.lean import needs_optional_packages, optional_packages_withheld
from lungcad.bundle.registry import STAGE_KEYS, read_config, read_metadata, stage_bundle, stages_folder
from lungcad.bundle.values import CODE
from lungcad.options import text_or_none
from lungcad.reading.ahead import begin_reading
from lungcad.reading.volume_file import begin_volume

READER = "lungcad.reading.monai_reader.CTSeriesReader"
"""Reader in the config of a bundle that runs on its own and reads ``dataset_dir`` as a CT."""


def start(root: Path, values: Mapping[str, Any]) -> None:
    """Check the headers of the input; for a chain begin to read it, and import MONAI without what no stage needs.

    Args:
        root: folder of the bundle that is to run.
        values: its inference.json, with what the command line changes.

    Raises:
        InputError: the input is refused by its headers; an unknown stage or a value of another kind.
    """
    chain = read_metadata(root).get("stage") == "chain"
    plain = not any(isinstance(value, str) and value.startswith(CODE) for key, value in values.items() if key in _USED)
    configs = list(_stage_configs(root, values)) if chain and plain else []
    if chain and plain:
        begin_reading(values["dataset_dir"], values["series_uid"], values["acquisition"], values["leniency"])
    elif READER in json.dumps(read_config(root)):
        leniency = values.get("leniency")
        if isinstance(leniency or {}, Mapping):  # else the run refuses it
            begin_volume(
                values["dataset_dir"], values.get("series_uid"), values.get("acquisition"), **dict(leniency or {})
            )
    if configs and not needs_optional_packages(configs):
        gc.disable()  # imports leave no garbage; looking for it takes a sixth of their time
        with optional_packages_withheld():
            import monai.bundle  # noqa: F401
        gc.freeze()
        gc.enable()


_USED = frozenset({*STAGE_KEYS.values(), "bundles_dir", "dataset_dir", "series_uid", "acquisition", "leniency"})
"""Keys of the chain's config that are looked at here; an expression in one of them leaves all to the run."""


def _stage_configs(root: Path, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the configs of a chain's stages; raises InputError for an unknown stage."""
    folder = values["bundles_dir"] or stages_folder(root)
    for stage, key in STAGE_KEYS.items():
        bundle = stage_bundle(stage, text_or_none(key, values[key]), folder)
        if bundle is not None:
            yield read_config(bundle)
            overlay = bundle / "configs" / f"{stage}.json"
            if overlay.is_file():
                yield json.loads(overlay.read_text(encoding="utf-8"))
