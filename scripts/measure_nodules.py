# SPDX-License-Identifier: Apache-2.0
"""Measure simulated nodules of known size: ``python scripts/measure_nodules.py balls|cores|phantom --help``.

``balls`` gives bias and coefficient of variation of the volume by size and slice distance, ``cores`` how often ground
glass with a solid core, or with a vessel, is called part-solid, ``phantom`` the volumes of the demo phantom's nodules.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from lungcad.bundle.registry import bundle_root
from lungcad.chain.stage import BundleStage
from lungcad.cli import run_script
from lungcad.geometry import affine_of
from lungcad.guidelines import KINDS
from lungcad.measure import measure_at
from lungcad.measurement import Measurement
from lungcad.options import one_of
from lungcad.phantom import SIZES, make_phantom
from lungcad.scan.lungs import LungMask
from lungcad.scan.scan import Scan
from lungcad.tables import markdown_row
from lungcad.volume import Volume

BOX_MM, PIXEL_MM = 56.0, 0.7
"""Side of the simulated box of lung, and size of its pixels."""
LUNG_HU, NODULE_HU = -850.0, 30.0
GLASS_HU = (-700.0, -520.0)
"""Limits of the HU of simulated ground glass."""


class Part(NamedTuple):
    """Part of a simulated nodule: a ball, or a vessel through its middle along a direction (3,).

    ``width_mm`` is its diameter, ``off_mm`` its place off the nodule's centre.
    """

    width_mm: float
    hu: float
    direction: np.ndarray | None = None
    off_mm: Sequence[float] = (0.0, 0.0, 0.0)


def balls(
    diameters_mm: Sequence[float] = (4, 5, 6, 8, 10, 15, 20), slices_mm: Sequence[float] = (1.0, 2.5),
    repeats: int = 8, seed: int = 0,
) -> None:  # fmt: skip
    """Print bias and coefficient of variation of volumes of balls, scanned with one protocol and with changing ones.

    One protocol: position and noise change. Changing: also kernel and amount of noise.

    Args:
        diameters_mm: diameters of the balls.
        slices_mm: distances of the slices, each as thick.
        repeats: number of scans of each ball with each kind of protocol.
        seed: seed of all random choices.
    """
    stage, rng = _stage(), np.random.default_rng(seed)
    print("| slices | diameter | one protocol: bias | CV | changing protocols: bias | CV |\n|---|---|---|---|---|---|")
    for slice_mm in slices_mm:
        for diameter in diameters_mm:
            cells = []
            for changing in (False, True):
                ball = [Part(diameter, NODULE_HU)]
                found = [_measured(stage, ball, slice_mm, changing, rng) for _ in range(repeats)]
                volume = np.array([0.0 if measured is None else measured.volume_mm3 for measured in found])
                bias = 100 * (volume.mean() / (np.pi / 6 * diameter**3) - 1)
                cells += [f"{bias:+.0f} %", f"{100 * volume.std(ddof=1) / volume.mean():.1f} %"]
            print(markdown_row(f"{slice_mm:g} mm", f"{diameter:g} mm", *cells), end="", flush=True)


def cores(
    glass_mm: Sequence[float] = (10, 14, 18), cores_mm: Sequence[float] = (0, 3, 4, 5, 6, 8),
    vessels_mm: Sequence[float] = (1.5, 2, 2.5, 3, 4), slices_mm: Sequence[float] = (1.0, 2.5), repeats: int = 4,
    seed: int = 0,
) -> None:  # fmt: skip
    """Print kinds and solid parts of ground glass with a ball of soft tissue in it, or crossed by a vessel.

    Position, direction, HU of the ground glass, kernel and noise change.

    Args:
        glass_mm: diameters of the ground glass.
        cores_mm: diameters of the balls; 0 for ground glass alone.
        vessels_mm: diameters of the vessels.
        slices_mm: distances of the slices, each as thick.
        repeats: number of scans of each.
        seed: seed of all random choices.
    """
    stage, rng = _stage(), np.random.default_rng(seed)
    heads = ("slices", "inside", "scans", "part-solid", "solid part", "solid", "in doubt", "non-solid", "in doubt")
    print(markdown_row(*heads) + markdown_row(*["---"] * len(heads)), end="")
    insides = [(f"ball of {size:g} mm", size, False) for size in cores_mm]
    insides += [(f"vessel of {size:g} mm", size, True) for size in vessels_mm]
    for slice_mm in slices_mm:
        for name, width_mm, vessel in insides:
            found = [
                _measured(stage, _glass(size, width_mm, vessel, rng), slice_mm, True, rng)
                for size in glass_mm for _ in range(repeats)
            ]  # fmt: skip
            by_kind = {
                kind: [measured for measured in found if measured is not None and measured.kind == kind]
                for kind in KINDS
            }
            sizes = [measured.solid_mm for measured in by_kind["part-solid"] if measured.solid_mm is not None]
            counts = [
                number for kind in ("solid", "non-solid")
                for number in (len(by_kind[kind]), sum(bool(measured.doubts) for measured in by_kind[kind]))
            ]  # fmt: skip
            part = f"{np.mean(sizes):.1f} mm" if sizes else ""
            row = (f"{slice_mm:g} mm", name, len(found), len(by_kind["part-solid"]), part, *counts)
            print(markdown_row(*map(str, row)), end="", flush=True)


def phantom(size: str = "full", seed: int = 0) -> None:
    """Print volumes of the demo phantom's nodules: as painted into lung, as measured, and their ratio.

    Args:
        size: size of the phantom, ``full`` or ``small``.
        seed: seed of the phantom.
    """
    hu, affine, nodules = make_phantom(seed, **SIZES[one_of("size", size, SIZES)])
    scan, stage = Scan(Volume(hu, affine, "phantom")), _stage()
    print("| nodule | diameter | painted mm3 | measured mm3 | ratio | kind | doubts |\n|---|---|---|---|---|---|---|")
    for nodule in nodules:
        measured = measure_at(scan, nodule.center_lps_mm, stage, nodule.diameter_mm).measurement
        found = (0.0, None, ()) if measured is None else (measured.volume_mm3, _kind(measured), measured.doubts)
        sizes = (f"{nodule.diameter_mm:g}", f"{nodule.volume_mm3:.0f}", f"{found[0]:.0f}")
        ratio = f"{found[0] / nodule.volume_mm3:.2f}"
        print(markdown_row(nodule.kind, *sizes, ratio, found[1], "; ".join(found[2])), end="", flush=True)


def _kind(measured: Measurement) -> str | None:
    """Kind in words, with the size of a solid part."""
    return measured.kind if measured.solid_mm is None else f"{measured.kind}, {measured.solid_mm:.1f} mm"


def _stage() -> BundleStage:
    root = bundle_root("lung_nodule_segmentation_unet")
    return BundleStage(root, torch.device("cpu"), {"least_probability": 0.0})


def _glass(size_mm: float, width_mm: float, vessel: bool, rng: np.random.Generator) -> list[Part]:
    """Ground glass with a ball of soft tissue in it, off its centre, or with a vessel; alone for a width of 0."""
    glass = Part(size_mm, float(rng.uniform(*GLASS_HU)))
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    if vessel:
        return [glass, Part(width_mm, NODULE_HU, direction)]
    off = direction * rng.uniform(0, 0.3) * max(size_mm - width_mm, 0)
    return [glass, Part(width_mm, NODULE_HU, None, off.tolist())] if width_mm else [glass]


def _measured(
    stage: BundleStage, parts: Sequence[Part], slice_mm: float, changing: bool, rng: np.random.Generator
) -> Measurement | None:
    """Measurement of one nodule in one simulated scan; None if nothing was outlined."""
    blur, noise = (rng.uniform(0.4, 0.9), rng.uniform(10, 40)) if changing else (0.6, 20.0)
    center = BOX_MM / 2 + rng.uniform(-0.5, 0.5, 3) * (PIXEL_MM, PIXEL_MM, slice_mm)
    scan = _box(parts, slice_mm, center, blur, noise, rng)
    seen = center + rng.normal(0, 0.5, 3)  # a detector's centre
    return measure_at(scan, seen.tolist(), stage, parts[0].width_mm * float(np.exp(rng.normal(0, 0.1)))).measurement


def _box(
    parts: Sequence[Part], slice_mm: float, center: np.ndarray, blur_mm: float, noise_hu: float,
    rng: np.random.Generator,
) -> Scan:  # fmt: skip
    """Scan of a box of lung with a nodule, its parts painted in order; slices are averages over their thickness."""
    step = np.array([PIXEL_MM, PIXEL_MM, slice_mm])
    shape = np.ceil(BOX_MM / step).astype(int)
    fine = max(round(slice_mm / 0.25), 1)
    x, y = (np.arange(n, dtype=np.float32) * PIXEL_MM for n in shape[:2])
    z = (np.arange(shape[2] * fine, dtype=np.float32) - (fine - 1) / 2) / fine * slice_mm
    painted = np.full((*shape[:2], len(z)), LUNG_HU, np.float32)
    for part in parts:
        dx, dy, dz = (axis - middle for axis, middle in zip((x, y, z), center + part.off_mm, strict=True))
        away = dx[:, None, None] ** 2 + dy[:, None] ** 2 + dz**2
        if part.direction is not None:
            a, b, c = part.direction
            away -= (a * dx[:, None, None] + b * dy[:, None] + c * dz) ** 2
        share = np.clip(0.5 - (np.sqrt(away.clip(0)) - part.width_mm / 2) / PIXEL_MM, 0, 1)
        painted += (part.hu - painted) * share
    hu = painted.reshape(*shape[:2], -1, fine).mean(axis=3)
    hu = ndimage.gaussian_filter(hu, (blur_mm / PIXEL_MM, blur_mm / PIXEL_MM, 0))
    grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape), (0.75, 0.75, 0))
    grid = affine_of(np.diag(step), (0, 0, 0))
    scan = Scan(Volume((hu + grain * noise_hu / grain.std()).astype(np.float32), grid, "box"))
    scan.lungs = LungMask(np.ones(hu.shape, bool), grid, BOX_MM**3 / 1e3)
    return scan


if __name__ == "__main__":
    run_script({"balls": balls, "cores": cores, "phantom": phantom})
