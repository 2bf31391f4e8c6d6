# SPDX-License-Identifier: Apache-2.0
"""Writer of report.html, an offline page with all findings, their positions, probabilities and pictures.

Pixels are embedded PNG; marks are SVG over them whose unit is the millimetre, so a circle of radius
``diameter_mm / 2`` is the true size at any zoom and on paper. No script, no font, no link leaves the file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.results.nodules_json import nodules_document
from lungcad.results.pictures import (
    LUNG_WINDOW_HU,
    PLANES,
    Picture,
    plane_picture,
    projection_picture,
    slice_picture,
)
from lungcad.results.result import Result
from lungcad.results.run_json import run_document
from lungcad.results.words import MALIGNANCY_MEANING, limitations, mentions_malignancy, report_entry
from lungcad.scan.location import side_of_body
from lungcad.volume import Volume

MAX_PICTURED = 12
"""Largest number of findings with pictures; more would make the file slow to open."""


def write_report(folder: Path, result: Result) -> None:
    """Write report.html into a folder."""
    (folder / "report.html").write_text(render_report(result), encoding="utf-8")


def render_report(result: Result) -> str:
    """HTML of the report of a result."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    volume, document, run = result.volume, nodules_document(result), run_document(result)
    threshold = document["thresholds"][document["operating_point"]]
    entries = [report_entry(entry) for entry in document["findings"]]
    above = [
        entry | {"side": side_of_body(volume, entry["center_lps_mm"])}
        for entry in entries
        if entry["score"] is None or entry["score"] >= threshold
    ]
    below = [entry for entry in entries if entry["score"] is not None and entry["score"] < threshold]
    environment = Environment(
        loader=PackageLoader("lungcad.results"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "coordinates": _coordinates}
    return environment.get_template("report.html.j2").render(
        document=document, run=run, threshold=threshold, above=above, below=below, max_pictured=MAX_PICTURED,
        cards=[entry | {"panels": _panels(volume, entry)} for entry in above[:MAX_PICTURED]],
        overview=_overview(volume, above), window=LUNG_WINDOW_HU, limitations=limitations(above),
        graded=mentions_malignancy(entries, document["software"]["bundles"]), malignancy_meaning=MALIGNANCY_MEANING,
    )  # fmt: skip


def _panels(volume: Volume, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Panels of a finding: the whole slice and three planes, each a picture with the marks drawn over it."""
    center, diameter = entry["center_lps_mm"], entry["diameter_mm"]
    width = float(10 * np.ceil(max(50.0, 2.2 * (diameter or 0)) / 10))
    index, number = entry["slice"]["index"], entry["slice"]["instance_number"]
    overview = slice_picture(volume, center)
    panels = [
        _panel(f"Slice {index + 1} of {volume.hu.shape[2]}", overview.picture, "RLAP", bar_mm=50)
        | {"mark": overview.position_mm(center), "frame": width, "where": "" if number is None else f"image {number}"}
    ]
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        picture = plane_picture(volume, center, plane, width)
        panel = _panel(plane.capitalize(), picture, PLANES[plane][2], bar_mm=10)
        panel |= {"mark": (width / 2, width / 2), "radius": diameter and diameter / 2}
        panels.append(panel | {"where": f"{'xyz'[axis]} {_number(center[axis])} mm"})
    return panels


def _panel(name: str, picture: Picture, letters: str, *, bar_mm: int) -> dict[str, Any]:
    """Panel with a picture, the letters at its edges and a scale bar."""
    return {
        "name": name, "uri": picture.data_uri(), "width": picture.width_mm, "height": picture.height_mm,
        "letters": letters, "bar": bar_mm,
    }  # fmt: skip


def _overview(volume: Volume, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Panels of the two projections with a numbered ring around every finding at or above the threshold."""
    result = []
    for axis, name, letters in ((0, "Frontal", "RLHF"), (1, "Lateral", "APHF")):
        view = projection_picture(volume, axis)
        radii = [max(5.0, (entry["diameter_mm"] or 0) / 2) for entry in entries]
        rings = [(*view.position_mm(e["center_lps_mm"]), radius) for e, radius in zip(entries, radii, strict=True)]
        marks = [
            {"id": entry["id"], "x": x, "y": y, "radius": radius, "label": label}
            for entry, (x, y, radius), label in zip(entries, rings, _label_positions(rings), strict=True)
        ]
        result.append(_panel(name, view.picture, letters, bar_mm=50) | {"marks": marks})
    return result


def _label_positions(rings: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Position of each ring's number: the corner of the ring (x, y, radius) farthest from other rings and numbers."""
    centers = [(x, y) for x, y, _ in rings]
    positions: list[tuple[float, float]] = []
    for number, (x, y, radius) in enumerate(rings):
        offset = 0.7 * radius + 6
        corners = [(x + dx, y + dy) for dy in (-offset, offset) for dx in (offset, -offset)]
        others = np.array([[np.inf, np.inf], *centers[:number], *centers[number + 1 :], *positions])
        free = [min(25.0, float(np.linalg.norm(others - corner, axis=1).min())) for corner in corners]  # 25 mm will do
        positions.append(corners[int(np.argmax(free))])
    return positions


def _number(value: float | None, digits: int = 1) -> str:
    """Text of a number with a typographic minus sign; a dash if it is unknown."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _coordinates(center_lps_mm: Sequence[float]) -> str:
    """Text of a point's coordinates."""
    return ", ".join(_number(value) for value in center_lps_mm)
