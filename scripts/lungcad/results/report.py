# SPDX-License-Identifier: Apache-2.0
"""One offline HTML file to look at: what was found, where, and how sure.

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
from lungcad.results.words import MALIGNANCY_MEANING, characterised, described, limitations
from lungcad.scan.location import side_of_body
from lungcad.volume import Volume

MAX_PICTURED = 12
"""Findings with pictures; more would make the file slow to open."""


def write_report(folder: Path, result: Result) -> None:
    """Write report.html into a folder."""
    (folder / "report.html").write_text(render_report(result), encoding="utf-8")


def render_report(result: Result) -> str:
    """Render report.html of a result."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    volume, document, run = result.volume, nodules_document(result), run_document(result)
    threshold = document["thresholds"][document["operating_point"]]
    entries = [described(entry) for entry in document["findings"]]
    above = [
        one | {"side": side_of_body(volume, one["center_lps_mm"])}
        for one in entries
        if one["score"] is None or one["score"] >= threshold
    ]
    below = [one for one in entries if one["score"] is not None and one["score"] < threshold]
    environment = Environment(
        loader=PackageLoader("lungcad.results"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "place": _place}
    return environment.get_template("report.html.j2").render(
        document=document, run=run, threshold=threshold, above=above, below=below, max_pictured=MAX_PICTURED,
        cards=[one | {"panels": _panels(volume, one)} for one in above[:MAX_PICTURED]],
        overview=_overview(volume, above), window=LUNG_WINDOW_HU, limitations=limitations(above),
        graded=characterised(entries, document["software"]["bundles"]), malignancy_meaning=MALIGNANCY_MEANING,
    )  # fmt: skip


def _panels(volume: Volume, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Build the whole slice and three planes through the finding, each a picture with what is drawn over it."""
    center, diameter = entry["center_lps_mm"], entry["diameter_mm"]
    width = float(10 * np.ceil(max(50.0, 2.2 * (diameter or 0)) / 10))
    where, number = entry["slice"], entry["slice"]["instance_number"]
    whole = slice_picture(volume, center)
    panels = [
        _panel(f"Slice {where['index'] + 1} of {volume.hu.shape[2]}", whole.picture, "RLAP", bar_mm=50)
        | {"mark": whole.place(center), "frame": width, "where": "" if number is None else f"image {number}"}
    ]
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        picture = plane_picture(volume, center, plane, width)
        panel = _panel(plane.capitalize(), picture, PLANES[plane][2], bar_mm=10)
        panel |= {"mark": (width / 2, width / 2), "radius": diameter and diameter / 2}
        panels.append(panel | {"where": f"{'xyz'[axis]} {_number(center[axis])} mm"})
    return panels


def _panel(name: str, picture: Picture, letters: str, *, bar_mm: int) -> dict[str, Any]:
    return {
        "name": name, "uri": picture.data_uri(), "width": picture.width_mm, "height": picture.height_mm,
        "letters": letters, "bar": bar_mm,
    }  # fmt: skip


def _overview(volume: Volume, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Build the two projections with a numbered ring around every finding at or above the threshold."""
    result = []
    for axis, name, letters in ((0, "Frontal", "RLHF"), (1, "Lateral", "APHF")):
        view = projection_picture(volume, axis)
        rings = [(*view.place(one["center_lps_mm"]), max(5.0, (one["diameter_mm"] or 0) / 2)) for one in entries]
        marks = [
            {"id": one["id"], "x": x, "y": y, "radius": radius, "label": label}
            for one, (x, y, radius), label in zip(entries, rings, _label_places(rings), strict=True)
        ]
        result.append(_panel(name, view.picture, letters, bar_mm=50) | {"marks": marks})
    return result


def _label_places(rings: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Choose for each ring (x, y, radius) one of its four corners for the number, far from other rings and numbers."""
    centers = [(x, y) for x, y, _ in rings]
    places: list[tuple[float, float]] = []
    for own, (x, y, radius) in enumerate(rings):
        reach = 0.7 * radius + 6
        corners = [(x + reach, y - reach), (x - reach, y - reach), (x + reach, y + reach), (x - reach, y + reach)]
        others = np.array([[np.inf, np.inf], *centers[:own], *centers[own + 1 :], *places])
        free = [min(25.0, float(np.linalg.norm(others - corner, axis=1).min())) for corner in corners]  # 25 mm will do
        places.append(corners[int(np.argmax(free))])
    return places


def _number(value: float | None, digits: int = 1) -> str:
    """Write a number with a real minus sign; unknown is a dash."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _place(center_lps_mm: Sequence[float]) -> str:
    return ", ".join(_number(value) for value in center_lps_mm)
