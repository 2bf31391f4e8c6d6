# SPDX-License-Identifier: Apache-2.0
"""Candidates from a file: our nodules.json and nodules.csv, and LUNA16's candidate and annotation tables."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.printable import file_label, printable
from lungcad.results.nodules_csv import text_cell

_COORDINATES = ("coordX", "coordY", "coordZ")
_NUMBERS = ("diameter_mm", "detection_score", "nodule_probability", "malignancy_probability", "volume_mm3")


def read_findings(path: str | Path, *series_uids: str) -> list[Finding]:
    """Read a list of findings for ``--candidates``.

    Args:
        path: path of nodules.json (or of a JSON list of findings), or of a CSV with ``coordX, coordY, coordZ`` (LPS mm)
            and any of our other columns. In a foreign CSV ``probability`` becomes the detection score.
        *series_uids: names of the only series to keep, since a CSV may hold many; without any, all are kept.

    Returns:
        Findings in the file's order; an empty list if the file says that there are none.

    Raises:
        InputError: E-CANDIDATES, no such file, not JSON or CSV, missing columns, a value that is no finite number,
            or rows for other series only.
    """
    path = Path(path)
    if not path.is_file():
        raise _refusal(path, "no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            entries = _from_json(path, json.load(file)) if path.suffix == ".json" else _from_csv(path, file)
    except (ValueError, RecursionError, csv.Error) as error:  # also numbers and brackets without end
        raise _refusal(path, f"not readable: {printable(error, 120)}") from error
    findings = [(_finding(path, number, entry), entry.get("seriesuid")) for number, entry in enumerate(entries, 1)]
    accepted = {None, "", *series_uids, *map(text_cell, series_uids)}
    kept = [finding for finding, uid in findings if not series_uids or uid in accepted]
    if findings and not kept:
        raise _refusal(path, f"{len(findings)} findings, all of other series (expected series {series_uids[-1]})")
    return kept


def _from_json(path: Path, document: Any) -> list[dict[str, Any]]:
    """Entries of a JSON document, each with its ``seriesuid``."""
    entries = document.get("findings") if isinstance(document, dict) else document
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _refusal(path, "no list of findings")
    series = document.get("series") if isinstance(document, dict) else None
    uid = series.get("series_uid") if isinstance(series, dict) else None
    return [{"seriesuid": uid} | entry for entry in entries]


def _from_csv(path: Path, lines: Iterable[str]) -> list[dict[str, Any]]:
    """Entries of a CSV file, one per row."""
    rows = csv.DictReader(lines)
    columns = rows.fieldnames or []
    missing = [column for column in _COORDINATES if column not in columns]
    if missing and ";" in "".join(columns):
        raise _refusal(path, "cells are separated by ; (expected commas, and decimal points)")
    if missing:
        raise _refusal(path, f"column {', '.join(missing)} missing: got {', '.join(columns) or 'an empty file'}")
    foreign = "nodule_probability" not in columns and "detection_score" not in columns
    return [_csv_entry(row, foreign) for row in rows]


def _csv_entry(row: Mapping[str, str | None], foreign: bool) -> dict[str, Any]:
    """Entry of a CSV row; in a ``foreign`` table ``probability`` is the detection score."""
    entry: dict[str, Any] = {name: row.get(name) or None for name in ("seriesuid", *_NUMBERS)}
    entry["center_lps_mm"] = [row[name] for name in _COORDINATES]
    entry["attributes"] = {name: row[name] for name in ATTRIBUTES if row.get(name)} or None
    if foreign:
        entry["detection_score"] = row.get("probability") or None
    return entry


def _finding(path: Path, number: int, entry: dict[str, Any]) -> Finding:
    """Finding from an entry; raises InputError E-CANDIDATES if a value is no finite number."""

    def finite(name: str, value: Any) -> float:
        try:
            result = float(value)
        except (TypeError, ValueError, OverflowError):
            result = math.nan
        if not math.isfinite(result):
            raise _refusal(path, f"finding {number}: {name} is {_shown(value)} (expected a finite number)")
        return result

    center = entry.get("center_lps_mm")
    if not isinstance(center, list | tuple) or len(center) != 3:
        raise _refusal(path, f"finding {number}: center_lps_mm is {_shown(center)} (expected three numbers)")
    values: dict[str, Any] = {name: None if entry.get(name) is None else finite(name, entry[name]) for name in _NUMBERS}
    if values["diameter_mm"] is not None and values["diameter_mm"] <= 0:
        raise _refusal(path, f"finding {number}: diameter_mm is {values['diameter_mm']:g} (expected more than 0)")
    attributes = entry.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        raise _refusal(path, f"finding {number}: attributes is {_shown(attributes)} (expected names with scores)")
    values["attributes"] = attributes and {name: finite(name, value) for name, value in attributes.items()}
    values["center_lps_mm"] = [finite("center_lps_mm", value) for value in center]
    return Finding.from_dict(values)


def _shown(value: Any) -> str:
    """Value for a message; Python refuses to write numbers of thousands of digits."""
    try:
        return printable(repr(value), 80)
    except ValueError:
        return "a number of thousands of digits"


def _refusal(path: Path, what: str) -> InputError:
    advice = "Give nodules.json, or a CSV with the columns seriesuid,coordX,coordY,coordZ in LPS mm."
    return InputError("E-CANDIDATES", f"{file_label(path.name)}: {what}.", advice)
