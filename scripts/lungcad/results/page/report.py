# SPDX-License-Identifier: Apache-2.0
"""Writer of report.html, an offline page: findings with their numbers and pictures, and all slices over the lungs.

Pictures are embedded PNG, slices JPEG; marks are SVG over them with millimetres as unit, so a circle of radius
``diameter_mm / 2`` is the true size at any zoom and on paper. Nothing is loaded from elsewhere; the page's own scripts
are the only ones that its content security policy lets run, and without them all but the slices is there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.results.nodules_json import nodules_document
from lungcad.results.page.environment import page_environment
from lungcad.results.page.panels import overview, panels
from lungcad.results.page.pictures import LUNG_WINDOW_HU
from lungcad.results.page.stack import slice_stack
from lungcad.results.page.viewer import viewer_data
from lungcad.results.proposals.plain_words import open_questions
from lungcad.results.result import Result
from lungcad.results.ris_text import condition, finding_categories, place_text, ris_text
from lungcad.results.run_json import run_document
from lungcad.results.words import (
    MALIGNANCY_MEANING,
    limitations,
    mentions_malignancy,
    report_entry,
    shown_mean_mm,
    shown_size_mm,
)
from lungcad.scan.location import side_of_body

MAX_PICTURED = 12
"""Largest number of findings with pictures; more would make the file slow to open."""
MAX_BELOW = 100
"""Largest number of candidates below the operating point that the page lists."""


def write_report(folder: Path, result: Result) -> None:
    """Write report.html into a folder."""
    (folder / "report.html").write_text(render_report(result), encoding="utf-8")


def render_report(result: Result, prior: Mapping[int, str] | None = None) -> str:
    """HTML of the report of a result.

    Args:
        result: result to show.
        prior: text on a finding in the prior CT by its id, for a column of the table; None for no such column.
    """
    volume, document, run = result.volume, nodules_document(result), run_document(result)
    threshold = document["thresholds"][document["operating_point"]]
    entries, ids = [report_entry(entry) for entry in document["findings"]], {number for number, _ in result.numbered}
    above = [_with_place(result, entry) for entry in entries if entry["id"] in ids]
    below = [entry for entry in entries if entry["id"] not in ids]
    masks = [finding.mask for finding in result.findings]
    environment = page_environment()
    environment.filters |= {"mean_mm": shown_mean_mm, "open_questions": open_questions}
    return environment.get_template("report.html.j2").render(
        document=document, run=run, threshold=threshold, above=above, below=below, prior=prior,
        max_pictured=MAX_PICTURED, max_below=MAX_BELOW,
        cards=[entry | {"panels": panels(volume, entry, masks[entry["id"] - 1])} for entry in above[:MAX_PICTURED]],
        overview=overview(volume, above), window=LUNG_WINDOW_HU, limitations=limitations(above),
        graded=mentions_malignancy(entries, document["software"]["bundles"]), malignancy_meaning=MALIGNANCY_MEANING,
        measured=any(entry["measurement"] for entry in above), ris_text=ris_text(document, above),
        condition=document["assessment"] and condition(document["assessment"]),
        categories=finding_categories(document["assessment"]),
        slices=_slices(result, above, below[:MAX_BELOW]),
        viewer_entries=[{"id": entry["id"], "text": _short(entry)} for entry in above],
    )  # fmt: skip


def _with_place(result: Result, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Entry with the ``side`` of the body and its ``place`` in words."""
    side = (entry["location"] or {}).get("side") or side_of_body(result.volume, entry["center_lps_mm"])
    return {**entry, "side": side, "place": place_text({**entry, "side": side})}


def _short(entry: Mapping[str, Any]) -> str:
    """Size and place of a finding for the viewer's list."""
    size = shown_size_mm(entry)
    return ", ".join(filter(None, ("size unknown" if size is None else f"{size:.1f} mm", entry["place"])))


def _slices(result: Result, above: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Data of the slice viewer."""
    stack = slice_stack(result.volume, result.lungs, [entry["center_lps_mm"] for entry in above])
    return viewer_data(
        stack, result.volume.hu.shape[2], [*above, *below], result.findings, [entry["id"] for entry in above]
    )  # fmt: skip
