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
from lungcad.measurement import Location
from lungcad.printable import printable
from lungcad.results.nodules_csv import text_cell
from lungcad.results.nodules_json import centre_slice, package_version, plain_values, write_json
from lungcad.results.words import shown_mean_mm
from lungcad.scan.location import side_of_body

SCHEMA_VERSION = "1.2"
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
        "lung_rads": _category(comparison.lung_rads, comparison.management),
        "lesions": [{"id": number, **_lesion(comparison, lesion)} for number, lesion in lesions],
        "warnings": [notice.as_dict() for notice in comparison.notices],
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
    mean, volume = [shown_mean_mm(size) if size else None for size in sizes], [size.get("volume_mm3") for size in sizes]
    places = [side["place_lps_mm"] if is_known(side) else [None] * 3 for side in sides]
    return [
        lesion["id"], lesion["status"], *(side["number"] for side in sides), *places[0], *places[1], *mean,
        change.get("mean_diameter_mm"), *volume, change.get("volume_percent"),
        *(change.get("error_percent") or (None, None)), change.get("doubling_days"), lesion["tracking_uid"],
        lesion["reason"], (lesion["lung_rads"] or {}).get("category"),
    ]  # fmt: skip


def _exam(exam: Exam) -> dict[str, Any]:
    volume, header = exam.volume, exam.header
    return {
        "series_uid": volume.public_uid, "study_uid": volume.study_uid or None,
        "description": printable(volume.description) or None, "size_vox": list(volume.hu.shape),
        "spacing_mm": list(volume.spacing_mm), "thickness_mm": header.thickness_mm, "kernel": header.kernel or None,
        "scanner": header.maker or None, "contrast": header.contrast, "reported": len(exam.result.reported),
    }  # fmt: skip


def _lesion(comparison: Comparison, lesion: Lesion) -> dict[str, Any]:
    return {
        "status": lesion.status, "reason": lesion.reason, "tracking_uid": lesion.tracking_uid,
        "prior": _side(comparison.prior, lesion.prior), "current": _side(comparison.current, lesion.current),
        "change": None if lesion.change is None else asdict(lesion.change), "doubts": list(lesion.doubts),
        "lung_rads": _category(lesion.lung_rads, lesion.lung_rads.management if lesion.lung_rads else ""),
    }  # fmt: skip


def _category(found: LungRads | None, management: str) -> dict[str, Any] | None:
    """Lung-RADS category with its condition, reason and management."""
    if found is None:
        return None
    return {
        "category": found.category, "condition": CONDITION, "reason": found.reason,
        "recommendation": management, "assumed": list(found.assumed), "not_computed": list(found.not_computed),
    }  # fmt: skip


def _side(exam: Exam, side: Side) -> dict[str, Any]:
    finding = side.finding
    return {
        "present": finding is not None, "number": side.number, "looked_for": side.looked_for, "scanned": side.scanned,
        "place_lps_mm": list(side.place), "slice": centre_slice(exam.volume, side.place), "likeness": side.likeness,
        "density": side.density, "mass": side.mass,
        "score": finding.score if finding else None, "diameter_mm": finding.diameter_mm if finding else None,
        "measurement": finding.as_dict()["measurement"] if finding else None,
        "location": _location(exam, side) if side.is_known else None,
    }  # fmt: skip


def is_known(side: dict[str, Any]) -> bool:
    """Whether the place of a side is sure enough to be shown, see :attr:`lungcad.followup.sides.Side.is_known`."""
    return side["present"] or side["likeness"] is not None


def _location(exam: Exam, side: Side) -> dict[str, Any]:
    """Location of a nodule; of one that has none the side of the body."""
    known = side.finding.location if side.finding else None
    location = known or Location(side_of_body(exam.volume, side.place))
    return asdict(location)
