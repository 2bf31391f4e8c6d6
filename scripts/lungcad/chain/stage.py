# SPDX-License-Identifier: Apache-2.0
"""Bundle as one stage of a chain: its own network, preprocessing, inferer and postprocessing, on a shared scan.

A stage takes from a bundle the same parts as MONAI Deploy; the chain reads and writes, once per scan.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ComponentLocator, ConfigParser
from monai.transforms import Compose

from lungcad.bundle.registry import stages_of
from lungcad.bundle.values import switches
from lungcad.errors import InputError, find_input_error
from lungcad.finding import Finding
from lungcad.papers.transforms import prepare_case
from lungcad.results.transforms import LoadCandidatesd, WriteFindingsd
from lungcad.scan.scan import Scan

_READ_AND_WRITE = ("LoadImaged", LoadCandidatesd.__name__, WriteFindingsd.__name__)
"""Transforms of a bundle that a stage leaves out, because the chain reads and writes."""


@lru_cache(1)
def _locator(modules: int) -> ComponentLocator:
    """Table of MONAI's classes by short name, one for all stages as long as no more of its modules are imported."""
    return ComponentLocator()


class BundleStage:
    """Bundle that turns a scan and a list of findings into a list of findings.

    Args:
        bundle_root: folder with ``configs`` and ``models``.
        device: device of its network.
        overrides: values for keys of its inference.json.
        stage: stage that the bundle takes; None for its own. For another of its metadata's ``stages``,
            ``configs/<stage>.json`` is laid over its inference.json.

    Raises:
        InputError: E-CONFIG, there is no such bundle or key; E-WEIGHTS.
    """

    def __init__(self, bundle_root: str | Path, device: torch.device, overrides: Mapping[str, Any] | None = None,
                 stage: str | None = None):  # fmt: skip
        root = Path(bundle_root)
        inference, metadata = root / "configs" / "inference.json", root / "configs" / "metadata.json"
        if not inference.is_file():
            raise InputError("E-CONFIG", f"no bundle at {root.name}: configs/inference.json is missing.",
                             "Name a bundle that `lungcad list` shows, or null to leave the stage out.")  # fmt: skip
        self.meta: dict[str, Any] = json.loads(metadata.read_text())
        parser = ConfigParser()
        parser.locator = _locator(sum(name.startswith("monai.") for name in sys.modules))
        overlay = root / "configs" / f"{stage}.json"
        parser.read_config([str(inference), *([str(overlay)] if stage in stages_of(self.meta)[1:] else [])])
        config = {key: value for key, value in parser.config.items() if key not in ("thresholds", "operating_point")}
        overrides = dict(overrides or {})
        overrides |= switches(overrides, config)
        made_of = json.dumps([config, overrides, self.meta["weights_sha256"]], default=str)
        self.fingerprint = hashlib.sha256(made_of.encode()).hexdigest()
        """SHA-256 of configs, overrides and weights: all that the findings of a scan depend on, except the code."""
        parser.read_meta(str(metadata))
        for key, value in {"bundle_root": str(root), "device": device, **overrides}.items():
            if key not in parser.config:
                raise InputError("E-CONFIG", f"stage {root.name} has no key {key} (known: {', '.join(parser.config)}).")
            parser[key] = value
        self.thresholds: dict[str, float] = parser.get_parsed_content("thresholds") if "thresholds" in parser else {}
        self.device = device
        with _unwrapped_refusals():
            self.network: torch.nn.Module = parser.get_parsed_content("network", instantiate=True)
            self.inferer = parser.get_parsed_content("inferer")
            self._before = self._transforms(parser, "preprocessing")
            self._after = self._transforms(parser, "postprocessing")

    @staticmethod
    def _transforms(parser: ConfigParser, key: str) -> Compose:
        """Transforms of the bundle under a key, without those that read or write files."""
        steps = []
        for number, entry in enumerate(parser.get(key)["transforms"]):
            target = entry["_target_"] if isinstance(entry, dict) else ""
            if target.rpartition(".")[2] not in _READ_AND_WRITE:
                steps.append(parser.get_parsed_content(f"{key}#transforms#{number}"))
        return Compose(steps)

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return str(self.meta["version"])

    @torch.inference_mode()
    def __call__(self, scan: Scan, findings: Sequence[Finding] = ()) -> list[Finding]:
        """Findings of this stage from the scan and, unless it is the first, from the findings of the stage before.

        Raises:
            InputError: E-NO-LUNG.
        """
        with _unwrapped_refusals():
            data = self._before({"scan": scan, "image": None, "findings": list(findings)})
            image, _, args, kwargs = prepare_case(data, self.device, non_blocking=True)
            data["pred"] = self.inferer(image, self.network, *args, **kwargs)
            result: list[Finding] = self._after(data)["findings"]
        return result


@contextlib.contextmanager
def _unwrapped_refusals() -> Iterator[None]:
    """Raise an InputError as itself where MONAI has wrapped it in RuntimeErrors of its config objects."""
    try:
        yield
    except RuntimeError as error:
        refusal = find_input_error(error)
        if refusal is None:
            raise
        raise refusal from None
