# SPDX-License-Identifier: Apache-2.0
"""Writers of comparison.json and comparison.csv."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungcad.followup.category import CONDITION
from lungcad.followup.comparison import Comparison, Lesion
from lungcad.followup.exam import Exam
from lungcad.followup.sides import Side
from lungcad.guidelines import LungRads
from lungcad.printable import printable
from lungcad.results.nodules_csv import text_cell
from lungcad.results.nodules_json import centre_slice, package_version, plain_values, write_json

SCHEMA_VERSION = "1.1"
"""Version of comparison.json, as in results/schemas/comparison.schema.json."""

COLUMNS = (
    "lesion", "status", "prior_number", "current_number", "priorX", "priorY", "priorZ", "currentX", "currentY",
    "currentZ", "prior_mean_mm", "current_mean_mm", "change_mm", "prior_volume_mm3", "current_volume_mm3",
    "change_percent", "error_low_percent", "error_high_percent", "doubling_days", "tracking_uid", "reason",
    "lung_rads_if_screening",
)  # fmt: skip
"""Columns of comparison.csv."""


def write_comparison_json(folder: Path, comparison: Comparison) -> None:
    """Write comparison.json into a folder."""
    write_json(folder / "comparison.json", comparison_document(comparison))


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Document of comparison.json (results/schemas/comparison.schema.json); unknown is None, no date is in it."""
    lesions = enumerate(comparison.lesions, start=1)
    document = {
        "schema_version": SCHEMA_VERSION,
        "summary": comparison.summary,
        "days": comparison.days,
        "prior": _exam(comparison.prior),
        "current": _exam(comparison.current),
        "lung_overlap": comparison.overlap,
        "growth_refused": list(comparison.refusals),
        "lung_rads": _category(comparison.lung_rads),
        "lesions": [{"id": number, **_lesion(comparison, lesion)} for number, lesion in lesions],
        "warnings": [
            {"code": notice.code, "text": str(notice).removeprefix(notice.code).strip()}
            for notice in comparison.notices
        ],
        "software": {
            "lungcad": package_version("lungcad"), "SimpleITK": package_version("SimpleITK"),
            "bundles": dict(comparison.current.result.bundles),
        },
    }  # fmt: skip
    rounded: dict[str, Any] = plain_values(document)
    return rounded


def write_comparison_csv(folder: Path, comparison: Comparison) -> None:
    """Write comparison.csv into a folder, a row for each nodule; unknown values are empty cells."""
    with (folder / "comparison.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for lesion in comparison_document(comparison)["lesions"]:
            rows.writerow([text_cell(value) if isinstance(value, str) else value for value in _row(lesion)])


def _row(lesion: dict[str, Any]) -> list[Any]:
    sides = [lesion["prior"], lesion["current"]]
    sizes = [side["measurement"] or {} for side in sides]
    change = lesion["change"] or {}
    mean, volume = ([size.get(key) for size in sizes] for key in ("mean_diameter_mm", "volume_mm3"))
    return [
        lesion["id"], lesion["status"], *(side["number"] for side in sides), *sides[0]["place_lps_mm"],
        *sides[1]["place_lps_mm"], *mean, change.get("mean_diameter_mm"), *volume, change.get("volume_percent"),
        *(change.get("error_percent") or (None, None)), change.get("doubling_days"), lesion["tracking_uid"],
        lesion["reason"], (lesion["lung_rads"] or {}).get("category"),
    ]  # fmt: skip


def _exam(exam: Exam) -> dict[str, Any]:
    volume, header = exam.volume, exam.header
    return {
        "series_uid": volume.public_uid, "study_uid": volume.study_uid or None,
        "description": printable(volume.description) or None, "size_vox": list(volume.hu.shape),
        "spacing_mm": list(volume.spacing_mm), "thickness_mm": header.thickness_mm, "kernel": header.kernel or None,
        "scanner": header.maker or None, "contrast": header.contrast, "reported": int(exam.reported.sum()),
    }  # fmt: skip


def _lesion(comparison: Comparison, lesion: Lesion) -> dict[str, Any]:
    return {
        "status": lesion.status, "reason": lesion.reason, "tracking_uid": lesion.tracking_uid,
        "prior": _side(comparison.prior, lesion.prior), "current": _side(comparison.current, lesion.current),
        "change": None if lesion.change is None else asdict(lesion.change), "doubts": list(lesion.doubts),
        "lung_rads": _category(lesion.lung_rads),
    }  # fmt: skip


def _category(found: LungRads | None) -> dict[str, Any] | None:
    """Lung-RADS category with its condition and reason."""
    if found is None:
        return None
    return {
        "category": found.category, "condition": CONDITION, "reason": found.reason,
        "recommendation": found.management, "not_computed": list(found.not_computed),
    }  # fmt: skip


def _side(exam: Exam, side: Side) -> dict[str, Any]:
    finding = side.finding
    return {
        "present": finding is not None, "number": side.number, "looked_for": side.looked_for, "scanned": side.scanned,
        "place_lps_mm": list(side.place), "slice": centre_slice(exam.volume, side.place), "likeness": side.likeness,
        "density": side.density, "mass": side.mass,
        "score": finding.score if finding else None, "diameter_mm": finding.diameter_mm if finding else None,
        "measurement": finding.as_dict()["measurement"] if finding else None,
    }  # fmt: skip
