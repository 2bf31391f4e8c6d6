# SPDX-License-Identifier: Apache-2.0
"""Scores of a bundle's findings in cases by LUNA16's rules, and the scores of several folders as one.

:class:`CaseScorer` writes a scored folder. It holds LUNA16's four tables (``submission.csv``, ``annotations.csv``,
``annotations_excluded.csv``, ``seriesuids.csv``), so that ``lungcad score`` gives the same figures, and figures of the
detection alone by the additional column ``detection_score``; ``candidates.json``, the complete findings; and
``metrics.json``. :class:`Collector` is the base of all scorers.
"""

import csv
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from lungcad.atomic import added_files
from lungcad.finding import Finding, centers_of
from lungcad.geometry import to_world
from lungcad.results.nodules_csv import LUNA16_COLUMNS
from lungcad.results.nodules_json import reported_score
from lungcad.scores.detection import score_detection, score_without_nodules
from lungcad.scores.froc import ScoredScan, match_marks
from lungcad.scores.luna16 import ANNOTATION_COLUMNS, read_series, read_spheres
from lungcad.training.cases import Case, Sphere
from lungcad.training.evaluation import read_candidates

logger = logging.getLogger(__name__)


class Collector(ABC):
    """Base of ignite handlers that collect results case by case and write them at the end.

    Args:
        output_dir: folder to write to.
        data: description of the cases, for the figures.
    """

    def __init__(self, output_dir: str, data: str):
        self.folder, self.data = Path(output_dir), data

    def attach(self, engine: Engine) -> None:
        """Add the handler's events to an engine: start, add each case, write."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.add(engine.state.batch, engine.state.output))
        engine.add_event_handler(Events.ITERATION_COMPLETED, _log_progress)
        engine.add_event_handler(Events.COMPLETED, self.write)

    @abstractmethod
    def start(self) -> None:
        """Forget all results."""

    @abstractmethod
    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the results of one case, or of one nodule.

        Args:
            batch: input of the network, with the results of postprocessing.
            output: output of the engine.
        """

    @abstractmethod
    def write(self) -> None:
        """Write all results."""


def _log_progress(engine: Engine) -> None:
    """Log each tenth of the cases or nodules that is done."""
    done, total = engine.state.iteration, engine.state.epoch_length or engine.state.iteration
    if done * 10 // total > (done - 1) * 10 // total:
        logger.info("%d of %d scored", done, total)


