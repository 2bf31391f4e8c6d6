# SPDX-License-Identifier: Apache-2.0
"""Bundle under test: its configs, weights and network."""

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
    """Raised by a check that cannot be made, with the reason."""


@dataclass
class Bundle:
    """Bundle under test.

    Attributes:
        root: folder of the bundle.
        schema: copy of MONAI's metadata schema; None fetches it from MONAI's own URL.
        work: folder for temporary files.
        series: folder with a small CT series; None skips the run of the bundle.
        candidates: CSV with candidates for the series.
        meta: content of metadata.json.
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
        """Parser of inference.json with overlays; nothing is instantiated."""
        parser = ConfigParser()
        parser.read_config([str(self.config(name)) for name in ("inference", *overlays)])
        parser.read_meta(str(self.config("metadata")))
        parser["bundle_root"] = str(self.root)
        parser.parse()
        return parser

    @property
    def is_chain(self) -> bool:
        """Whether the bundle is a chain: it has no network of its own, ``network_def`` is that of its first stage."""
        return bool(self.meta.get("stage") == "chain")

    @property
    def weights(self) -> Path:
        """Path of the weights of ``network_def``: models/model.pt, or its first stage's for a chain not packed."""
        path = self.root / "models" / "model.pt"
        if path.is_file() or not self.is_chain:
            return path
        name = json.loads(self.config("inference").read_text())["detector"]
        detector = stage_bundle("detect", name, stages_folder(self.root))
        assert detector is not None, "the chain has no detector"
        return detector / "models" / "model.pt"

    @cached_property
    def network(self) -> torch.nn.Module:
        """Network with the bundle's weights, float32, in evaluation mode."""
        network: torch.nn.Module = self.parser().get_parsed_content("network_def")
        network.load_state_dict(load_state(self.weights))
        return network.eval()
