# SPDX-License-Identifier: Apache-2.0
"""Score a bundle on cases: the bundle's own inferer and postprocessing, LUNA16's rules, figures as JSON."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.utils.data import Dataset

from lungcad.finding import Finding
from lungcad.froc import (
    FP_PER_SCAN,
    ScoredScan,
    cpm_with_interval,
    match,
    sensitivities,
    sensitivity_by_diameter,
)  # fmt: skip
from lungcad.geometry import scaled_affine
from lungcad.isolation import BLANK_HU
from lungcad.training.case import Case, Sphere

logger = logging.getLogger(__name__)

MARGIN_MM = 32.0
"""Blank margin around a case, as wide as a working grid's, so that outputs reach its first and last slices."""


class CaseDataset(Dataset):
    """Cases as the bundles' transforms want them; a case's "world" is its index times its spacing.

    Args:
        cases: to be scored.
        transform: the bundle's preprocessing behind the working grid.
        candidates: file with the findings of the stage before, as :class:`CaseScorer` writes it.
    """

    def __init__(self, cases: Sequence[Case], transform: Any = None, candidates: str | None = None):
        self.cases, self.transform = list(cases), transform
        self.candidates = read_candidates(candidates) if candidates else {}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, item: int) -> dict[str, Any]:
        case = self.cases[item]
        width = [(round(MARGIN_MM / size),) * 2 for size in case.spacing_mm]
        affine = np.diag([*case.spacing_mm, 1.0])
        data = {
            "case": case,
            "image": torch.from_numpy(np.pad(case.hu.astype(np.float32), width, constant_values=BLANK_HU))[None, None],
            "lungs": torch.from_numpy(np.pad(case.lungs, width)),
            "grid_affine": scaled_affine(affine, [-before for before, _ in width], (1, 1, 1)),
            "findings": self.candidates.get(case.name, []),
        }
        return self.transform(data) if self.transform else data


def read_candidates(path: str | Path) -> dict[str, list[Finding]]:
    """Findings by case name."""
    table = json.loads(Path(path).read_text())
    return {name: [Finding.from_dict(entry) for entry in entries] for name, entries in table.items()}


def negatives_of(cases: Sequence[Case], candidates: str | None) -> list[np.ndarray] | None:
    """For each case the places (N, 3) of candidates that are certainly no nodule; None without a file of candidates."""
    from lungcad.training.patches import clear_of_lesions

    if candidates is None:
        return None
    found = read_candidates(candidates)
    places = [
        np.array([f.center_lps_mm for f in found.get(case.name, [])]).reshape(-1, 3) / case.spacing_mm for case in cases
    ]
    return [index[clear_of_lesions(case, index)] for case, index in zip(cases, places, strict=True)]


def _table(case: Case, spheres: list[Sphere]) -> np.ndarray:
    return np.array([[*(s.index * case.spacing_mm), s.diameter_mm] for s in spheres]).reshape(-1, 4)


class CaseScorer:
    """Ignite handler: collects findings case by case, at the end writes them and their figures.

    Args:
        output_dir: receives ``candidates.json`` (findings by case) and ``metrics.json``.
        data: what was scored on, in words; goes into the figures.
    """

    def __init__(self, output_dir: str, data: str):
        self.folder, self.data = Path(output_dir), data

    def attach(self, engine: Engine) -> None:
        """Start afresh, collect, write."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.findings: dict[str, list[Finding]] = {}
        self.scans: list[ScoredScan] = []
        self.errors: list[tuple[float, float]] = []  # of centre and of diameter, mm, for each nodule found

    def _collect(self, engine: Engine) -> None:
        case, findings = engine.state.batch["case"], engine.state.batch["findings"]
        self.findings[case.name] = findings
        marks = np.array([f.center_lps_mm for f in findings]).reshape(-1, 3)
        scores = np.array([f.detection_score if f.nodule_probability is None else f.nodule_probability
                           for f in findings], dtype=float)  # fmt: skip
        nodules = _table(case, case.nodules)
        scan, best = match(nodules, _table(case, case.ignored), marks, scores)
        self.scans.append(scan)
        for nodule, mark in zip(nodules, best, strict=True):
            if mark >= 0:
                diameter = findings[mark].diameter_mm
                error = abs(diameter - nodule[3]) if diameter is not None else np.nan
                self.errors.append((float(np.linalg.norm(marks[mark] - nodule[:3])), float(error)))

    def _write(self, engine: Engine) -> None:
        figures = {"data": self.data} | summarise(self.scans, self.errors)
        self.folder.mkdir(parents=True, exist_ok=True)
        table = {name: [f.as_dict() for f in findings] for name, findings in self.findings.items()}
        (self.folder / "candidates.json").write_text(json.dumps(table))
        (self.folder / "metrics.json").write_text(json.dumps(figures, indent=2))
        logger.info("%s", json.dumps(figures, indent=2))


def summarise(scans: Sequence[ScoredScan], errors: Sequence[tuple[float, float]] = ()) -> dict[str, Any]:
    """Figures of scored scans: sensitivity of all marks with interval, marks per scan, FROC, CPM, errors in mm."""
    hits = np.concatenate([scan.hits for scan in scans])
    cpm, low, high = cpm_with_interval(scans)
    rng = np.random.default_rng(0)
    found = [
        np.isfinite(np.concatenate([scans[n].hits for n in rng.integers(len(scans), size=len(scans))])).mean()
        for _ in range(1000)
    ]
    error = np.array(errors).reshape(-1, 2)
    return {
        "scans": len(scans),
        "nodules": len(hits),
        "sensitivity": float(np.isfinite(hits).mean()),
        "sensitivity_ci": [float(v) for v in np.percentile(found, [2.5, 97.5])],
        "false_marks_per_scan": float(np.mean([len(scan.false) for scan in scans])),
        "found_by_diameter": sensitivity_by_diameter(scans),
        "fp_per_scan": list(FP_PER_SCAN),
        "sensitivities": [float(v) for v in sensitivities(scans)],
        "cpm": cpm,
        "cpm_ci": [low, high],
        "median_center_error_mm": float(np.median(error[:, 0])) if len(error) else None,
        "median_diameter_error_mm": float(np.nanmedian(error[:, 1])) if np.isfinite(error[:, 1]).any() else None,
        "mean_center_error_mm": float(error[:, 0].mean()) if len(error) else None,
        "mean_diameter_error_mm": float(np.nanmean(error[:, 1])) if np.isfinite(error[:, 1]).any() else None,
    }
