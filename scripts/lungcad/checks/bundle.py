# SPDX-License-Identifier: Apache-2.0
"""A bundle under test, and where its parts are."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from lungcad.bundle.registry import stage_bundle, stages_folder
from lungcad.bundle.weights import load_state
from lungcad.training.parallel import MULTI_GPU_OVERLAY


class SkipCheck(Exception):
    """A check cannot be made here; says why."""


@dataclass
class Bundle:
    """A bundle under test.

    Attributes:
        root: its folder.
        schema: copy of MONAI's metadata schema; None asks MONAI's own URL.
        work: folder for temporary files.
        series: folder with a small CT series, ``candidates`` for it as CSV; None leaves out the run.
    """

    root: Path
    schema: Path | None
    work: Path
    series: Path | None = None
    candidates: Path | None = None
    meta: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.meta = json.loads(self.config("metadata").read_text())

    def config(self, name: str) -> Path:
        """Path of ``configs/<name>.json``, or of the overlay that all bundles share."""
        return MULTI_GPU_OVERLAY if name == MULTI_GPU_OVERLAY.stem else self.root / "configs" / f"{name}.json"

    def parser(self, *overlays: str) -> ConfigParser:
        """inference.json with overlays, parsed, nothing instantiated."""
        parser = ConfigParser()
        parser.read_config([str(self.config(name)) for name in ("inference", *overlays)])
        parser.read_meta(str(self.config("metadata")))
        parser["bundle_root"] = str(self.root)
        parser.parse()
        return parser

    @property
    def is_chain(self) -> bool:
        """A chain has no network of its own; ``network_def`` is that of its first stage."""
        return bool(self.meta.get("stage") == "chain")

    @property
    def weights(self) -> Path:
        """Weights of ``network_def``: models/model.pt; of a chain that was not packed, its first stage's."""
        own = self.root / "models" / "model.pt"
        if own.is_file() or not self.is_chain:
            return own
        name = json.loads(self.config("inference").read_text())["detector"]
        detector = stage_bundle("detect", name, stages_folder(self.root))
        assert detector is not None, "the chain has no detector"
        return detector / "models" / "model.pt"

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network with the bundle's weights, float32, in evaluation mode."""
        network: torch.nn.Module = self.parser().get_parsed_content("network_def")
        network.load_state_dict(load_state(self.weights))
        return network.eval()
