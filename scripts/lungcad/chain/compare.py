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
"""Detector, reducer, characteriser; the last two can be ``none``."""


@dataclass(frozen=True)
class Found:
    """Findings of the last stage of a chain, or of its beginning, on one case.

    Attributes:
        findings: with their masks.
        seconds: duration of all stages; resampling the scan counts for the first stage that needs it.
    """

    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0


def chains_of(detectors: Sequence[str], reducers: Sequence[str], characterisers: Sequence[str]) -> list[Names]:
    """Combine every detector, reducer and characteriser."""
    return list(product(detectors, reducers, characterisers))


def scan_of(case: Case) -> Scan:
    """Make a scan of a case, with the lungs that the case came with."""
    scan = Scan(Volume(case.hu.astype(np.float32), case.to_mm, case.name))
    scan.lungs = LungMask(case.lungs, case.to_mm, float(case.lungs.sum() * np.prod(case.spacing_mm) / 1e3))
    return scan


class Chains:
    """Chains whose stages are loaded once, also those that several of them share.

    Args:
        names: of the chains.
        device: where networks run.
        bundles_dir: folder of bundles; None for the usual one.

    Raises:
        InputError: E-CONFIG, an unknown bundle, or a chain without a detector.
    """

    def __init__(self, names: Sequence[Names], device: torch.device, bundles_dir: str | None = None):
        self._loaded: dict[tuple[Any, ...], BundleStage] = {}
        self.chains = {
            three: Chain(*three, device=device, bundles_dir=bundles_dir, load_stage=self._load_once) for three in names
        }
        for chain in self.chains.values():
            _ = chain.stages

    def _load_once(self, root: Path, device: torch.device, overrides: Mapping[str, Any], stage: str) -> BundleStage:
        key = (root, stage, *overrides.values())
        if key not in self._loaded:
            self._loaded[key] = BundleStage(root, device, overrides, stage)
        return self._loaded[key]

    def fingerprints(self, names: Names) -> list[str]:
        """List what a chain's findings depend on: the fingerprints of its stages."""
        return [stage.fingerprint for stage in self.chains[names].stages.values()]

    def __call__(self, case: Case, names: Sequence[Names] | None = None) -> dict[Names, Found]:
        """Run all chains, or those named, on a case; a stage runs once for all chains that begin alike."""
        scan = scan_of(case)
        done: dict[tuple[BundleStage, ...], Found] = {(): Found()}
        found = {}
        for three in self.chains if names is None else names:
            stages = tuple(self.chains[three].stages.values())
            for length, stage in enumerate(stages, start=1):
                if stages[:length] not in done:
                    done[stages[:length]] = _run(stage, scan, done[stages[: length - 1]])
            found[three] = done[stages]
        return found


def _run(stage: BundleStage, scan: Scan, before: Found) -> Found:
    start = time.perf_counter()
    findings = stage(scan, before.findings)
    return Found(findings, before.seconds + time.perf_counter() - start)


def compare(chains: Chains, cases: Sequence[Case], output_dir: str | Path, data: str) -> dict[Names, dict[str, Any]]:
    """Run and score all chains; what the same stages were run on before is not run again.

    Args:
        chains: to compare.
        cases: to score on, with cubic voxels of 1 mm and, for malignancy, with masks.
        output_dir: gets ``cases/<name>.json`` with what all chains found, and a scored folder for each chain.
        data: what was scored on, in words.

    Returns:
        By chain ``detection``, the figures of its scored folder; ``joint``, those of
        :func:`~lungcad.papers.jnsc.scoring.jnsc_figures`; and ``seconds``, the mean of its stages together.
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
            "joint": jnsc_figures([row for entry in entries.values() for row in entry["nodules"]]),
            "seconds": float(np.mean([entry["seconds"] for entry in entries.values()])),
        }
    return figures


def _known(chains: Chains, case: Case, path: Path) -> Mapping[str, Any]:
    """Read from the file, or find out, each chain's findings, a row per nodule of the case, and seconds."""
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    known = {chain: entries.get("-".join(chain), {}).get("of") for chain in chains.chains}
    if new := [chain for chain, made_of in known.items() if made_of != chains.fingerprints(chain)]:
        entries |= {
            "-".join(chain): {
                "findings": [finding.as_dict() for finding in result.findings],
                "nodules": nodule_rows(case, result.findings),
                "seconds": result.seconds,
                "of": chains.fingerprints(chain),
            }
            for chain, result in chains(case, new).items()
        }
        with whole_file(path) as part:
            part.write_text(json.dumps(entries))
    return entries
