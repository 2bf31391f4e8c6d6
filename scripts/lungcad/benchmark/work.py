# SPDX-License-Identifier: Apache-2.0
"""Cost of the chain against its work: slices of a scan, litres of lung, number of candidates; see :func:`plot_work`."""

from pathlib import Path
from typing import Any

import numpy as np

from lungcad.benchmark.machine import timed
from lungcad.chain.chain import ORDER, Chain
from lungcad.finding import Finding, as_place
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

SLICES, LITRES, CANDIDATES = (100, 200, 400, 800), (2.0, 4.0, 6.0, 8.0), (0, 50, 100, 200)
"""Steps of the three series."""

PLANE, PIXEL_MM = (256, 256), 1.6
"""Pixels of a slice and their size in mm: a field of view of 41 cm."""


def synthetic_scan(litres: float, slices: int, slice_mm: float = 1.0) -> Volume:
    """Volume of a body with two ellipsoid lungs and noise, over as many slices; a slice beyond the lungs is body.

    Args:
        litres: volume of both lungs.
        slices: number of slices.
        slice_mm: distance of slices in mm.
    """
    x, y, z = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip((*PLANE, slices), (PIXEL_MM, PIXEL_MM, slice_mm),
                                                                  strict=True))  # fmt: skip
    unit = (litres * 1e6 / 2 / (4 / 3 * np.pi * 0.62 * 0.85 * 1.3)) ** (1 / 3)  # half axes 0.62, 0.85 and 1.3 units
    rng = np.random.default_rng(0)
    hu = 20 * rng.standard_normal((*PLANE, slices), dtype=np.float32)
    body = (x[:, None] / 190) ** 2 + (y / 150) ** 2 < 1
    hu += np.where(body, 40, -1000)[..., None]
    for side in (-1, 1):
        across = ((x - side * 85) / (0.62 * unit))[:, None, None]
        hu[across**2 + (y / (0.85 * unit))[:, None] ** 2 + (z / (1.3 * unit)) ** 2 < 1] -= 880
    affine = np.diag([PIXEL_MM, PIXEL_MM, slice_mm, 1.0])
    return Volume(hu.clip(-1024), affine, "1.2.3")


def seconds_of(chain: Chain, volume: Volume, candidates: int | None = None) -> dict[str, float]:
    """Seconds of each stage, and of the lungs, on a volume.

    Args:
        chain: chain with all stages.
        volume: the scan.
        candidates: number of random candidates in the lungs that take the place of the detector's; None for those.
    """
    scan = Scan(volume)
    _, seconds = timed(lambda: scan.lungs, chain.device)
    spent = {"lungs": seconds}
    findings: list[Finding] = []
    for name, stage in chain.stages.items():
        if name == "detect" and candidates is not None:
            findings = random_candidates(scan, candidates)
            continue
        given = findings
        findings, spent[name] = timed(lambda stage=stage, given=given: stage(scan, given), chain.device)  # type: ignore[misc]
    return spent


def random_candidates(scan: Scan, number: int) -> list[Finding]:
    """Candidates of 8 mm at random places of the lungs, with a score of 0.5."""
    places = np.argwhere(scan.lungs.mask)
    chosen = places[np.random.default_rng(0).integers(len(places), size=number)]
    lps = chosen @ scan.lungs.affine[:3, :3].T + scan.lungs.affine[:3, 3]
    return [Finding(as_place(place), 8.0, 0.5, 0.5) for place in lps]


def measure_work(chain: Chain) -> dict[str, list[dict[str, Any]]]:
    """Seconds by stage of three series: more slices over lungs of 2 litres, larger lungs, more candidates."""
    seconds_of(chain, synthetic_scan(2, 200))  # pays for start-up
    of_lungs = [{"x": n, **seconds_of(chain, synthetic_scan(n, 320))} for n in LITRES]
    of_slices = [{"x": n, **seconds_of(chain, synthetic_scan(2, n, max(1.0, 200 / n)))} for n in SLICES]
    middle = synthetic_scan(4, 320)
    of_candidates = [{"x": n, **seconds_of(chain, middle, n)} for n in CANDIDATES]
    return {"slices, lungs of 2 litres": of_slices, "litres of lung, 320 slices": of_lungs,
            "candidates, lungs of 4 litres": of_candidates}  # fmt: skip


def plot_work(series: dict[str, list[dict[str, Any]]], path: Path, title: str) -> None:
    """Draw the series of :func:`measure_work`, seconds by stage stacked, as an SVG or PNG file."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(series), figsize=(11, 3.2), layout="constrained")
    names = ("lungs", *ORDER)
    for axis, (label, rows) in zip(np.atleast_1d(axes), series.items(), strict=True):
        x = [row["x"] for row in rows]
        shown = [name for name in names if any(name in row for row in rows)]
        axis.stackplot(x, [[row.get(name, 0.0) for row in rows] for name in shown], labels=shown,
                       colors=[f"C{names.index(name)}" for name in shown], alpha=0.8)  # fmt: skip
        axis.set_xlabel(label)
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path)
    pyplot.close(figure)
