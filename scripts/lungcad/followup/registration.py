# SPDX-License-Identifier: Apache-2.0
"""Registration of the lungs of two scans: rigid, affine, then symmetric demons, on grids of about 4 mm.

SimpleITK does the work. On made pairs (lungs 10 % larger, tilted, bent by 6 mm and more towards the base) it mapped
points with a median error of about 1 mm in 6 CPU seconds; ITK's Python package, and elastix on top of it, take longer
to be imported alone (compare.md of the bundle lung_nodule_cad has the table).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lungcad.geometry import spacing_of, to_index
from lungcad.scan.lungs import block_means
from lungcad.scan.scan import Scan

GRID_MM = 4.0
"""Spacing of the finer grid in mm: the nearest whole multiple of the native spacing."""
MARGIN_MM = 16.0
"""Width in mm of the tissue around the lungs' bounding box that takes part."""
TISSUE_HU = 0.0
"""HU given to all that is not lung: ribs and heart move otherwise than the lungs."""
LEAST_OVERLAP = 0.85
"""Least share of the smaller lungs that must lie on the other scan's lungs after registration."""
INVERSE_STEPS = 30
"""Largest number of steps of the inversion."""
INVERSE_MM = 0.05
"""Error of the inversion in mm at which it ends."""
EDGE_MM = 3.0
"""Distance in mm from a volume's edge within which a place counts as not scanned."""


@dataclass(frozen=True)
class Registration:
    """Registration of a current and a prior scan.

    Attributes:
        transform: SimpleITK transform of current LPS mm to prior LPS mm.
        inverse_affine: SimpleITK transform, the inverse of its affine part.
        overlap: share of the smaller lungs that lies on the other lungs, 0 to 1.
    """

    transform: Any
    inverse_affine: Any
    overlap: float

    @property
    def reliable(self) -> bool:
        """Whether the lungs lie on each other well enough to look for nodules by their place."""
        return self.overlap >= LEAST_OVERLAP

    def to_prior(self, points: np.ndarray) -> np.ndarray:
        """Map points (N, 3) of the current scan to the prior one, LPS mm."""
        return _mapped(self.transform, points)

    def to_current(self, points: np.ndarray) -> np.ndarray:
        """Map points (N, 3) of the prior scan to the current one, LPS mm, by fixed-point iteration."""
        targets = np.reshape(np.asarray(points, dtype=float), (-1, 3))
        found = start = _mapped(self.inverse_affine, targets)
        for _ in range(INVERSE_STEPS):
            mapped = self.to_prior(found)
            if not len(targets) or np.abs(mapped - targets).max() < INVERSE_MM:
                break
            found = found + start - _mapped(self.inverse_affine, mapped)
        return found


def register(current: Scan, prior: Scan) -> Registration:
    """Register the lungs of two scans of one patient.

    Args:
        current, prior: scans in any orientation; their lungs are segmented if they have not been.

    Raises:
        InputError: E-NO-LUNG.
    """
    import SimpleITK as sitk

    (fixed, fixed_mask), (moving, moving_mask) = _images(current), _images(prior)
    affine = _affine(fixed, moving, fixed_mask, moving_mask)
    field = None
    for shrink in (2, 1):
        coarse = _shrunk(fixed, shrink)
        moved = sitk.Resample(_shrunk(moving, shrink), coarse, affine, sitk.sitkLinear, 1000.0 + TISSUE_HU)
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(40)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(1.5)  # voxels
        start = () if field is None else (sitk.Resample(field, coarse, sitk.Transform(), sitk.sitkLinear),)
        field = demons.Execute(coarse, moved, *start)
    transform = sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(field)])
    return Registration(transform, affine.GetInverse(), _overlap(fixed_mask, moving_mask, transform))


def is_scanned(scan: Scan, point: np.ndarray) -> bool:
    """Whether a place (3,) in LPS mm lies inside a scanned volume, at least :data:`EDGE_MM` from its edge."""
    volume = scan.volume
    index, edge = to_index(volume.affine, point), EDGE_MM / np.array(volume.spacing_mm)
    return bool(np.all(index >= edge) and np.all(index <= np.array(volume.hu.shape) - 1 - edge))


def _mapped(transform: Any, points: np.ndarray) -> np.ndarray:
    rows = np.reshape(np.asarray(points, dtype=float), (-1, 3)).tolist()
    return np.array([transform.TransformPoint(row) for row in rows], dtype=float).reshape(-1, 3)


