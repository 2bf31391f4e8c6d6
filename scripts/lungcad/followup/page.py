# SPDX-License-Identifier: Apache-2.0
"""Writer of comparison.html: both scans of every nodule side by side, scrolled together, in one offline file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.followup.comparison import Comparison, Lesion
from lungcad.followup.documents import comparison_document, is_known
from lungcad.followup.exam import Exam
from lungcad.followup.growth import mean_mm
from lungcad.followup.sides import Side
from lungcad.followup.text import comparison_text
from lungcad.geometry import to_index
from lungcad.results.page.environment import page_environment
from lungcad.results.page.pictures import Picture, window_to_grey
from lungcad.results.proposals.plain_words import open_questions
from lungcad.results.words import shown_mean_mm
from lungcad.volume import Volume

MAX_PICTURED = 12
"""Largest number of nodules with pictures; more would make the file slow to open."""
SLICES = 11
"""Number of planes of a stack; the middle one holds the nodule's centre."""
PIXEL_MM = 0.6
MAX_PIXELS = 96
"""Largest number of pixels along an edge of a picture."""
LEAST_WIDTH_MM = 42.0


def write_comparison_page(folder: Path, comparison: Comparison) -> None:
    """Write comparison.html into a folder."""
    (folder / "comparison.html").write_text(render_comparison(comparison), encoding="utf-8")


def render_comparison(comparison: Comparison) -> str:
    """HTML of a comparison."""
    environment = page_environment("lungcad.followup")
    environment.filters |= {
        "signed": _signed, "mean_mm": shown_mean_mm, "is_known": is_known, "open_questions": open_questions,
    }  # fmt: skip
    document = comparison_document(comparison)
    pictured = [_card(comparison, lesion) for lesion in comparison.lesions[:MAX_PICTURED]]
    return environment.get_template("comparison.html.j2").render(
        document=document, text=comparison_text(document), lesions=document["lesions"], cards=pictured, slices=SLICES,
        max_pictured=MAX_PICTURED,
    )  # fmt: skip


def _card(comparison: Comparison, lesion: Lesion) -> dict[str, Any]:
    """Stacks of a nodule in both scans, at one scale."""
    diameters = [side.finding.diameter_mm or 0.0 for side in (lesion.prior, lesion.current) if side.finding]
    diameter = max(diameters, default=0.0)
    width, depth = max(LEAST_WIDTH_MM, 2.2 * diameter), max(20.0, 1.4 * diameter)
    views = [
        _view(name, exam, side, width, depth)
        for name, exam, side in (
            ("Prior", comparison.prior, lesion.prior), ("Current", comparison.current, lesion.current),
        )
    ]  # fmt: skip
    return {"views": views, "step": depth / (SLICES - 1)}


def _view(name: str, exam: Exam, side: Side, width_mm: float, depth_mm: float) -> dict[str, Any]:
    size = side.finding.measurement if side.finding else None
    return {
        "name": name, "width": width_mm, "radius": mean_mm(size) / 2 if size else None, "absent": side.finding is None,
        "why": "not in this scan" if not side.scanned else "place not known: the lungs could not be registered",
        "uri": stack_picture(exam.volume, side.place, width_mm, depth_mm).data_uri() if side.is_known else None,
    }  # fmt: skip


def stack_picture(volume: Volume, center_lps_mm: Sequence[float], width_mm: float, depth_mm: float) -> Picture:
    """Picture of transverse planes around a point, one below the other, from the feet to the head, in the lung window.

    Args:
        volume: the scan; its axes may have any order, sign and obliquity.
        center_lps_mm: (x, y, z) in LPS mm, in the middle of the middle plane.
        width_mm: width and height of a plane.
        depth_mm: distance of the first from the last plane.
    """
    from scipy.ndimage import affine_transform

    count = min(MAX_PIXELS, int(np.ceil(width_mm / PIXEL_MM)))
    steps = np.eye(3)[:, [2, 1, 0]] * [depth_mm / (SLICES - 1), width_mm / count, width_mm / count]
    step = np.linalg.inv(volume.affine[:3, :3]) @ steps  # (3, 3) voxels per plane, row, column
    shape = np.array([SLICES, count, count])
    first = to_index(volume.affine, center_lps_mm) - step @ ((shape - 1) / 2)
    corners = first + np.array(np.meshgrid(*[[0, n - 1] for n in shape])).reshape(3, -1).T @ step.T
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, np.array(volume.hu.shape) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, low + 1, volume.hu.shape)
    block = volume.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    hu = affine_transform(block, step, first - low, tuple(shape), np.float32, order=1, cval=-2000.0)
    return Picture(window_to_grey(hu.reshape(SLICES * count, count)), width_mm, width_mm * SLICES)


def _signed(value: float | None, digits: int = 1) -> str:
    """Text of a change with its sign; a dash if it is unknown."""
    return "\N{EN DASH}" if value is None else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
