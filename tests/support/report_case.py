# SPDX-License-Identifier: Apache-2.0
"""A tiny scan with one bright ball, and findings, for the tests of results and report."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungcad import Finding, Notice, Volume
from lungcad.finding import FindingMask
from lungcad.measurement import Location, Measurement, Point
from lungcad.results.result import Result
from lungcad.results.write import FILES, Writer, write
from lungcad.volume import Origin

CENTER_LPS_MM = (70.0, -12.0, 33.0)
DIAMETER_MM = 20.0
RUN: dict[str, Any] = {
    "thresholds": {"sensitive": 0.1, "balanced": 0.5},
    "operating_point": "balanced",
    "bundles": {"lung_nodule_cad": "0.1.0"},
    "seconds": {"read": 1.25, "detect": 4.0},
    "device": "cpu",
    "weights_sha256": {"lung_nodule_cad": "ab" * 32},
}


SPACING_MM = (1.2, 1.1, 2.5)
SHAPE = (216, 176, 48)
FIRST_MM = (130.0, -98.0, -60.0)


@functools.cache
def _ball_hu() -> np.ndarray:
    """Body (0 HU) in air with a ball of 400 HU in a lung of -850 HU."""
    x, y, z = (
        first + sign * step * np.arange(count).reshape(shape)
        for first, sign, step, count, shape in zip(
            FIRST_MM, (-1, 1, 1), SPACING_MM, SHAPE, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True
        )
    )
    hu = np.full(SHAPE, -1024, dtype=np.float32)
    hu[np.broadcast_to(np.hypot(x / 110, y / 85) < 1, SHAPE)] = 0
    hu[np.broadcast_to(np.hypot((np.abs(x) - 60) / 45, y / 65) < 1, SHAPE)] = -850
    u, v, w = CENTER_LPS_MM
    hu[(x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2 < (DIAMETER_MM / 2) ** 2] = 400
    return hu


def ball_volume(**changes: Any) -> Volume:
    """X runs to the patient's right, slices are 2.5 mm apart and are numbered from the head."""
    affine = np.diag([-SPACING_MM[0], *SPACING_MM[1:], 1.0])
    affine[:3, 3] = FIRST_MM
    fields: dict[str, Any] = {
        "series_uid": "1.2.826.0.1.7",
        "sop_instance_uids": tuple(f"1.2.826.0.1.7.{k}" for k in range(SHAPE[2])),
        "instance_numbers": tuple(SHAPE[2] - k for k in range(SHAPE[2])),
        "description": "Chest <b>1.0</b> & co",
        "warnings": [Notice("W-SPACING", "slices 2.5 mm apart")],
        "origin": Origin(Path("scans/DOE^JANE/series")),
    }
    return Volume(_ball_hu().copy(), affine, **(fields | changes))


def some_findings() -> list[Finding]:
    """Out of order on purpose: unknown probability, below, above, and the ball with all that can be known."""
    attributes = {
        "subtlety": 4.5, "internalStructure": 1.0, "calcification": 6.0, "sphericity": 4.0,
        "margin": 4.25, "lobulation": 1.5, "spiculation": 2.0, "texture": 5.0,
    }  # fmt: skip
    return [
        Finding((-60.0, 0.0, 0.0), None, 0.7),
        Finding((-50.0, 10.0, -20.0), 4.5, 0.9, 0.25),
        Finding((1.0, 30.0, 5.0), 6.125, 0.4, 0.75, 0.5),
        Finding(CENTER_LPS_MM, DIAMETER_MM, 0.99, 0.98, 0.8, attributes, 4188.79),
    ]


def ball_mask() -> FindingMask:
    """Ball of :data:`DIAMETER_MM` on a grid of 1 mm, its centre between voxels."""
    count = int(DIAMETER_MM) + 2
    affine = np.eye(4)
    affine[:3, 3] = np.array(CENTER_LPS_MM) - (count - 1) / 2
    away = np.indices((count,) * 3) - (count - 1) / 2
    return FindingMask((away**2).sum(axis=0) <= (DIAMETER_MM / 2) ** 2, affine)


def measured_ball(**changes: Any) -> Finding:
    """The ball with its mask, and a measurement with axes of 20.0 and 16.0 mm."""
    x, y, z = CENTER_LPS_MM
    long: tuple[Point, Point] = ((x - 10, y, z), (x + 10, y, z))
    short: tuple[Point, Point] = ((x, y - 8, z), (x, y + 8, z))
    values: dict[str, Any] = {
        "method": "made up", "long_axis_mm": 20.0, "short_axis_mm": 16.0, "mean_diameter_mm": 18.0,
        "effective_diameter_mm": 20.0, "volume_mm3": 4188.8, "mean_hu": 400.0, "mass_mg": 5864.0, "kind": "solid",
        "long_axis_lps_mm": long, "short_axis_lps_mm": short,
    }  # fmt: skip
    location = Location("left", "upper", 3.0, False)
    return Finding(
        CENTER_LPS_MM, DIAMETER_MM, 0.99, 0.98, measurement=Measurement(**values | changes), location=location,
        mask=ball_mask(),
    )  # fmt: skip


def sized_nodule(mean_mm: float, kind: str | None = "solid", score: float | None = 0.9, **changes: Any) -> Finding:
    """The ball with a measurement of both axes of one length, and a nodule probability."""
    sizes = {"long_axis_mm": mean_mm, "short_axis_mm": mean_mm, "mean_diameter_mm": mean_mm, "kind": kind}
    return replace(measured_ball(**sizes | changes), nodule_probability=score, detection_score=score)


def at_the_pleura(finding: Finding) -> Finding:
    """Finding whose mask touches the surface of the lung."""
    return replace(finding, location=Location("left", "upper", 0.0, True))


def write_results(
    folder: Path, volume: Volume, findings: Sequence[Finding], also: Sequence[Writer] = (), **run: Any
) -> Path:
    """Write a result of :data:`RUN`, changed by ``run``, in all formats but DICOM's and with further writers."""
    return write(Result(volume, findings, **run), folder, (*FILES, *also))
