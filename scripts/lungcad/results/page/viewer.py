# SPDX-License-Identifier: Apache-2.0
"""Data of the page's slice viewer (templates/viewer.js): slices of a stack, and marks of findings on them."""

import base64
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from lungcad.finding import Finding
from lungcad.geometry import to_world
from lungcad.results.page.outline import axis_line, mask_outline
from lungcad.results.page.pictures import LUNG_WINDOW_HU, SOFT_WINDOW_HU
from lungcad.results.page.stack import GREY_KNOTS, HU_KNOTS, SliceStack


def viewer_data(
    stack: SliceStack, count: int, entries: Sequence[Mapping[str, Any]], findings: Sequence[Finding],
    reported: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """Data of the viewer for JSON.

    Args:
        stack: slices.
        count: number of slices of the scan.
        entries: findings to mark, as in nodules.json.
        findings: all findings; the one with id n is number n - 1.
        reported: ids that are marked always; others only when chosen.
    """
    return {
        "columns": stack.columns, "rows": stack.rows, "width": round(stack.width_mm, 3),
        "height": round(stack.height_mm, 3), "step": round(stack.step_mm, 4), "count": count,
        "slices": [index + 1 for index in stack.slices], "images": stack.images,
        "z": [round(z, 1) for z in stack.z_mm],
        "hu": HU_KNOTS, "grey": GREY_KNOTS, "windows": {"lung": LUNG_WINDOW_HU, "soft": SOFT_WINDOW_HU},
        "marks": [_mark(stack, entry, findings[entry["id"] - 1], entry["id"] in reported) for entry in entries],
        "pixels": [base64.b64encode(jpeg).decode() for jpeg in stack.jpegs],
    }  # fmt: skip


def _mark(stack: SliceStack, entry: Mapping[str, Any], finding: Finding, reported: bool) -> dict[str, Any]:
    """Mark of a finding: place and radius in mm, its level in the stack, and outlines and axes by slice."""
    x, y, level = stack.position(entry["center_lps_mm"])
    radius = entry["diameter_mm"] and round(entry["diameter_mm"] / 2, 2)
    mark = {"id": entry["id"], "x": round(x, 2), "y": round(y, 2), "level": round(level, 3), "radius": radius}
    return mark | {"reported": reported, "paths": _paths(stack, finding) if reported else {}}


def _paths(stack: SliceStack, finding: Finding) -> dict[int, str]:
    """Paths of mask and axes by the number of the slice in the stack."""
    right, down = (stack.affine[:3, axis] / np.linalg.norm(stack.affine[:3, axis]) for axis in (0, 1))
    paths: dict[int, str] = {}
    if (grid := finding.mask) is not None:
        corners = to_world(grid.affine, np.array(list(product(*((0, size) for size in grid.mask.shape)))) - 0.5)
        levels = [stack.position(corner)[2] for corner in corners.tolist()]
        for number in range(max(0, int(min(levels))), min(len(stack.jpegs), int(max(levels)) + 2)):
            if path := mask_outline(grid, stack.corner_lps_mm(number), right, down):
                paths[number] = path
    if finding.measurement is not None and (long := finding.measurement.long_axis_lps_mm) is not None:
        level = stack.position(np.mean(long, axis=0).tolist())[2]
        number = int(np.clip(np.rint(level), 0, len(stack.jpegs) - 1))
        corner = stack.corner_lps_mm(number)
        axes = (long, finding.measurement.short_axis_lps_mm)
        paths[number] = paths.get(number, "") + "".join(axis_line(ends, corner, right, down) for ends in axes)
    return paths
