# SPDX-License-Identifier: Apache-2.0
"""Writer of cohort.html: an offline overview of a batch with counts, sizes and probabilities, the worst scans first."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import whole_file
from lungcad.batch.journal import FAILED
from lungcad.batch.summary import Summary
from lungcad.results.nodules_json import reported_entries, reported_score
from lungcad.results.page.environment import page_environment
from lungcad.results.words import shown_size_mm
from lungcad.results.write import folder_name

MAX_ROWS = 1000
"""Largest number of scans in the table; all nodules are in nodules.csv."""
DIAMETERS_MM = (0, 4, 6, 8, 10, 15, 20, 30, 1000)
PROBABILITIES = tuple(np.linspace(0, 1, 11).round(1).tolist())
COUNTS = (0, 1, 2, 3, 4, 6, 11, 10**6)


@dataclass(frozen=True)
class ScanRow:
    """Scan with a result: reported nodules, largest diameter in mm, highest probabilities (None unknown)."""

    uid: str
    link: str
    nodules: int
    diameter_mm: float | None
    probability: float | None
    malignancy: float | None
    warnings: str

    @property
    def key(self) -> tuple[float, ...]:
        """Sort key: the likeliest malignancy first, then the likeliest and largest nodule."""
        return tuple(-1.0 * (value or 0) for value in (self.malignancy, self.probability, self.diameter_mm))


def write_cohort(out: Path, summary: Summary) -> None:
    """Write the page of all scans of a batch, likeliest malignancy first, to ``<out>/cohort.html``."""
    scans, diameters, scores = [], list[float](), list[float]()
    warnings: Counter[str] = Counter()
    for uid in summary.done:
        document = json.loads((out / folder_name(uid) / "nodules.json").read_text(encoding="utf-8"))
        reported = reported_entries(document)
        scans.append(_scan_row(uid, document, reported))
        diameters += [size for entry in reported if (size := shown_size_mm(entry)) is not None]
        scores += [score for entry in reported if (score := reported_score(entry)) is not None]
        warnings.update({notice["code"] for notice in document["warnings"]})
    counts = [scan.nodules for scan in scans]
    text = page_environment("lungcad.batch").get_template("cohort.html.j2").render(
        states=summary.states, codes=summary.codes, total=len(summary.studies), nodules=sum(counts),
        scans=sorted(scans, key=lambda scan: (scan.key, scan.uid))[:MAX_ROWS], shown=min(len(scans), MAX_ROWS),
        charts=[
            ("Reported nodules of a scan", histogram_bars(counts, COUNTS, whole=True), "scans"),
            ("Diameter in mm", histogram_bars(diameters, DIAMETERS_MM), "nodules"),
            ("Probability of being a nodule", histogram_bars(scores, PROBABILITIES), "nodules"),
        ],
        failed=[row for row in summary.rows.values() if row.state == FAILED][:MAX_ROWS],
        warnings=warnings.most_common(),
    )  # fmt: skip
    with whole_file(out / "cohort.html") as part:
        part.write_text(text, encoding="utf-8")


def histogram_bars(
    values: Sequence[float], edges: Sequence[float], whole: bool = False
) -> list[tuple[str, int, float]]:
    """Bars of a histogram: name, number, and share of the longest; the last bin holds its upper edge, too."""
    numbers = np.histogram(values, edges)[0]
    names = []
    for low, high in pairwise(edges):
        last = high - 1 if whole else high
        names.append(f"{low:g}+" if high == edges[-1] > 100 else f"{low:g}" if low == last else f"{low:g} to {last:g}")
    longest = max(1, int(numbers.max()))
    return [(name, int(number), number / longest) for name, number in zip(names, numbers, strict=True)]


def _scan_row(uid: str, document: dict[str, Any], reported: list[dict[str, Any]]) -> ScanRow:
    """Row of a scan."""

    def largest(values: Sequence[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    return ScanRow(
        uid, f"{folder_name(uid)}/report.html", len(reported), largest([shown_size_mm(entry) for entry in reported]),
        largest([reported_score(entry) for entry in reported]),
        largest([entry["malignancy_probability"] for entry in reported]),
        " ".join(sorted({notice["code"] for notice in document["warnings"]})),
    )  # fmt: skip
