# SPDX-License-Identifier: Apache-2.0
"""Implantation: real nodules set into real lungs, and nodule-free tissue, the controls, set in by the same code.

A nodule is blended through its mask, dilated by 2 mm and smoothed by 1 mm, or with its whole surroundings through a
tapered box; its air-filled part is brought to the density and noise of the lung around it, and walls and vessels that
are denser than the seam stay. A network gains nothing by learning the seam, because the controls have it too.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from lungcad.scan.patch import cut_patch
from lungcad.training.cases import Sphere
from lungcad.training.placement import VESSEL_HU, Places

DENSE_HU = -500.0
"""HU above which tissue is wall or vessel rather than air-filled lung."""
SOFT_HU = -780.0
"""HU above which smoothed tissue is the soft edge of a vessel."""
RIM_MM = 2.0
"""Width of a nodule's blurred edge in the transverse plane."""
LUNG_HU = -850.0
"""HU of lung, for a slice that shows too little of it to take it from there."""
CUT_VESSEL_MM = 12.0
"""Diameter above which a vessel cut off at both ends of a control is still longer than it is wide."""


@dataclass
class Tissue:
    """Piece of tissue to set in, with a nodule or, as control, without.

    Attributes:
        hu: (X, Y, Z) float32 HU, native voxels, canonical axes (to the left, back, head).
        mask: (X, Y, Z) bool, mask of the nodule.
        spacing_mm: (3,) native size of the voxels.
        center: (3,) continuous index of the nodule's centre.
        diameter_mm: diameter of the nodule.
        name: name of the nodule, which begins with the patient's.
        malignancy: malignancy score of each reader, 1 to 5.
    """

    hu: np.ndarray
    mask: np.ndarray
    spacing_mm: np.ndarray
    center: np.ndarray
    diameter_mm: float
    name: str = ""
    malignancy: tuple[float, ...] = ()

    def turned(self, rng: np.random.Generator, scale: float) -> "Tissue":
        """Tissue flipped, turned by a multiple of 90 degrees in the transverse plane and scaled, at random."""
        hu, mask, center, spacing = self.hu, self.mask, self.center.copy(), self.spacing_mm * scale
        for axis in range(3):
            if rng.random() < 0.5:
                hu, mask = np.flip(hu, axis), np.flip(mask, axis)
                center[axis] = hu.shape[axis] - 1 - center[axis]
        if rng.random() < 0.5:  # a flip and a transposition make every turn
            hu, mask = hu.swapaxes(0, 1), mask.swapaxes(0, 1)
            center, spacing = center[[1, 0, 2]], spacing[[1, 0, 2]]
        return Tissue(hu, mask, spacing, center, self.diameter_mm * scale, self.name, self.malignancy)

    def resampled(self, offset_mm: np.ndarray, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resample the tissue to a grid of 1 mm.

        Beyond the first and the last slice HU fall off to lung, half of the way at half a slice, where the mask ends.

        Args:
            offset_mm: (3,) distance of the grid's middle voxel from the nodule's centre.
            size: voxels of the grid, x, y, z.

        Returns:
            HU (X, Y, Z), mask (X, Y, Z) bool, and the share (X, Y, Z) of each voxel that lies inside the crop.
        """
        padded = self.with_ends()
        axes = [
            ((np.arange(n) - n // 2 - shift) / step + centre)
            for n, shift, step, centre in zip(size, offset_mm, self.spacing_mm, padded.center, strict=True)
        ]
        grid = torch.as_tensor(
            np.stack(np.meshgrid(*[2 * a / max(n - 1, 1) - 1 for a, n in zip(axes, padded.hu.shape, strict=True)],
                                 indexing="ij")[::-1], axis=-1), dtype=torch.float32)[None]  # fmt: skip

        def sample(array: np.ndarray, padding: str) -> np.ndarray:
            tensor = torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)[None, None]
            return torch.nn.functional.grid_sample(tensor, grid, "bilinear", padding, align_corners=True)[0, 0].numpy()

        inside = np.pad(np.ones(self.hu.shape), ((0, 0), (0, 0), (1, 1)))
        return sample(padded.hu, "border"), sample(padded.mask, "zeros") > 0.5, sample(inside, "zeros")

    def with_ends(self) -> "Tissue":
        """Tissue with one more slice at both ends in z, which repeats the last one with lung in place of the nodule.

        More than half of LIDC's crops end with the nodule. Repeating its last slice beyond the crop made it too long:
        nodules below 5 mm by a factor of 1.4 in z and of 1.6 in volume.
        """
        nodule = _near(np.any(self.mask, axis=2), RIM_MM / float(self.spacing_mm[:2].mean()))
        ends = [_lung_instead(self.hu[:, :, end], nodule) for end in (0, -1)]
        hu = np.concatenate([ends[0][:, :, None], self.hu, ends[1][:, :, None]], axis=2)
        mask = np.pad(self.mask, ((0, 0), (0, 0), (1, 1)))
        return replace(self, hu=hu, mask=mask, center=self.center + np.array([0, 0, 1]))


def _lung_instead(last: np.ndarray, nodule: np.ndarray) -> np.ndarray:
    """Slice (X, Y) with the nodule replaced by lung from elsewhere in it."""
    lung = last[~nodule & (last < VESSEL_HU)]
    ended = last.copy()
    ended[nodule] = np.resize(lung if lung.size >= 20 else LUNG_HU, int(nodule.sum()))
    return ended


def paste(volume: np.ndarray, tissue: Tissue, place: np.ndarray, wide: bool) -> tuple[tuple[slice, ...], np.ndarray]:
    """Blend ``tissue`` into ``volume`` (X, Y, Z; 1 mm, float32), its centre at ``place``, in place.

    Args:
        volume: (X, Y, Z) HU, changed in place.
        tissue: tissue to set in, turned and scaled already.
        place: (3,) continuous index, inside the volume.
        wide: True to set in the tissue's whole surroundings through a tapered box, False to use its dilated mask.

    Returns:
        Box that was considered, as an index into the volume, and the tissue's mask in it.
    """
    extent = np.array(tissue.hu.shape) * tissue.spacing_mm
    box_mm = extent + 8 if wide else np.minimum(extent + 8, tissue.diameter_mm * 2.2 + 14)
    nx, ny, nz = (int(2 * np.ceil(side / 2) + 1) for side in box_mm)
    size = (nx, ny, nz)
    middle = np.floor(place + 0.5).astype(int)
    hu, mask, inside = tissue.resampled(place - middle, size)
    if wide and (hu > DENSE_HU)[(inside > 0.5) & ~mask].mean() < 0.1:  # a cut-off wall would betray the box
        alpha = np.clip(ndimage.distance_transform_edt(inside > 0.99) / 4.0, 0, 1)
        alpha = np.maximum(alpha, _feather(mask))
    else:
        alpha = _feather(mask)
    first = middle - np.array(size) // 2
    low, high = np.maximum(first, 0), np.minimum(first + size, volume.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))  # of the tissue's grid
    background, alpha = volume[box], alpha[part]
    hu = _matched(hu[part], background, (inside[part] > 0.5) & ~_near(mask, 1.0)[part])
    volume[box] = _blend(background, hu, alpha)
    return box, mask[part]


def _matched(hu: np.ndarray, back: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Tissue (X, Y, Z) with its air-filled lung brought to the background's density and noise.

    Args:
        hu: (X, Y, Z) HU of the tissue.
        back: (X, Y, Z) HU of the background.
        aside: (X, Y, Z) bool, voxels of the tissue to measure at, away from the nodule.
    """
    of_tissue, of_back = aside & (hu < VESSEL_HU), back < VESSEL_HU
    if min(of_tissue.sum(), of_back.sum()) < 100:
        return hu
    coarse = ndimage.gaussian_filter(hu, 1.0)
    fine, fine_back = hu - coarse, back - ndimage.gaussian_filter(back, 1.0)
    noise = np.clip(fine_back[of_back].std() / max(fine[of_tissue].std(), 1.0), 0.5, 2.0)
    shift = np.median(back[of_back]) - np.median(hu[of_tissue])
    air = np.clip((DENSE_HU - coarse) / (DENSE_HU - VESSEL_HU), 0, 1)
    return hu + air * (shift + (noise - 1) * fine)


def _blend(back: np.ndarray, hu: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend tissue into the background in two bands: coarse structure fades over, noise changes at once.

    Fading would make noise weaker. A vessel or wall of the background that is denser than the tissue stays, with its
    soft edge.

    Args:
        back: (X, Y, Z) HU of the background.
        hu: (X, Y, Z) HU of the tissue.
        alpha: (X, Y, Z) share of the tissue, 0 to 1.
    """
    coarse, coarse_back = ndimage.gaussian_filter(hu, 1.0), ndimage.gaussian_filter(back, 1.0)
    dense = np.clip((coarse_back - SOFT_HU) / (VESSEL_HU - SOFT_HU), 0, 1)
    alpha = np.where(coarse_back > coarse, alpha * (1 - dense), alpha)
    fine = np.where(alpha > 0.5, hu - coarse, back - coarse_back)
    return coarse_back + alpha * (coarse - coarse_back) + fine


def _near(mask: np.ndarray, distance_mm: float) -> np.ndarray:
    """Mask of the voxels within a distance of a mask, in voxels of 1 mm."""
    return ndimage.distance_transform_edt(~mask) <= distance_mm if mask.any() else mask


def _feather(mask: np.ndarray) -> np.ndarray:
    """Share of tissue, 0 to 1: the mask dilated by 2 mm and smoothed by 1 mm."""
    return ndimage.gaussian_filter(_near(mask, 2.0).astype(np.float32), 1.0)


def control_tissue(places: Places, avoid: list[Sphere], like: Tissue, rng: np.random.Generator) -> Tissue | None:
    """Nodule-free lung of the same shape and native spacing as the nodule ``like``, from a random place.

    A vessel cut to the shape of a small nodule looks like one; as a control it would teach that nodules are negatives.
    So up to :data:`CUT_VESSEL_MM` only tissue without vessels under the mask is taken; None if 20 places had none.

    Args:
        places: places of the lung to take tissue from.
        avoid: lesions of that lung.
        like: nodule that the control resembles.
        rng: random generator.
    """
    shape, spacing = like.hu.shape, like.spacing_mm
    nx, ny, nz = (int(np.ceil(n * s)) | 1 for n, s in zip(shape, spacing, strict=True))
    for _ in range(20):
        place = places.find_place(like.diameter_mm, avoid, rng)
        if place is None:
            return None
        hu = cut_patch(places.hu, place, (nx, ny, nz), 0).astype(np.float32)
        native = ndimage.zoom(hu, np.array(shape) / (nx, ny, nz), order=1)  # as coarse as the nodule's own voxels
        if like.diameter_mm > CUT_VESSEL_MM or not (native > VESSEL_HU)[like.mask].any():
            return Tissue(native, like.mask, spacing, like.center.copy(), like.diameter_mm, "control")
    return None
