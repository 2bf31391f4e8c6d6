# SPDX-License-Identifier: Apache-2.0
"""Writer of nodules.json: series, thresholds, findings with their slices, warnings and versions of one result."""

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.geometry import to_index
from lungcad.printable import printable
from lungcad.results.proposals.assessment import assess
from lungcad.results.result import Result, is_reported
from lungcad.volume import Volume

SCHEMA_VERSION = "1.3"
"""Version of nodules.json, as in schemas/nodules.schema.json; the first number changes when a reader would break."""


def write_nodules_json(folder: Path, result: Result) -> None:
    """Write nodules.json into a folder."""
    write_json(folder / "nodules.json", nodules_document(result))


def nodules_document(result: Result) -> dict[str, Any]:
    """Document of nodules.json (schemas/nodules.schema.json); ids follow the findings' order, unknown is None."""
    volume, assessment = result.volume, assess(result)
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": result.summary,
        "series": {
            "series_uid": volume.public_uid,
            "study_uid": volume.study_uid or None,
            "frame_of_reference_uid": volume.frame_of_reference_uid or None,
            "description": printable(volume.description) or None,
            "size_vox": list(volume.hu.shape),
            "spacing_mm": plain_values(list(volume.spacing_mm)),
            "affine_lps_mm": plain_values(volume.affine.tolist()),
        },
        "operating_point": result.operating_point,
        "thresholds": plain_values(dict(result.thresholds)),
        "findings": [
            {"id": number, **plain_values(finding.as_dict()), "slice": centre_slice(volume, finding.center_lps_mm)}
            for number, finding in enumerate(result.findings, start=1)
        ],
        "assessment": assessment and plain_values(asdict(assessment)),
        "warnings": [notice.as_dict() for notice in volume.warnings],
        "software": {"lungcad": package_version("lungcad"), "bundles": dict(result.bundles)},
    }


def reported_score(entry: Mapping[str, Any]) -> float | None:
    """Score with which an entry of nodules.json is reported, as :attr:`lungcad.finding.Finding.score`."""
    score: float | None = entry["nodule_probability"]
    return entry["detection_score"] if score is None else score


def reported_entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of nodules.json that are reported, as :attr:`lungcad.results.result.Result.reported`."""
    threshold = document["thresholds"][document["operating_point"]]
    return [entry for entry in document["findings"] if is_reported(reported_score(entry), threshold)]


def centre_slice(volume: Volume, center_lps_mm: Sequence[float]) -> dict[str, Any]:
    """Slice nearest to a point: its index along Z from 0, SOP Instance UID and InstanceNumber (None if unknown)."""
    index = int(np.clip(np.rint(to_index(volume.affine, center_lps_mm)[2]), 0, volume.hu.shape[2] - 1))
    uids, numbers = volume.sop_instance_uids, volume.instance_numbers
    return {
        "index": index,
        "sop_instance_uid": (uids[index] or None) if uids else None,
        "instance_number": numbers[index] if numbers else None,
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write indented JSON with rows of numbers on one line; raises ValueError for NaN and infinity."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    numbers_on_one_line = re.sub(r"\[\s+(-?\d[^\[\]{}\"]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    path.write_text(numbers_on_one_line + "\n", encoding="utf-8")


def plain_values(value: Any) -> Any:
    """Convert NumPy scalars to Python's and round to 1e-6 (a nanometre), which keeps files legible."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value


def package_version(package: str) -> str | None:
    """Version of a package; None if it is not installed."""
    if package == "lungcad":
        from lungcad import __version__

        return __version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
