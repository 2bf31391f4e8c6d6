# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind: nodules.json, nodules.csv, report.html and run.json in a folder named after the series.

The documents are built by pure functions (no clock, no disk); :func:`write_results` writes them, whole or not at all.
"""

import csv
import hashlib
import importlib.metadata
import json
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import replaced_folder
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.geometry import to_index
from lungcad.volume import Volume

SCHEMA_VERSION = "1.0"
"""Of nodules.json, as in schemas/nodules.schema.json; the first number changes when a reader would break."""

LUNA16_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")
"""Header of a LUNA16 submission."""

OUR_COLUMNS = (
    "diameter_mm", "detection_score", "nodule_probability", "malignancy_probability", "volume_mm3", *ATTRIBUTES,
)  # fmt: skip
"""What nodules.csv adds to LUNA16's header."""

_PACKAGES = ("torch", "monai", "numpy", "pydicom")


def write_results(
    output_dir: str | Path,
    volume: Volume,
    findings: Sequence[Finding],
    *,
    thresholds: Mapping[str, float],
    operating_point: str,
    bundles: Mapping[str, str],
    timings: Mapping[str, float],
    device: str,
    weights_sha256: Mapping[str, str],
    inputs: str | Path = "",
    also: Sequence[Callable[[Path, Mapping[str, Any]], None]] = (),
) -> Path:
    """Write the four result files to ``<output_dir>/<folder_name of the series>/``, replacing an earlier result whole.

    Args:
        output_dir: created if needed.
        volume: the scan that was read; gives geometry, UIDs, warnings and the report's pictures.
        findings: in any order; none is a result.
        thresholds: operating point name to the lowest probability that it reports.
        operating_point: the one in use, a key of ``thresholds``.
        bundles: bundle name to version.
        timings: stage name to seconds; the writing's own time is added as ``report``.
        device: as told to the user, such as ``cpu`` or ``cuda:0 (NVIDIA H200)``.
        weights_sha256: bundle name to the SHA-256 of its weights.
        inputs: the path that was read; only its kind is kept, since folders are often named after patients.
        also: further writers (DICOM objects ...), each called with the unfinished folder and what will be nodules.json.

    Returns:
        The result folder.

    Raises:
        InputError: E-OUTPUT, where the folder cannot be written or holds somebody else's files.
        KeyError: ``operating_point`` is not in ``thresholds``.
    """
    from lungcad.results.report import render_report

    start = time.perf_counter()
    ranked = sort_findings(findings)
    document = nodules_document(
        volume, ranked, thresholds=thresholds, operating_point=operating_point, bundles=bundles
    )
    run = run_document(
        volume, inputs=inputs, device=device, bundles=bundles, timings=timings, weights_sha256=weights_sha256
    )
    target = Path(output_dir) / folder_name(volume.series_uid)
    with replaced_folder(target, ours="nodules.json") as folder:
        write_csv(folder / "nodules.csv", volume.series_uid, ranked)
        (folder / "report.html").write_text(render_report(volume, document, run), encoding="utf-8")
        for write in also:
            write(folder, document)
        run["seconds"]["report"] = round(time.perf_counter() - start, 3)
        _write_json(folder / "run.json", run)
        _write_json(folder / "nodules.json", document)
    return target


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Order by nodule probability, then detection score, highest first; unknown comes last."""

    def rank(value: float | None) -> float:
        return np.inf if value is None else -value

    return sorted(findings, key=lambda one: (rank(one.nodule_probability), rank(one.detection_score)))


def reported_score(entry: Mapping[str, Any]) -> float | None:
    """:attr:`~lungcad.finding.Finding.score` of a finding that has become a dict."""
    score: float | None = entry["nodule_probability"]
    return entry["detection_score"] if score is None else score


def nodules_document(
    volume: Volume,
    findings: Sequence[Finding],
    *,
    thresholds: Mapping[str, float],
    operating_point: str,
    bundles: Mapping[str, str],
) -> dict[str, Any]:
    """Build nodules.json (schemas/nodules.schema.json); ids follow the order of ``findings``, unknown is None."""
    entries = [
        {"id": number, **plain(finding.as_dict()), "slice": centre_slice(volume, finding.center_lps_mm)}
        for number, finding in enumerate(findings, start=1)
    ]
    threshold = float(thresholds[operating_point])
    scores = [reported_score(entry) for entry in entries]
    count = sum(score is None or score >= threshold for score in scores)
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": summary(count, threshold, operating_point),
        "series": {
            "series_uid": volume.series_uid,
            "study_uid": volume.study_uid or None,
            "frame_of_reference_uid": volume.frame_of_reference_uid or None,
            "description": volume.description or None,
            "size_vox": list(volume.hu.shape),
            "spacing_mm": plain(list(volume.spacing_mm)),
            "affine_lps_mm": plain(volume.affine.tolist()),
        },
        "operating_point": operating_point,
        "thresholds": plain(dict(thresholds)),
        "findings": entries,
        "warnings": [
            {"code": notice.code, "text": str(notice).removeprefix(notice.code).strip()} for notice in volume.warnings
        ],
        "software": {"lungcad": _version("lungcad"), "bundles": dict(bundles)},
    }


def summary(count: int, threshold: float, operating_point: str) -> str:
    """Tell the result in words; zero is a result."""
    number = "no nodule" if count == 0 else "1 nodule" if count == 1 else f"{count} nodules"
    return f"{number} at or above {threshold:g} ({operating_point})"


def centre_slice(volume: Volume, center_lps_mm: Sequence[float]) -> dict[str, Any]:
    """Find the slice nearest to a point: its index along Z from 0, SOP Instance UID and number (None if unknown)."""
    index = int(np.clip(np.rint(to_index(volume.affine, center_lps_mm)[2]), 0, volume.hu.shape[2] - 1))
    uids, numbers = volume.sop_instance_uids, volume.instance_numbers
    return {
        "index": index,
        "sop_instance_uid": (uids[index] or None) if uids else None,
        "instance_number": numbers[index] if numbers else None,
    }


def run_document(
    volume: Volume,
    *,
    inputs: str | Path,
    device: str,
    bundles: Mapping[str, str],
    timings: Mapping[str, float],
    weights_sha256: Mapping[str, str],
) -> dict[str, Any]:
    """Build run.json: what ran on what, how long. Holds no path and nothing about the patient."""
    from lungcad.reading.volume_file import volume_suffix

    suffix = volume_suffix(inputs)
    kind = f"{suffix} file" if suffix and not volume.sop_instance_uids else "DICOM series"
    return {
        "inputs": {"kind": kind, "series_uid": volume.series_uid, "slices": volume.hu.shape[2]},
        "versions": {"python": platform.python_version(), "lungcad": _version("lungcad")}
        | {name: _version(name) for name in _PACKAGES},
        "bundles": dict(bundles),
        "device": device,
        "seconds": {stage: round(float(seconds), 3) for stage, seconds in timings.items()},
        "weights_sha256": dict(weights_sha256),
    }


def write_csv(path: Path, series_uid: str, findings: Sequence[Finding]) -> None:
    """Write LUNA16's submission columns followed by ours; unknown is an empty cell.

    ``probability`` is the nodule probability, or the detection score where false positive reduction did not run
    (then ``nodule_probability`` is empty).
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*LUNA16_COLUMNS, *OUR_COLUMNS])
        for finding in findings:
            entry = plain(finding.as_dict())
            values = entry | (entry["attributes"] or {})
            own = [values.get(column) for column in OUR_COLUMNS]
            rows.writerow([series_uid, *entry["center_lps_mm"], reported_score(entry), *own])


def folder_name(series_uid: str) -> str:
    """Make a safe folder name: UIDs stay as they are.

    In file names everything unusual becomes ``_``; a checksum then keeps two of them from sharing a folder.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", series_uid).strip("._-")[:120] or "series"
    checksum = hashlib.sha256(series_uid.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return safe if safe == series_uid else f"{safe}_{checksum}"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    numbers_on_one_line = re.sub(r"\[\s+(-?\d[^\[\]{}\"]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    path.write_text(numbers_on_one_line + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Turn NumPy scalars into Python's and round to 1e-6 (a nanometre; keeps files legible)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value


def _version(package: str) -> str | None:
    if package == "lungcad":
        from lungcad import __version__

        return __version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
