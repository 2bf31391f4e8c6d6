# SPDX-License-Identifier: Apache-2.0
"""Every chain of bundles on the same cases: a stage runs once for all chains that begin alike.

A chain is scored as it is run: its stages get a scan, not the working grid that a bundle's own evaluation takes, and
malignancy is asked for from the chain's threshold "sensitive" up.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lungcad.atomic import whole_file
from lungcad.bundle.registry import bundle_root, pair_name, stage_bundle
from lungcad.chain.stage import BundleStage
from lungcad.errors import InputError
from lungcad.finding import Finding, Masks
from lungcad.papers.jnsc.scoring import joint_figures, nodule_rows
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan
from lungcad.training.cases import Case
from lungcad.training.scoring import CaseScorer
from lungcad.volume import Volume

Chain = tuple[str, str, str]
"""Detector, reducer, characteriser; the last two can be ``none``."""


@dataclass
class Result:
    """Of a chain, or its beginning, on one case.

    Attributes:
        findings: of its last stage.
        seconds: of its stages; resampling the scan counts for the first stage that needs it.
        masks: of findings.
    """

    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    masks: Masks = field(default_factory=dict)


def chains_of(detectors: Sequence[str], reducers: Sequence[str], characterisers: Sequence[str]) -> list[Chain]:
    """All combinations."""
    return list(product(detectors, reducers, characterisers))


def scan_of(case: Case) -> Scan:
    """A case as a chain's stages take it; its lungs are those that it came with."""
    scan = Scan(Volume(case.hu.astype(np.float32), case.to_mm, case.name))
    scan.lungs = LungMask(case.lungs, case.to_mm, float(case.lungs.sum() * np.prod(case.spacing_mm) / 1e3))
    return scan


class Chains:
    """Chains whose stages are loaded once.

    Args:
        chains: to compare.
        device: where networks run.
        bundles_dir: folder of bundles; None for the usual one.

    Raises:
        InputError: E-CONFIG, an unknown bundle, or a chain without a detector.
    """

    def __init__(self, chains: Sequence[Chain], device: torch.device, bundles_dir: str | None = None):
        self.chains, self.device, self.folder = list(chains), device, bundles_dir
        config = bundle_root("lung_nodule_cad", bundles_dir) / "configs" / "inference.json"
        self.thresholds_of: dict[str, dict[str, float]] = json.loads(config.read_text())["thresholds_of"]
        self.loaded: dict[tuple[Any, ...], BundleStage] = {}
        for chain in self.chains:
            self.stages(chain)

    def stages(self, chain: Chain) -> list[BundleStage | None]:
        """Of a chain; None where one is left out."""
        detect, reduce = self._stage("detect", chain[0]), self._stage("reduce", chain[1])
        if detect is None:
            raise InputError("E-CONFIG", f"chain {'-'.join(chain)} has no detector (expected one).")
        thresholds = self.thresholds_of.get(pair_name(*chain[:2])) or (reduce or detect).thresholds
        return [detect, reduce, self._stage("characterise", chain[2], least_probability=thresholds["sensitive"])]

    def made_of(self, chain: Chain) -> list[str]:
        """What a chain's findings depend on: the fingerprints of its stages."""
        return [stage.fingerprint for stage in self.stages(chain) if stage]

    def _stage(self, stage: str, name: str, **overrides: Any) -> BundleStage | None:
        root = stage_bundle(stage, name, self.folder)
        if root is None:
            return None
        key = (stage, name, *overrides.values())
        if key not in self.loaded:
            self.loaded[key] = BundleStage(root, self.device, overrides, stage)
        return self.loaded[key]

    def __call__(self, case: Case, chains: Sequence[Chain] | None = None) -> dict[Chain, Result]:
        """What each chain, or each of some of them, makes of a case."""
        scan = scan_of(case)
        done: dict[tuple[str, ...], Result] = {(): Result()}
        chains = self.chains if chains is None else chains
        for chain in chains:
            for length, stage in enumerate(self.stages(chain), start=1):
                before = done[chain[: length - 1]]
                if chain[:length] not in done:
                    done[chain[:length]] = _run(stage, scan, before) if stage else before
        return {chain: done[chain] for chain in chains}


def _run(stage: BundleStage, scan: Scan, before: Result) -> Result:
    scan.masks = dict(before.masks)
    start = time.perf_counter()
    findings = stage(scan, before.findings)
    return Result(findings, before.seconds + time.perf_counter() - start, scan.masks)


def compare(chains: Chains, cases: Sequence[Case], output_dir: str | Path, data: str) -> dict[Chain, dict[str, Any]]:
    """Run and score all chains; what the same stages were run on before is not run again.

    Args:
        chains: to compare.
        cases: to score on, with cubic voxels of 1 mm and, for malignancy, with masks.
        output_dir: gets ``cases/<name>.json`` with what all chains found, and a scored folder for each chain.
        data: what was scored on, in words.

    Returns:
        By chain ``detection``, the figures of its scored folder; ``joint``, those of
        :func:`~lungcad.papers.jnsc.scoring.joint_figures`; and ``seconds``, the mean of its stages together.
    """
    root = Path(output_dir)
    (root / "cases").mkdir(parents=True, exist_ok=True)
    found = {case.name: _known(chains, case, root / "cases" / f"{case.name}.json")
             for case in tqdm(cases, desc="cases")}  # fmt: skip
    figures = {}
    for chain in chains.chains:
        entries = {case.name: found[case.name]["-".join(chain)] for case in cases}
        scorer = CaseScorer(str(root / "-".join(chain)), data)
        scorer.start()
        for case in cases:
            findings = [Finding.from_dict(one) for one in entries[case.name]["findings"]]
            scorer.add({"case": case, "findings": findings}, {})
        scorer.write()
        figures[chain] = {
            "detection": json.loads((scorer.folder / "metrics.json").read_text()),
            "joint": joint_figures([row for entry in entries.values() for row in entry["nodules"]]),
            "seconds": float(np.mean([entry["seconds"] for entry in entries.values()])),
        }
    return figures


def _known(chains: Chains, case: Case, path: Path) -> Mapping[str, Any]:
    """By chain its findings, a row per nodule of the case, and seconds."""
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if new := [chain for chain in chains.chains if entries.get("-".join(chain), {}).get("of") != chains.made_of(chain)]:
        entries |= {
            "-".join(chain): {
                "findings": [finding.as_dict() for finding in result.findings],
                "nodules": nodule_rows(case, result.findings, result.masks),
                "seconds": result.seconds,
                "of": chains.made_of(chain),
            }
            for chain, result in chains(case, new).items()
        }
        with whole_file(path) as part:
            part.write_text(json.dumps(entries))
    return entries
