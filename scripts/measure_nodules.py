# SPDX-License-Identifier: Apache-2.0
"""Measure simulated nodules of known size again and again: ``python scripts/measure_nodules.py balls|phantom --help``.

``balls`` gives bias and coefficient of variation of the volume by size and slice distance, ``phantom`` the volumes of
the demo phantom's nodules.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from lungcad.bundle.registry import bundle_root
from lungcad.chain.stage import BundleStage
from lungcad.cli import run_script
from lungcad.geometry import affine_of
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
                volume = np.array([_measured(stage, diameter, slice_mm, changing, rng) for _ in range(repeats)])
                bias = 100 * (volume.mean() / (np.pi / 6 * diameter**3) - 1)
                cells += [f"{bias:+.0f} %", f"{100 * volume.std(ddof=1) / volume.mean():.1f} %"]
            print(markdown_row(f"{slice_mm:g} mm", f"{diameter:g} mm", *cells), end="", flush=True)


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


def _measured(stage: BundleStage, diameter: float, slice_mm: float, changing: bool, rng: np.random.Generator) -> float:
    """Volume of one ball in one simulated scan, in mm3; 0 if nothing was outlined."""
    blur, noise = (rng.uniform(0.4, 0.9), rng.uniform(10, 40)) if changing else (0.6, 20.0)
    center = BOX_MM / 2 + rng.uniform(-0.5, 0.5, 3) * (PIXEL_MM, PIXEL_MM, slice_mm)
    scan = _box(diameter, slice_mm, center, blur, noise, rng)
    seen = center + rng.normal(0, 0.5, 3)  # a detector's centre
    measured = measure_at(scan, seen.tolist(), stage, diameter * float(np.exp(rng.normal(0, 0.1)))).measurement
    return 0.0 if measured is None else measured.volume_mm3


def _box(
    diameter: float, slice_mm: float, center: np.ndarray, blur_mm: float, noise_hu: float, rng: np.random.Generator
) -> Scan:
    """Scan of a box of lung with a ball in it; slices are averages over their thickness."""
    step = np.array([PIXEL_MM, PIXEL_MM, slice_mm])
    shape = np.ceil(BOX_MM / step).astype(int)
    fine = max(round(slice_mm / 0.25), 1)
    x, y = (np.arange(n) * PIXEL_MM for n in shape[:2])
    z = (np.arange(shape[2] * fine) - (fine - 1) / 2) / fine * slice_mm
    away = np.sqrt(
        (x[:, None, None] - center[0]) ** 2 + (y[:, None] - center[1]) ** 2 + (z - center[2]) ** 2, dtype=np.float32
    )
    share = np.clip(0.5 - (away - diameter / 2) / PIXEL_MM, 0, 1).reshape(*shape[:2], -1, fine).mean(axis=3)
    hu = LUNG_HU + (NODULE_HU - LUNG_HU) * share
    hu = ndimage.gaussian_filter(hu, (blur_mm / PIXEL_MM, blur_mm / PIXEL_MM, 0))
    grain = ndimage.gaussian_filter(rng.standard_normal(hu.shape), (0.75, 0.75, 0))
    grid = affine_of(np.diag(step), (0, 0, 0))
    scan = Scan(Volume((hu + grain * noise_hu / grain.std()).astype(np.float32), grid, "box"))
    scan.lungs = LungMask(np.ones(hu.shape, bool), grid, BOX_MM**3 / 1e3)
    return scan


if __name__ == "__main__":
    run_script({"balls": balls, "phantom": phantom})
