# SPDX-License-Identifier: Apache-2.0
"""A made pair: the synthetic chest, and the same chest breathed in by 10 % and tilted, with nodules of known growth."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lungcad import Finding, Volume
from lungcad.followup.exam import Exam, Header
from lungcad.followup.registration import Registration
from lungcad.geometry import to_index, to_world
from lungcad.measurement import Measurement
from lungcad.phantom import SIZES, make_phantom
from lungcad.results.result import Result
from lungcad.scan.scan import Scan

TILT_DEGREES, BREATH = 5.0, 1.1
LUNG_HU, NODULE_HU = -850.0, 38.0


@dataclass(frozen=True)
class Made:
    """One scan of the pair, with the true nodules: centre in LPS mm and diameter in mm, None where there is none."""

    volume: Volume
    nodules: list[tuple[np.ndarray, float | None]]


@functools.cache
def base() -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, float]]]:
    """The small synthetic chest: HU, affine, its own nodules."""
    hu, affine, nodules = make_phantom(**SIZES["small"])
    return hu, affine, [(np.array(one.center_lps_mm), one.diameter_mm) for one in nodules]


def middle() -> np.ndarray:
    hu, affine, _ = base()
    return to_world(affine, (np.array(hu.shape) - 1) / 2)


def turn() -> np.ndarray:
    """Matrix (3, 3) of the tilt about the patient's left-right axis, times the breath."""
    angle = np.radians(TILT_DEGREES)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return BREATH * about_x


def to_current(points: np.ndarray) -> np.ndarray:
    """Place of prior points (N, 3) in the current scan."""
    return (np.asarray(points) - middle()) @ turn().T + middle()


@functools.cache
def _breathed() -> np.ndarray:
    hu, affine, _ = base()
    inner = np.linalg.inv(affine[:3, :3]) @ np.linalg.inv(turn()) @ affine[:3, :3]
    half = (np.array(hu.shape) - 1) / 2
    return ndimage.affine_transform(hu, inner, half - inner @ half, order=1, mode="nearest")


def true_registration(current: Scan, prior: Scan) -> Registration:
    """Registration of the made pair as it is known, for tests of what comes after it."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(np.linalg.inv(turn()).ravel().tolist(), [0.0, 0.0, 0.0], middle().tolist())
    return Registration(transform, transform.GetInverse(), 1.0)


PLACES = ((57.0, -3.0, 22.0), (53.0, 32.0, -18.0), (-62.0, 17.0, 8.0), (-57.0, 3.0, 28.0), (60.0, -30.0, 8.0),
          (-58.0, -28.0, 4.0))  # fmt: skip
"""Places from the middle of the prior scan in mm, all in clear lung."""


def make_pair(
    diameters: Sequence[tuple[float | None, float | None]], noise_hu: float = 12.0
) -> tuple[Made, Made]:
    """Prior and current scan with a nodule at each place, of these diameters in mm before and after."""
    hu, affine, _ = base()
    places = np.reshape(PLACES[: len(diameters)], (-1, 3)) + middle()
    made = []
    for number, (background, centers) in enumerate(((hu, places), (_breathed(), to_current(places)))):
        painted = background + np.random.default_rng(number).normal(0, noise_hu, hu.shape)
        sizes = [pair[number] for pair in diameters]
        for center, diameter in zip(centers, sizes, strict=True):
            if diameter is not None:
                paint_ball(painted, affine, center, diameter)
        uid = f"1.2.826.0.1.9.{number}"
        volume = Volume(np.clip(np.rint(painted), -1024, 3071), affine.copy(), uid)
        made.append(Made(volume, list(zip(centers, sizes, strict=True))))
    return made[0], made[1]


def paint_ball(hu: np.ndarray, affine: np.ndarray, center: np.ndarray, diameter: float) -> None:
    """Paint a ball in place; each voxel takes the share that the ball covers, on 4 x 4 x 4 points."""
    radius, spacing = diameter / 2, np.diag(affine)[:3]
    low = np.floor(to_index(affine, center - radius - 3)).astype(int)
    high = np.ceil(to_index(affine, center + radius + 3)).astype(int) + 1
    fine = (np.arange(4) - 1.5) / 4
    axes = [(np.arange(a, b)[:, None] + fine).ravel() for a, b in zip(low, high, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    inside = np.linalg.norm((index - to_index(affine, center)) * spacing, axis=-1) <= radius
    shape = [n for size in high - low for n in (size, 4)]
    cover = inside.reshape(shape).mean(axis=(1, 3, 5))
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu[box] = np.where(cover > 0, LUNG_HU + cover * (NODULE_HU - LUNG_HU), hu[box])


def sphere(diameter: float) -> Measurement:
    """Measurement of a ball."""
    volume = np.pi / 6 * diameter**3
    return Measurement("ball", diameter, diameter, diameter, diameter, volume, NODULE_HU, volume, "solid")


def measure_balls(scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
    """Measure by the HU above lung of the connected dense voxels at a place and next to them; None without any."""
    return [replace(one, measurement=_ball_at(scan.volume, one)) for one in findings]


def _ball_at(volume: Volume, finding: Finding) -> Measurement | None:
    index = np.rint(to_index(volume.affine, finding.center_lps_mm)).astype(int)
    low = np.maximum(index - (9, 9, 6), 0)
    high = index + np.array([10, 10, 7])
    part = volume.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    labels, _ = ndimage.label(part > -450)
    near = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    seed = near[(slice(None), *(index - low))]
    if np.linalg.norm((seed - (index - low)) * volume.spacing_mm) > 4:
        return None
    solid = ndimage.binary_dilation(labels == labels[tuple(seed)])
    share = np.clip((part[solid] - LUNG_HU) / (NODULE_HU - LUNG_HU), 0, 1.05).sum()
    return sphere(float(np.cbrt(6 / np.pi * share * np.prod(volume.spacing_mm))))


def exam_of(made: Made, header: Header | None = None, measured: bool = False) -> Exam:
    """Exam whose findings are the true nodules, half a millimetre off."""
    findings = [
        Finding(tuple((center + 0.3).tolist()), diameter, 0.9, 0.95 - 0.01 * number,
                measurement=sphere(diameter) if measured else None)
        for number, (center, diameter) in enumerate(made.nodules)
        if diameter is not None
    ]  # fmt: skip
    result = Result(made.volume, findings, {"balanced": 0.5}, "balanced", {"lung_nodule_cad": "0.2.0"})
    return Exam(Scan(made.volume), result, header or Header())
