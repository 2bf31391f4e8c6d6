# SPDX-License-Identifier: Apache-2.0
"""Chain of bundles: detection, false positive reduction, malignancy and measurement; loaded once for many scans."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lungcad.bundle.registry import (
    CHAIN,
    STAGE_KEYS,
    bundle_root,
    pair_name,
    read_metadata,
    stage_bundle,
    stages_folder,
)  # fmt: skip
from lungcad.chain.stage import BundleStage
from lungcad.console import StageClock
from lungcad.cpu import tune_allocator
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.options import check_operating_point, options_by_name, text_or_none, thresholds_by_name
from lungcad.results.result import Result
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

ORDER = tuple(STAGE_KEYS)
"""Names of the stages, in the order in which they work."""

PROBABLE_ONLY = ("characterise", "measure")
"""Stages that look at the findings at or above the threshold "sensitive" alone."""


class Chain:
    """Chain of up to four bundles that finds, characterises and measures the nodules of a scan, which may have none.

    A stage is chosen by the name of its bundle or the last part of that name (``dou2017``); ``"none"`` or None leaves
    it out, except the detector. Bundles are loaded when they are first needed, and kept.

    Args:
        detector: bundle that finds candidates.
        reducer: bundle that separates nodules from false positives.
        characteriser: bundle that rates malignancy and attributes of the findings at or above the threshold
            "sensitive".
        device: device of the networks; None for the first GPU if there is one, else the CPU.
        operating_point: name of the threshold from which a finding is reported.
        measurer: bundle that segments and measures the findings at or above the threshold "sensitive".
        thresholds: lowest reported nodule probability by name of the operating point; None for those of the pair of
            detector and reducer in the chain's bundle or, where it has none, of the reducer or (without one) the
            detector.
        stage_overrides: values for keys of a stage's inference.json, by stage (:data:`ORDER`); they take precedence
            over those of the pair.
        thresholds_of: thresholds by the names of a detector and a reducer, ``"3dag dou2017"``; None for those in the
            chain's bundle.
        overrides_of: stage overrides by the names of a detector and a reducer; None for those in the chain's bundle.
        root: folder of the chain's bundle; None for ``lung_nodule_cad``.
        bundles_dir: folder that holds the stages' bundles; None for the one around ``root``.
        load_stage: function that loads a stage, given folder, device, overrides and name of the stage; for several
            chains that share stages.

    Raises:
        InputError: E-CONFIG, an unknown stage or bundle, or no detector.

    Example:
        >>> chain = Chain(reducer="yao2018")                        # doctest: +SKIP
        >>> result = chain(lungcad.read("scans/chest"))             # doctest: +SKIP
        >>> [finding.nodule_probability for finding in result.findings]  # doctest: +SKIP
    """

    def __init__(
        self, detector: str = "3dag", reducer: str | None = "dou2017", characteriser: str | None = "mtmrnet",
        device: torch.device | str | None = None, operating_point: str = "balanced", *, measurer: str | None = "unet",
        thresholds: Mapping[str, float] | None = None, stage_overrides: Mapping[str, Mapping[str, Any]] | None = None,
        thresholds_of: Mapping[str, Mapping[str, float]] | None = None,
        overrides_of: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        root: str | Path | None = None, bundles_dir: str | Path | None = None,
        load_stage: Callable[[Path, torch.device, Mapping[str, Any], str], BundleStage] | None = None,
    ):  # fmt: skip
        self.root = Path(root) if root else bundle_root(CHAIN, bundles_dir)
        self.device = _device(device)
        self.operating_point, self._thresholds = operating_point, thresholds_by_name("thresholds", thresholds)
        self._of_pairs = {"thresholds_of": thresholds_of, "overrides_of": overrides_of}
        self._overrides = options_by_name("stage_overrides", stage_overrides)
        self._load_stage = load_stage or BundleStage
        self._names = dict(zip(ORDER, (detector, reducer, characteriser, measurer), strict=True))
        if unknown := set(self._overrides) - set(ORDER):
            raise InputError("E-CONFIG", f"unknown stage: {', '.join(sorted(unknown))} (expected {', '.join(ORDER)}).")
        folder = bundles_dir or stages_folder(self.root)
        roots = {stage: stage_bundle(stage, text_or_none(stage, name), folder) for stage, name in self._names.items()}
        self.bundles = {stage: bundle for stage, bundle in roots.items() if bundle}
        """Folder of the bundle by name of the stage."""
        if "detect" not in self.bundles:
            raise InputError("E-CONFIG", "stage detect names no bundle (expected one; only later stages may be none).")

    @cached_property
    def stages(self) -> dict[str, BundleStage]:
        """Stages by name, in the order in which they work; loaded on first use.

        Raises:
            InputError: E-CONFIG or E-WEIGHTS, a bundle cannot be loaded.
        """
        tune_allocator()
        stages: dict[str, BundleStage] = {}
        for name, root in self.bundles.items():
            given = options_by_name(f"stage_overrides of {name}", self._overrides.get(name))
            overrides = self._overrides_of_pair(name) | dict(given)
            if name in PROBABLE_ONLY and "sensitive" in (thresholds := self._thresholds_of(stages)):
                overrides = {"least_probability": thresholds["sensitive"]} | overrides
            stages[name] = self._load_stage(root, self.device, overrides, name)
        return stages

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Lowest reported nodule probability by name of the operating point.

        Raises:
            InputError: E-CONFIG, unknown operating point.
        """
        thresholds = self._thresholds_of(self.stages)
        check_operating_point(self.operating_point, thresholds)
        return thresholds

    def find(self, scan: Scan, clock: StageClock | None = None) -> list[Finding]:
        """Findings of the last stage, after a run of all stages on a scan.

        Args:
            scan: volume and lungs.
            clock: stage clock that times each stage and prints it; None prints nothing.

        Raises:
            InputError: E-NO-LUNG.
        """
        clock = clock or StageClock(silent=True)
        findings: list[Finding] = []
        for name, stage in self.stages.items():
            with clock(name) as line:
                findings = stage(scan, findings)
                line.note = f"{len(findings)} findings"
        return findings

    def __call__(self, volume: Volume) -> Result:
        """Segment the lungs of a volume and find the nodules.

        Raises:
            InputError: E-CONFIG, unknown operating point, or a bundle cannot be loaded; E-WEIGHTS; E-NO-LUNG.
        """
        thresholds, clock, scan = self.thresholds, StageClock(silent=True), Scan(volume)
        with clock("lungs"):
            _ = scan.lungs
        return self.result(scan, self.find(scan, clock), thresholds, clock.seconds)

    def result(
        self, scan: Scan, findings: list[Finding], thresholds: Mapping[str, float], seconds: Mapping[str, float]
    ) -> Result:
        """Result of findings of this chain, with the circumstances under which they were made.

        Args:
            scan: volume and lungs.
            findings: findings of the last stage.
            thresholds: lowest reported nodule probability by name of the operating point.
            seconds: duration by stage.
        """
        stages = self.stages.values()
        return Result(
            replace(scan.volume, warnings=list(scan.warnings)), findings, thresholds, self.operating_point,
            bundles=self.versions, device=str(self.device), seconds=seconds,
            weights_sha256={stage.meta["name"]: stage.meta["weights_sha256"] for stage in stages},
            lungs=scan.lungs,
        )  # fmt: skip

    @property
    def versions(self) -> dict[str, str]:
        """Version by name of the bundle, the chain's own first."""
        meta = read_metadata(self.root)
        return {meta["name"]: meta["version"]} | {stage.meta["name"]: stage.version for stage in self.stages.values()}

    def _overrides_of_pair(self, stage: str) -> dict[str, Any]:
        return dict((self._of_pair("overrides_of") or {}).get(stage, {}))

    def _thresholds_of(self, stages: Mapping[str, BundleStage]) -> Mapping[str, float]:
        """Thresholds as given, else of the pair of detector and reducer, else of the last of the two that is loaded."""
        if self._thresholds:
            return self._thresholds
        return self._of_pair("thresholds_of") or stages.get("reduce", stages["detect"]).thresholds

    def _of_pair(self, key: str) -> Mapping[str, Any] | None:
        """Setting of this pair of detector and reducer, from the caller or the chain's bundle; None without one."""
        pairs = self._of_pairs[key]
        if pairs is None:
            pairs = json.loads((self.root / "configs" / "inference.json").read_text(encoding="utf-8"))[key]
        return pairs.get(pair_name(self._names["detect"], self._names["reduce"]))


def _device(device: torch.device | str | None) -> torch.device:
    """Device by name; the first GPU if there is one, else the CPU, for None.

    Raises:
        InputError: E-CONFIG, there is no device of that name.
    """
    found = torch.cuda.is_available()
    try:
        chosen = torch.device(device or ("cuda:0" if found else "cpu"))
    except (RuntimeError, TypeError) as error:
        raise InputError("E-CONFIG", f"device is {device} (expected such as cpu or cuda:0).") from error
    if chosen.type == "cuda" and not found:
        raise InputError("E-CONFIG", f"device is {device}, but there is no GPU (expected cpu).")
    return chosen
