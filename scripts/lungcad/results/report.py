# SPDX-License-Identifier: Apache-2.0
"""One offline HTML file to look at: what was found, where, and how sure.

Pixels are embedded PNG; marks are SVG over them whose unit is the millimetre, so a circle of radius
``diameter_mm / 2`` is the true size at any zoom and on paper. No script, no font, no link leaves the file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungcad.geometry import to_index
from lungcad.results.pictures import (
    LUNG_WINDOW_HU,
    PLANES,
    Picture,
    nearest_lps_order,
    plane_picture,
    projection_picture,
    slice_picture,
)
from lungcad.results.words import MALIGNANCY_MEANING, characterised, described, limitations
from lungcad.volume import Volume

MAX_PICTURED = 12
"""Findings with pictures; more would make the file slow to open."""


def render_report(volume: Volume, document: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Render report.html.

    Args:
        volume: the scan, for the pictures.
        document: nodules.json as built by :func:`lungcad.results.documents.nodules_document`.
        run: run.json as built by :func:`lungcad.results.documents.run_document`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

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


def side_of_body(volume: Volume, center_lps_mm: Sequence[float]) -> str | None:
    """Return the patient's side, ``right`` or ``left``, of a point more than 30 mm off the body's middle, else None.

    The middle is that of the body's outline in the point's slice; near it, words would claim more than is known.
    """
    hu, affine = nearest_lps_order(volume)
    index = to_index(affine, center_lps_mm)
    level = int(np.clip(np.rint(index[2]), 0, hu.shape[2] - 1))
    body = (hu[:, :, level] > -300).sum(axis=1)
    columns = np.flatnonzero(body > 0.25 * body.max())  # leaves out a table's edge and a thin blanket
    if columns.size == 0:
        return None
    off_mm = (index[0] - (columns[0] + columns[-1]) / 2) * np.linalg.norm(affine[:3, 0])
    return None if abs(off_mm) < 30 else "left" if off_mm > 0 else "right"


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
