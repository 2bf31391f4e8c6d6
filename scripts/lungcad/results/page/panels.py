# SPDX-License-Identifier: Apache-2.0
"""Panels of the report: pictures with the marks that the page draws over them, in millimetres."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungcad.finding import FindingMask
from lungcad.results.page.environment import number_text
from lungcad.results.page.outline import axis_line, mask_outline
from lungcad.results.page.pictures import PLANES, Picture, plane_picture, projection_picture, slice_picture
from lungcad.volume import Volume


def panels(volume: Volume, entry: Mapping[str, Any], mask: FindingMask | None) -> list[dict[str, Any]]:
    """Panels of a finding: the whole slice, and three planes with the outline of its mask, or else its circle.

    Planes go through the finding's centre, the axial one of a measured finding through its axes.
    """
    center, diameter = entry["center_lps_mm"], entry["diameter_mm"]
    width = float(10 * np.ceil(max(50.0, 2.2 * (diameter or 0)) / 10))
    index, number = entry["slice"]["index"], entry["slice"]["instance_number"]
    whole = slice_picture(volume, center)
    found = [
        _panel(f"Slice {index + 1} of {volume.hu.shape[2]}", whole.picture, "RLAP", bar_mm=50)
        | {"mark": whole.position_mm(center), "frame": width, "where": "" if number is None else f"image {number}"}
    ]
    axes = entry["measurement"] or {}
    long, short = (axes.get(f"{name}_axis_lps_mm") for name in ("long", "short"))
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        point = list(center)
        if axis == 2 and long is not None:
            point[2] = (long[0][2] + long[1][2]) / 2
        picture = plane_picture(volume, point, plane, width)
        right, down, letters = PLANES[plane]
        corner = np.asarray(point) - (np.array(right) + down) * width / 2
        panel = _panel(plane.capitalize(), picture, letters, bar_mm=10)
        panel |= {"mark": (width / 2, width / 2), "radius": diameter and diameter / 2}
        panel["outline"] = "" if mask is None else mask_outline(mask, corner, right, down)
        panel["axes"] = "" if axis != 2 else "".join(axis_line(ends, corner, right, down) for ends in (long, short))
        found.append(panel | {"where": f"{'xyz'[axis]} {number_text(point[axis])} mm"})
    return found


def _panel(name: str, picture: Picture, letters: str, *, bar_mm: int) -> dict[str, Any]:
    """Panel with a picture, the letters at its edges and a scale bar."""
    return {
        "name": name, "uri": picture.data_uri(), "width": picture.width_mm, "height": picture.height_mm,
        "letters": letters, "bar": bar_mm,
    }  # fmt: skip


def overview(volume: Volume, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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
