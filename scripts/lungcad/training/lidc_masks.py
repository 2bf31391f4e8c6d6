# SPDX-License-Identifier: Apache-2.0
"""Masks of nodules that several of LIDC-IDRI's readers agree on, on a case's grid (Liu and Chan 2020, figure 5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungcad.geometry import scaled_affine, to_index, to_world
from lungcad.lidc.clustering import cluster_readings
from lungcad.lidc.readings import LidcScan, Reading
from lungcad.lidc.size import enclosed_pixels

AGREEING = 3
"""Number of readers who must outline a voxel to make it nodule; if a nodule has fewer readers, all must agree."""


@dataclass(frozen=True)
class OutlinedNodule:
    """Nodule with its mask in the voxels of its scan.

    Attributes:
        name: patient and number within the series.
        first: (3,) int, first voxel of the mask: column, row, slice.
        mask: (a, b, c) bool; all False if too few readers agree on any voxel.
        malignancy: malignancy score of each reader, 1 to 5.
        center: (3,) centre of all readers' voxels together, continuous index.
    """

    name: str
    first: np.ndarray
    mask: np.ndarray
    malignancy: tuple[float, ...]
    center: np.ndarray


def outlined_nodules(scan: LidcScan, affine: np.ndarray, agreeing: int = AGREEING) -> list[OutlinedNodule]:
    """Nodules of a scan with their masks, from foot to head.

    Args:
        scan: scan with its readings; columns and rows are the first two axes of the volume.
        affine: (4, 4) of the volume, index to LPS mm; its third axis runs along z.
        agreeing: number of readers who must outline a voxel.
    """
    nodules = []
    for number, group in enumerate(cluster_readings(scan), start=1):
        voxels = [_voxels(reading, affine) for reading in group]
        together = np.concatenate(voxels)
        if not len(together):  # outlines that enclose no pixel
            continue
        first = together.min(axis=0)
        count = np.zeros(np.ptp(together, axis=0) + 1, int)
        for outlined in voxels:
            count[tuple((outlined - first).T)] += 1
        nodules.append(
            OutlinedNodule(
                f"{scan.patient_id}_{number}", first, count >= min(agreeing, len(group)),
                tuple(float(reading.ratings["malignancy"]) for reading in group), together.mean(axis=0),
            )
        )  # fmt: skip
    return nodules


def _voxels(reading: Reading, affine: np.ndarray) -> np.ndarray:
    """Voxels (N, 3) inside a reader's outlines and outside the exclusions, each once."""
    parts: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for contour in reading.contours:
        pixels = enclosed_pixels(contour.points)
        number = round((contour.z_mm - affine[2, 3]) / affine[2, 2])
        parts[contour.inclusion].append(np.column_stack([pixels, np.full(len(pixels), number)]))
    included = np.unique(np.concatenate([np.zeros((0, 3), int), *parts[True]]), axis=0)
    holes = {tuple(voxel) for part in parts[False] for voxel in part.tolist()}
    return np.array([voxel for voxel in included.tolist() if tuple(voxel) not in holes], dtype=int).reshape(-1, 3)


def nearest_nodule(
    nodules: Sequence[OutlinedNodule], affine: np.ndarray, place_mm: np.ndarray, max_distance_mm: float
) -> OutlinedNodule | None:
    """Nodule with its centre nearest to a place, or None if none is within ``max_distance_mm``.

    Args:
        nodules: nodules of a scan.
        affine: (4, 4) of the scan, index to LPS mm.
        place_mm: (3,) place in LPS mm.
        max_distance_mm: greatest distance.
    """
    distances = [float(np.linalg.norm(to_world(affine, nodule.center) - place_mm)) for nodule in nodules]
    return nodules[int(np.argmin(distances))] if distances and min(distances) <= max_distance_mm else None


def set_on_grid(masks: np.ndarray, number: int, nodule: OutlinedNodule, affine: np.ndarray, grid: np.ndarray) -> None:
    """Mark a nodule's voxels in a case's masks, by linear interpolation of its mask.

    Args:
        masks: (X, Y, Z) masks of a case, changed in place.
        number: number that the nodule's voxels get.
        nodule: nodule in the volume's voxels.
        affine: (4, 4) of the volume, index to mm.
        grid: (4, 4) of the masks, index to the same mm.
    """
    mask = np.pad(nodule.mask.astype(np.float32), 1)
    mask_affine = scaled_affine(affine, (nodule.first - 1).tolist(), (1, 1, 1))
    corners = np.array(np.meshgrid(*([0, n - 1] for n in mask.shape), indexing="ij")).reshape(3, -1).T
    places = to_index(grid, to_world(mask_affine, corners))
    low = np.maximum(np.floor(places.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 1, masks.shape)
    if (low >= high).any():
        return
    step = np.linalg.inv(mask_affine) @ grid
    size = tuple((high - low).tolist())
    voxels = ndimage.affine_transform(mask, step[:3, :3], step[:3, :3] @ low + step[:3, 3], size, order=1) >= 0.5
    masks[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][voxels] = number
