# SPDX-License-Identifier: Apache-2.0
"""Score ``lungcad compare`` on made pairs: ``python scripts/evaluate_compare.py DATA_DIR OUT.json --help``.

A pair is one real lung, and the same lung 10 % larger in every direction, tilted by 5 degrees, with other noise. The
same real nodules of other patients are set into both, grown by 0, 10, 25 or 60 % in volume, or into one of them only;
in the second they are turned with the lung, but not stretched with it. Their findings are the true places, off by 1 mm
in each direction, and vessels that the current scan alone reports.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from lungcad.cli import run_script
from lungcad.finding import Finding
from lungcad.followup.comparison import Comparison, Lesion, compare
from lungcad.followup.exam import Exam
from lungcad.followup.growth import own_variation
from lungcad.measurement import Measurement
from lungcad.options import listed, one_of
from lungcad.results.result import Result
from lungcad.scan.scan import Scan
from lungcad.training.cases import Sphere
from lungcad.training.composites import Background, load_nodules
from lungcad.training.implant import Tissue, paste
from lungcad.training.placement import Placement, Places
from lungcad.volume import Volume

GROWN = (0.0, 0.0, 0.6, 0.0, None, "new", 0.0, 0.25, 0.0, 0.1, 0.6, 0.0, "new", None)
"""Growth in volume of the nodules of a pair in turn; None for one that vanishes, ``new`` for one that appears."""
BREATH, TILT_DEGREES, NOISE_HU, PADDING = 1.1, 5.0, 15.0, 24
SIZES_MM = (4.0, 20.0)
VESSELS = 3
"""Number of vessels that the current scan alone reports; none of them is new."""
Measure = Callable[[Scan, Sequence[Finding]], list[Finding]]


@dataclass
class Truth:
    """Nodule of a pair: places as indices, diameters in mm (None: absent), and its growth in volume."""

    prior: np.ndarray
    current: np.ndarray
    diameters: tuple[float | None, float | None]
    growth: float | str | None


def evaluate(data_dir: str, output: str, lungs: Any, folds: Any = 4, seed: int = 0, measure: str = "bundle") -> None:
    """Make one pair of each lung, compare, count, and write the counts as JSON.

    Args:
        data_dir: folder with lungs and nodules3d.
        output: JSON file to write.
        lungs: names of lungs, separated by commas.
        folds: folds of the nodules' patients, separated by commas.
        seed: seed of all random choices.
        measure: ``bundle`` for the chain's measurement, ``threshold`` for half of the contrast around the place.
    """
    root, rows = Path(data_dir), []
    nodules = [
        nodule
        for nodule in load_nodules(root / "nodules3d", [int(fold) for fold in listed(folds)])
        if SIZES_MM[0] <= nodule.diameter_mm <= SIZES_MM[1]
    ]
    measurer = _bundle() if one_of("measure", measure, ("bundle", "threshold")) == "bundle" else half_contrast
    for number, name in enumerate(listed(lungs)):
        rng = np.random.default_rng((seed, number))
        prior, current, truths = make_pair(Background(root / "lungs", name), nodules, rng)
        start, cpu = time.perf_counter(), time.process_time()
        exams = [_exam(volume, side, truths, rng) for side, volume in enumerate((prior, current))]
        comparison = compare(exams[0], exams[1], 365, measurer, own_variation(prior, current))
        rows += [row | {"lung": name} for row in score(comparison, truths)]
        spent = f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} CPU s"
        print(f"{name}: {comparison.summary}; {spent}", file=sys.stderr)
        written = {"figures": totals(rows), "nodules": rows}
        Path(output).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(totals(rows), indent=1))


def make_pair(
    background: Background, nodules: Sequence[Tissue], rng: np.random.Generator
) -> tuple[Volume, Volume, list[Truth]]:
    """Prior and current scan at 1 mm, and their nodules."""
    step = background.hu_step / 2
    hu = background.hu + rng.uniform(-step, step, background.hu.shape).astype(np.float32)
    hu, mask = np.pad(hu, PADDING), np.pad(background.mask, PADDING)
    angle = np.radians(TILT_DEGREES)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    size = np.ceil(np.array(hu.shape) * BREATH).astype(int)
    half, new_half = (np.array(hu.shape) - 1) / 2, (size - 1) / 2
    inner = tilt.T / BREATH  # current index to prior index, about the middle
    later = ndimage.affine_transform(hu, inner, half - inner @ new_half, tuple(size), np.float32, order=1)
    places, taken, truths = Places(hu, mask, Placement()), list[Sphere](), list[Truth]()
    for sphere in background.lesions:
        taken.append(Sphere(sphere.index + PADDING, sphere.diameter_mm))
    for growth, number in zip(GROWN, rng.permutation(len(nodules)), strict=False):
        nodule = nodules[number]
        place = places.find_place(nodule.diameter_mm * 1.2, taken, rng)
        if place is None:
            continue
        taken.append(Sphere(place, nodule.diameter_mm + 16))
        current_place = new_half + BREATH * tilt @ (place - half)
        scale = float(np.cbrt(1 + growth)) if isinstance(growth, float) else 1.0
        if growth != "new":
            paste(hu, _on_cubes(nodule, 1.0, None), place, wide=False)
        if growth is not None:
            paste(later, _on_cubes(nodule, scale, tilt), current_place, wide=False)
        diameters = (None if growth == "new" else nodule.diameter_mm,
                     None if growth is None else nodule.diameter_mm * scale)  # fmt: skip
        truths.append(Truth(place, current_place, diameters, growth))
    for _ in range(VESSELS):
        place = places.find_place(6.0, taken, rng)
        vessel = places._beside_vessel(0.0, rng) if place is not None else None
        if vessel is not None and not _is_near(vessel, taken):
            current_place = new_half + BREATH * tilt @ (vessel - half)
            truths.append(Truth(vessel, current_place, (None, 6.0), "vessel"))
    volumes = []
    for hu_of_scan, uid in ((hu, "1.2.826.0.1.1"), (later, "1.2.826.0.1.2")):
        noisy = hu_of_scan + NOISE_HU * rng.standard_normal(hu_of_scan.shape, dtype=np.float32)
        volumes.append(Volume(np.clip(noisy, -1024, 3000).round(), np.eye(4), uid))
    return volumes[0], volumes[1], truths


def _is_near(place: np.ndarray, taken: Sequence[Sphere]) -> bool:
    return any(np.linalg.norm(place - sphere.index) < sphere.diameter_mm / 2 + 8 for sphere in taken)


def _on_cubes(nodule: Tissue, scale: float, tilt: np.ndarray | None) -> Tissue:
    """Tissue on voxels of 1 mm, scaled, and turned about its centre."""
    width = int(np.ceil(max(nodule.hu.shape * nodule.spacing_mm) / 2)) * 2 + 1
    hu, mask, _ = nodule.resampled(np.zeros(3), (width, width, width))
    middle = np.full(3, width // 2)
    turn = np.eye(3) if tilt is None else tilt.T
    hu = ndimage.affine_transform(hu, turn, middle - turn @ middle, order=3, mode="nearest")
    turned = ndimage.affine_transform(mask.astype(np.float32), turn, middle - turn @ middle, order=1) > 0.5
    return Tissue(hu, turned, np.full(3, scale), middle.astype(float), nodule.diameter_mm * scale)


def _exam(volume: Volume, side: int, truths: Sequence[Truth], rng: np.random.Generator) -> Exam:
    findings = [
        Finding(tuple((place + rng.normal(0, 1, 3)).tolist()), diameter * rng.uniform(0.85, 1.15), 0.9, 0.9)
        for truth in truths
        for place in [(truth.prior, truth.current)[side]]
        if (diameter := truth.diameters[side]) is not None
    ]  # fmt: skip
    return Exam(Scan(volume), Result(volume, findings, {"balanced": 0.5}, "balanced"))


def score(comparison: Comparison, truths: Sequence[Truth]) -> list[dict[str, Any]]:
    """One row for each true nodule: growth, status, whether both sides are at its places, change in percent."""
    rows = []
    for truth in truths:
        side = 0 if truth.diameters[1] is None else 1
        lesion = _nearest(comparison, (truth.prior, truth.current)[side], side)
        other = (lesion.current, lesion.prior)[side]
        error = float(np.linalg.norm(np.array(other.place) - (truth.current, truth.prior)[side]))
        rows.append({
            "growth": truth.growth, "diameter_mm": truth.diameters[side], "status": lesion.status,
            "reason": lesion.reason, "mass": lesion.change.mass_percent if lesion.change else None,
            "kind": next((seen.finding.measurement.kind for seen in (lesion.current, lesion.prior)
                          if seen.finding and seen.finding.measurement), None),
            "matched": not other.looked_for, "error_mm": error, "likeness": other.likeness, "density": other.density,
            "change": lesion.change.volume_percent if lesion.change else None,
        })  # fmt: skip
    return rows


def _nearest(comparison: Comparison, place: np.ndarray, side: int) -> Lesion:
    sides = [(item.prior, item.current)[side] for item in comparison.lesions]
    far = [np.inf if item.looked_for else float(np.linalg.norm(np.array(item.place) - place)) for item in sides]
    return comparison.lesions[int(np.argmin(far))]


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts: matches, statuses by growth, false growth among unchanged nodules."""
    both = [row for row in rows if isinstance(row["growth"], float)]
    still = [row for row in both if row["growth"] == 0]
    return {
        "in_both": len(both), "matched": sum(row["matched"] for row in both),
        "unchanged": len(still), "false_growth": sum(row["status"] == "growing" for row in still),
        "false_shrinking": sum(row["status"] == "shrinking" for row in still),
        "statuses": {str(growth): dict(Counter(row["status"] for row in rows if row["growth"] == growth))
                     for growth in dict.fromkeys(row["growth"] for row in rows)},
    }  # fmt: skip


