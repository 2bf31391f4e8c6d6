# SPDX-License-Identifier: Apache-2.0
"""Comparison of chains of bundles on the same cases; a stage runs once for all chains with the same stages before it.

A chain is scored as users run it: its stages get a scan, not the working grid that a bundle's own evaluation takes, and
malignancy is predicted for findings at or above the chain's threshold "sensitive". Nothing is measured: masks are those
of the characteriser.
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
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.finding import Finding
from lungcad.papers.jnsc.scoring import jnsc_figures, nodule_rows
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan
from lungcad.training.cases import Case
from lungcad.training.scoring import CaseScorer
from lungcad.volume import Volume

Names = tuple[str, str, str]
"""Names of a chain's detector, reducer and characteriser; the last two can be ``none``."""


@dataclass(frozen=True)
class CaseFindings:
    """Findings on one case after the first stages of a chain, or after all of them.

    Attributes:
        findings: findings of the last stage that ran, with their masks.
        seconds: duration of the stages together; resampling the scan counts for the first stage that needs it.
    """

    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def chains_of(detectors: Sequence[str], reducers: Sequence[str], characterisers: Sequence[str]) -> list[Names]:
    """Names of all chains: every combination of a detector, a reducer and a characteriser."""
    return list(product(detectors, reducers, characterisers))


def scan_of(case: Case) -> Scan:
    """Scan of a case, with the case's own lung mask."""
    scan = Scan(Volume(case.hu.astype(np.float32), case.to_mm, case.name))
    scan.lungs = LungMask(case.lungs, case.to_mm, float(case.lungs.sum() * np.prod(case.spacing_mm) / 1e3))
    return scan


class Chains:
    """Several chains; a stage that they share is loaded once.

    Args:
        names: names of the chains' stages.
        device: device of the networks.
        bundles_dir: folder of bundles; None for the default one.

    Raises:
        InputError: E-CONFIG, an unknown bundle, or a chain without a detector.
    """

    def __init__(self, names: Sequence[Names], device: torch.device, bundles_dir: str | None = None):
        self._loaded: dict[tuple[Any, ...], BundleStage] = {}
        self.chains = {
            chain: Chain(*chain, device=device, measurer=None, bundles_dir=bundles_dir, load_stage=self._load_once)
            for chain in names
        }
        for loaded in self.chains.values():
            _ = loaded.stages

    def _load_once(self, root: Path, device: torch.device, overrides: Mapping[str, Any], stage: str) -> BundleStage:
        key = (root, stage, *overrides.items())
        if key not in self._loaded:
            self._loaded[key] = BundleStage(root, device, overrides, stage)
        return self._loaded[key]

    def fingerprints(self, names: Names) -> list[str]:
        """Fingerprints of a chain's stages: all that its findings depend on, except the code."""
        return [stage.fingerprint for stage in self.chains[names].stages.values()]

    def __call__(self, case: Case, names: Sequence[Names] | None = None) -> dict[Names, CaseFindings]:
        """Findings of all chains, or of those named, on a case; stages that chains have in common run once."""
        scan = scan_of(case)
        done: dict[tuple[BundleStage, ...], CaseFindings] = {(): CaseFindings()}
        results = {}
        for chain in self.chains if names is None else names:
            stages = tuple(self.chains[chain].stages.values())
            for length, stage in enumerate(stages, start=1):
                if stages[:length] not in done:
                    done[stages[:length]] = _run_stage(stage, scan, done[stages[: length - 1]])
            results[chain] = done[stages]
        return results


def _run_stage(stage: BundleStage, scan: Scan, before: CaseFindings) -> CaseFindings:
    """Findings of one stage after those of the stages before it."""
    start = time.perf_counter()
    findings = stage(scan, before.findings)
    return CaseFindings(findings, before.seconds + time.perf_counter() - start)


def score_chains(
    chains: Chains, cases: Sequence[Case], output_dir: str | Path, data: str
) -> dict[Names, dict[str, Any]]:
    """Run and score all chains; a case that the same stages have seen in an earlier run is not run again.

    Args:
        chains: chains to compare.
        cases: cases to score on, with cubic voxels of 1 mm and, for malignancy, with masks.
        output_dir: folder for ``cases/<name>.json`` with the findings of all chains, and a scored folder per chain.
        data: description of the cases, written into the scored folders.

    Returns:
        For each chain ``detection``, the figures of its scored folder; ``joint``, those of
        :func:`~lungcad.papers.jnsc.scoring.jnsc_figures`; and ``seconds``, the mean duration of its stages together.
    """
    root = Path(output_dir)
    (root / "cases").mkdir(parents=True, exist_ok=True)
    outputs = {case.name: _entries(chains, case, root / "cases" / f"{case.name}.json")
               for case in tqdm(cases, desc="cases")}  # fmt: skip
    figures = {}
    for chain in chains.chains:
        entries = {case.name: outputs[case.name]["-".join(chain)] for case in cases}
        scorer = CaseScorer(str(root / "-".join(chain)), data)
        scorer.start()
        for case in cases:
            findings = [Finding.from_dict(entry) for entry in entries[case.name]["findings"]]
            scorer.add({"case": case, "findings": findings}, {})
        scorer.write()
        figures[chain] = {
            "detection": json.loads((scorer.folder / "metrics.json").read_text()),
            "joint": jnsc_figures([row for entry in entries.values() for row in entry["nodules"]]),
            "seconds": float(np.mean([entry["seconds"] for entry in entries.values()])),
        }
    return figures


def _entries(chains: Chains, case: Case, path: Path) -> Mapping[str, Any]:
    """Findings, rows per nodule and seconds of a case, by chain: from the file, or new where stages have changed."""
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    stored = {chain: entries.get("-".join(chain), {}).get("of") for chain in chains.chains}
    if outdated := [chain for chain, prints in stored.items() if prints != chains.fingerprints(chain)]:
        entries |= {
            "-".join(chain): {
                "findings": [finding.as_dict() for finding in result.findings],
                "nodules": nodule_rows(case, result.findings),
                "seconds": result.seconds,
                "of": chains.fingerprints(chain),
            }
            for chain, result in chains(case, outdated).items()
        }
        with whole_file(path) as part:
            part.write_text(json.dumps(entries))
    return entries