def _images(scan: Scan) -> tuple[Any, Any]:
    """Lungs of a scan in HU + 1000, tissue elsewhere, and their mask, as SimpleITK images on the coarse grid."""
    import SimpleITK as sitk

    hu, affine = block_means(scan.volume, GRID_MM)
    image = _image(np.clip(hu, -1000, TISSUE_HU) + 1000, affine)
    mask = _image(scan.lungs.mask.astype(np.float32), scan.lungs.affine)
    mask = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkLinear, 0.0) > 0.5
    values, inside = (sitk.GetArrayFromImage(volume).transpose(2, 1, 0) for volume in (image, mask))
    filled = np.where(_dilated(inside > 0), values, 1000 + TISSUE_HU)
    spacing = spacing_of(affine)
    places = np.argwhere(inside)
    low = np.maximum(places.min(0) - np.ceil(MARGIN_MM / spacing), 0).astype(int)
    high = np.minimum(places.max(0) + np.ceil(MARGIN_MM / spacing) + 1, filled.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    first = affine.copy()
    first[:3, 3] += affine[:3, :3] @ low
    return _image(filled[box], first), _image(inside[box].astype(np.float32), first)


def _dilated(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask))


def _image(values: np.ndarray, affine: np.ndarray) -> Any:
    """SimpleITK image of an array (X, Y, Z) with its affine to LPS mm."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0), dtype=np.float32))
    spacing = spacing_of(affine)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def _shrunk(image: Any, factor: int) -> Any:
    import SimpleITK as sitk

    return image if factor == 1 else sitk.BinShrink(image, [factor] * 3)


def _affine(fixed: Any, moving: Any, fixed_mask: Any, moving_mask: Any) -> Any:
    """Affine transform by mean squares: from the best of three rigid ones, since a scan may cut the lungs.

    The rigid ones start with the lungs' centres, upper or lower ends on each other.
    """
    import SimpleITK as sitk

    ends = [_ends(mask) for mask in (fixed_mask, moving_mask)]
    middle = fixed_mask.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed_mask.GetSize()])
    tried = []
    for heights in zip(*ends, strict=True):
        rigid = sitk.Euler3DTransform()
        rigid.SetCenter(middle)
        rigid.SetTranslation([moved - start for start, moved in zip(*heights, strict=True)])
        method = _method(rigid, [2], [4])
        method.Execute(fixed, moving)
        tried.append((method.GetMetricValue(), rigid))
    _, best = min(tried, key=lambda candidate: candidate[0])
    affine, fallback = sitk.AffineTransform(3), sitk.AffineTransform(3)
    for candidate in (affine, fallback):
        candidate.SetCenter(middle)
        candidate.SetTranslation(best.GetTranslation())
    fallback.SetMatrix(best.GetMatrix())
    # The affine one starts without the turn: from a turned matrix the optimiser was seen to shrink it to nothing.
    _method(affine, [2, 1], [4, 2]).Execute(fixed, moving)
    return max((affine, fallback), key=lambda candidate: _overlap(fixed_mask, moving_mask, candidate))


def _method(transform: Any, shrink: list[int], smooth_mm: list[float]) -> Any:
    """Registration method that changes a transform in place."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, 1)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 120, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(smooth_mm)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    return method


def _ends(mask: Any) -> list[tuple[float, float, float]]:
    """Centre of the lungs, and the same point at the height of their lower and their upper end, LPS mm."""
    import SimpleITK as sitk

    index = np.argwhere(sitk.GetArrayFromImage(mask).transpose(2, 1, 0) > 0.5)
    points = np.array([mask.TransformContinuousIndexToPhysicalPoint(row.tolist()) for row in index[::7].astype(float)])
    x, y, z = points.mean(axis=0).tolist()
    return [(x, y, z), (x, y, float(points[:, 2].min())), (x, y, float(points[:, 2].max()))]


def _overlap(fixed_mask: Any, moving_mask: Any, transform: Any) -> float:
    """Share of the smaller lungs that lies on the other lungs; lung beyond the other scan does not count."""
    import SimpleITK as sitk

    def array(image: Any) -> np.ndarray:
        return np.asarray(sitk.GetArrayFromImage(image)) > 0.5

    fixed, moved = array(fixed_mask), array(sitk.Resample(moving_mask, fixed_mask, transform, sitk.sitkLinear, 0.0))
    scanned = moving_mask * 0 + 1  # lungs that the prior scan cuts off are no fault of the registration
    fixed = fixed & array(sitk.Resample(scanned, fixed_mask, transform, sitk.sitkLinear, 0.0))
    smaller = min(fixed.sum(), moved.sum())
    return float((fixed & moved).sum() / smaller) if smaller else 0.0
