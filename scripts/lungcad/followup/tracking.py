# SPDX-License-Identifier: Apache-2.0
"""Tracking UIDs of an exam's findings, as its structured report or an earlier comparison names them."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REPORT_FILE = "nodules.sr.dcm"
TRACKING_ID, TRACKING_UID = "112039", "112040"
"""Codes (DCM) of the tracking identifier and the tracking unique identifier."""


def tracking_uids(results: Path, series_uid: str, comparisons: Iterable[Path] = ()) -> dict[int, str]:
    """Tracking UIDs by the number of the finding.

    Args:
        results: folder of the exam's results, with nodules.sr.dcm of a DICOM series.
        series_uid: public UID of the exam's series.
        comparisons: files comparison.json; those with this exam as the current one carry its nodules' UIDs on, the last
            of them first.

    Returns:
        UIDs by number; empty where no file names any. A file that cannot be read names none.
    """
    found: dict[int, str] = {}
    if (results / REPORT_FILE).is_file():
        found |= _in_report(results / REPORT_FILE)
    for path in comparisons:
        found |= _in_comparison(path, series_uid)
    return found


def _in_report(path: Path) -> dict[int, str]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        report = dcmread(path)
    except (InvalidDicomError, OSError, EOFError):
        return {}
    return {
        int(match[1]): uid
        for name, uid in _tracked(report)
        if (match := re.fullmatch(r"nodule ([0-9]+)", name)) is not None
    }


def _tracked(item: Any) -> Iterator[tuple[str, str]]:
    """Tracking identifier and UID of every group below a content item."""
    children = item.get("ContentSequence", ())
    named = {
        child.ConceptNameCodeSequence[0].CodeValue: child for child in children if "ConceptNameCodeSequence" in child
    }
    if TRACKING_ID in named and TRACKING_UID in named:
        yield str(named[TRACKING_ID].get("TextValue", "")), str(named[TRACKING_UID].get("UID", ""))
    for child in children:
        yield from _tracked(child)


def _in_comparison(path: Path, series_uid: str) -> dict[int, str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["current"]["series_uid"] != series_uid:
            return {}
        lesions = document["lesions"]
        return {
            lesion["current"]["number"]: lesion["tracking_uid"] for lesion in lesions if lesion["current"]["number"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