class CaseScorer(Collector):
    """Collector of findings, case by case, that writes them and their figures at the end.

    Args:
        output_dir: folder that becomes a scored folder.
        data: description of the cases, for the figures.
    """

    def start(self) -> None:
        """Forget all findings."""
        self.findings: dict[str, list[Finding]] = {}
        self.nodules: dict[str, np.ndarray] = {}
        self.excluded: dict[str, np.ndarray] = {}

    def add(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Add the findings, nodules and ignored lesions of one case."""
        case: Case = batch["case"]
        self.findings[case.name] = batch["findings"]
        self.nodules[case.name] = _spheres_mm(case, case.nodules)
        self.excluded[case.name] = _spheres_mm(case, case.ignored)

    def write(self) -> None:
        """Write the tables, findings and figures of a scored folder."""
        figures = {"data": self.data} | summarise(self.findings, self.nodules, self.excluded)
        entries = {name: [f.as_dict() for f in findings] for name, findings in self.findings.items()}
        marks = [
            [name, *finding["center_lps_mm"], reported_score(finding), finding["detection_score"]]
            for name, found in entries.items() for finding in found
        ]  # fmt: skip
        tables: dict[str, Iterable[Iterable[Any]]] = {
            "submission.csv": [(*LUNA16_COLUMNS, "detection_score"), *marks],
            "annotations.csv": [ANNOTATION_COLUMNS, *_rows(self.nodules)],
            "annotations_excluded.csv": [ANNOTATION_COLUMNS, *_rows(self.excluded)],
            "seriesuids.csv": [[name] for name in self.findings],
        }
        with added_files(self.folder) as folder:
            for file, rows in tables.items():
                with (folder / file).open("w", newline="") as stream:
                    csv.writer(stream).writerows(rows)
            (folder / "candidates.json").write_text(json.dumps(entries))
            (folder / "metrics.json").write_text(json.dumps(figures, indent=2))
        cpm = "-, there is no nodule" if figures["cpm"] is None else f"{figures['cpm']:.3f}"
        logger.info("%s: %d scans, %d of %d nodules found, CPM %s; see metrics.json in %s", self.data,
                    figures["scans"], figures["hits"], figures["nodules"], cpm, self.folder.name)  # fmt: skip


def pooled_figures(folders: Sequence[str | Path]) -> dict[str, Any]:
    """Figures of all scans of several scored folders together; see :func:`summarise`."""
    findings: dict[str, list[Finding]] = {}
    nodules: dict[str, np.ndarray] = {}
    excluded: dict[str, np.ndarray] = {}
    for folder in map(Path, folders):
        series = read_series(folder / "seriesuids.csv")
        nodules |= read_spheres(folder / "annotations.csv", series)[0]
        excluded |= read_spheres(folder / "annotations_excluded.csv", series)[0]
        findings |= read_candidates(folder / "candidates.json")
    return summarise(findings, nodules, excluded)


def summarise(
    findings: Mapping[str, Sequence[Finding]], nodules: Mapping[str, np.ndarray], excluded: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Figures by LUNA16's rules, with 95 % intervals from a bootstrap over scans, as ``lungcad score`` gives them.

    Args:
        findings: findings of each scan, by the scan's name; all of them count.
        nodules, excluded: (N, 4) x, y, z, diameter in mm of nodules and excluded lesions, by the scan's name.

    Returns:
        Figures of :func:`lungcad.scores.detection.score_detection`, and errors of centre and diameter in mm over the
        nodules found. If no scan has a nodule, the figures that need one are None.
    """
    scans, errors = [], []
    for name, found in findings.items():
        scan, error = _scored(found, nodules.get(name, np.zeros((0, 4))), excluded.get(name, np.zeros((0, 4))))
        scans.append(scan)
        errors.append(error)
    if not any(len(scan.best_scores) for scan in scans):
        return score_without_nodules(scans)[0] | _error_figures(np.zeros((0, 2)))
    return score_detection(scans)[0] | _error_figures(np.concatenate(errors))


def _scored(findings: Sequence[Finding], nodules: np.ndarray, excluded: np.ndarray) -> tuple[ScoredScan, np.ndarray]:
    """Scan with its findings matched, and errors (N, 2) of centre and diameter in mm of the nodules found.

    An unknown error is NaN.
    """
    marks = centers_of(findings)
    scores = np.array([f.score for f in findings], dtype=float)
    scan, best = match_marks(nodules, excluded, marks, scores)
    found = best >= 0
    diameters = np.array([f.diameter_mm for f in findings], dtype=float)  # None becomes NaN
    centre = np.linalg.norm(marks[best[found]] - nodules[found, :3], axis=1)
    return scan, np.stack([centre, np.abs(diameters[best[found]] - nodules[found, 3])], axis=1)


def _error_figures(errors: np.ndarray) -> dict[str, float | None]:
    """Median and mean of the errors (N, 2) of centre and diameter, without the unknown ones."""
    figures: dict[str, float | None] = {}
    for name, column in zip(("center", "diameter"), errors.T, strict=True):
        finite = column[np.isfinite(column)]
        figures[f"median_{name}_error_mm"] = float(np.median(finite)) if len(finite) else None
        figures[f"mean_{name}_error_mm"] = float(finite.mean()) if len(finite) else None
    return figures


def _spheres_mm(case: Case, spheres: Sequence[Sphere]) -> np.ndarray:
    """Spheres (N, 4) in mm: x, y, z, diameter."""
    return np.array([[*to_world(case.to_mm, s.index), s.diameter_mm] for s in spheres]).reshape(-1, 4)


def _rows(spheres: Mapping[str, np.ndarray]) -> list[list[Any]]:
    """Rows of a table of annotations: name of the scan, then the sphere."""
    return [[name, *row.tolist()] for name, rows in spheres.items() for row in rows]