def half_contrast(scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
    """Measure by the voxels above half of the contrast with the lung, connected, within 0.75 diameters and 2 mm."""
    return [replace(finding, measurement=_half_contrast(scan, finding)) for finding in findings]


def _half_contrast(scan: Scan, finding: Finding) -> Measurement | None:
    radius = 0.75 * (finding.diameter_mm or 6.0) + 2
    size = 2 * int(np.ceil(radius)) + 1
    hu = scan.crop(finding.center_lps_mm, [size] * 3, (1.0, 1.0, 1.0)).numpy()
    distance = np.linalg.norm(np.indices(hu.shape) - size // 2, axis=0)
    top, lung = np.percentile(hu[distance <= 2.5], 75), np.median(hu[(distance <= radius) & (hu < -600)])
    if not top > lung + 200:
        return None
    labels, count = ndimage.label((hu > (top + lung) / 2) & (distance <= radius))
    near = np.where(labels > 0, distance, np.inf)
    if not count or near.min() > 4:
        return None
    volume = float((labels == labels[np.unravel_index(near.argmin(), near.shape)]).sum())
    diameter = float(np.cbrt(6 / np.pi * volume))
    return Measurement("half contrast", diameter, diameter, diameter, diameter, volume, 0.0, volume, "solid")


def _bundle() -> Measure | None:
    from lungcad.cli.compare import measurer

    return measurer()


if __name__ == "__main__":
    run_script(evaluate)
