# SPDX-License-Identifier: Apache-2.0
"""LUNA16's tables and the rules that its evaluation applies to them (Setio et al. 2017).

At most 100 marks per scan count: where there are more, those strictly above the score of the 101st. Each is compared
with the reference nodules and the irrelevant findings of its scan, whose diameter is 10 mm where the table says -1 (see
:func:`lungcad.scores.froc.match_marks`). The scans are those of the list of series, with or without marks or nodules.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.results.nodules_csv import LUNA16_COLUMNS
from lungcad.scores.froc import ScoredScan, match_marks
from lungcad.tables import Row, each_row, read_names, read_table, refuse_duplicates

MAX_MARKS = 100
"""Largest number of marks per scan that LUNA16's evaluation counts."""

UNKNOWN_DIAMETER_MM = 10.0
"""Diameter in mm of findings with a diameter of -1 in the table."""

ANNOTATION_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
"""Columns of annotations.csv and annotations_excluded.csv."""


@dataclass(frozen=True)
class Marks:
    """Marks of one scan.

    Attributes:
        centers_mm: (K, 3) x, y, z in DICOM LPS mm.
        scores: (K,) scores.
    """

    centers_mm: np.ndarray
    scores: np.ndarray


def read_series(path: str | Path) -> list[str]:
    """Read seriesuids.csv: one UID per line, or a table with a column ``seriesuid``.

    Raises:
        InputError: E-TABLE, the file cannot be read, is empty or names a series twice.
    """
    return [row.cells["seriesuid"] for row in read_names(path, "seriesuid")]


def read_spheres(path: str | Path, series: Sequence[str]) -> tuple[dict[str, np.ndarray], int]:
    """Read annotations.csv or annotations_excluded.csv.

    Args:
        path: table with :data:`ANNOTATION_COLUMNS`; a diameter of -1 mm means unknown, 10 mm.
        series: UIDs of the series to score; rows of other series are left out, as when a fold is scored with the whole
            table.

    Returns:
        (N, 4) x, y, z, diameter in mm by series, and the number of rows that were left out.

    Raises:
        InputError: E-TABLE, the table cannot be read, or a diameter is neither positive nor -1.
    """
    scored, spheres, left_out = set(series), defaultdict(list), 0
    for row in read_table(path, ANNOTATION_COLUMNS).rows:
        *center, diameter = (row.number(column) for column in ANNOTATION_COLUMNS[1:])
        if diameter <= 0 and diameter != -1:
            raise row.refusal(f"diameter_mm is {diameter:g} (expected more than 0, or -1 for unknown)")
        if row.text("seriesuid") in scored:
            spheres[row.cells["seriesuid"]].append([*center, UNKNOWN_DIAMETER_MM if diameter < 0 else diameter])
        else:
            left_out += 1
    return {uid: np.array(rows) for uid, rows in spheres.items()}, left_out


def read_marks(
    path: str | Path, series: Sequence[str], series_map: str | Path | None = None, score: str = LUNA16_COLUMNS[-1],
    ignore_others: bool = False,
) -> tuple[dict[str, Marks], int]:  # fmt: skip
    """Read a submission: ``seriesuid, coordX, coordY, coordZ, probability``, LPS mm; more columns are fine.

    Args:
        path: path of the table; a header alone is a submission without marks.
        series: UIDs of the series to score.
        series_map: table with the columns ``short_id, seriesuid``, where the submission holds short ids.
        score: column that ranks the marks.
        ignore_others: leave out marks of series that are not in ``series``.

    Returns:
        Marks by series, without series that have none, and the number of marks that were left out.

    Raises:
        InputError: E-TABLE, a table cannot be read, a number is not finite or, without ``ignore_others``, a series is
            not in ``series``.
    """
    scored = set(series)
    uid_of = read_series_map(series_map) if series_map else None
    rows, left_out = defaultdict(list), 0
    columns = (*LUNA16_COLUMNS[:-1], score)
    for row in each_row(path, columns):
        name = row.text("seriesuid")
        uid = name if uid_of is None else uid_of.get(name, "")
        if uid not in scored and ignore_others:
            left_out += 1
            continue
        if uid not in scored:
            raise _unknown_series(row, name, mapped=uid_of is not None, listed=bool(uid))
        rows[uid].append([row.number(column) for column in columns[1:]])
    tables = {uid: np.array(numbers) for uid, numbers in rows.items()}
    return {uid: Marks(table[:, :3], table[:, 3]) for uid, table in tables.items()}, left_out


def read_series_map(path: str | Path) -> dict[str, str]:
    """Read a table ``short_id, seriesuid``: UIDs by short id. Raises InputError E-TABLE as :func:`read_series`."""
    rows = read_table(path, ("short_id", "seriesuid")).rows
    refuse_duplicates(rows, "short_id")
    refuse_duplicates(rows, "seriesuid")
    return {row.cells["short_id"]: row.cells["seriesuid"] for row in rows}


def best_marks(marks: Marks, max_marks: int = MAX_MARKS) -> Marks:
    """Select at most ``max_marks`` marks of a scan; 0 keeps all.

    Where there are more, those with a score strictly above that of the first surplus mark are kept, by LUNA16's rule.
    """
    if not max_marks or len(marks.scores) <= max_marks:
        return marks
    kept = marks.scores > np.sort(marks.scores)[::-1][max_marks]
    return Marks(marks.centers_mm[kept], marks.scores[kept])


def score_scans(
    series: Sequence[str],
    nodules: Mapping[str, np.ndarray],
    excluded: Mapping[str, np.ndarray],
    marks: Mapping[str, Marks],
) -> list[ScoredScan]:
    """Match the marks of each series to its nodules, in the order of ``series``.

    Args:
        series: UIDs of the series.
        nodules, excluded: (N, 4) x, y, z, diameter in mm of nodules and of irrelevant findings, by series.
        marks: marks by series.
    """
    no_spheres, no_marks = np.zeros((0, 4)), Marks(np.zeros((0, 3)), np.zeros(0))
    scans = []
    for uid in series:
        found = marks.get(uid, no_marks)
        spheres, ignored = nodules.get(uid, no_spheres), excluded.get(uid, no_spheres)
        scans.append(match_marks(spheres, ignored, found.centers_mm, found.scores)[0])
    return scans


def _unknown_series(row: Row, name: str, mapped: bool, listed: bool) -> InputError:
    """Error for a mark of a series that is not scored, or whose short id is unknown."""
    place = "the list of series" if not mapped or listed else "the series map"
    advice = "Score the scans that the submission is about, or leave the others out with --ignore_other_scans."
    if not mapped and len(name) < 20:
        advice = "Short ids need --series_map with the columns short_id,seriesuid."
    return row.refusal(f"series {name} is not in {place}", advice)
