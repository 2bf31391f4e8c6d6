# SPDX-License-Identifier: Apache-2.0
"""Synthetic chest as a volume: anatomy, airways, vessels, nodules, and the scanner's blur and noise."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from lungcad.geometry import to_world
from lungcad.phantom import anatomy
from lungcad.phantom.nodules import Nodule, paint_nodule, place_nodules
from lungcad.phantom.vessels import Tree, box_points, grow_tree, tube_cover

ISOCENTER_LPS_MM = np.array([6.0, -14.0, -120.0])
"""Middle of the volume in LPS mm; not zero, so that a lost offset shows."""
VESSEL_HU = 45.0
LEAVES_PER_TREE = 1100
"""Number of vessel ends of each tree in an adult."""
BLUR_MM = 0.7
"""Standard deviation in mm of the scanner's point spread in the slice."""
NOISE_HU, NOISE_GRAIN_PIXELS = 16.0, 0.75
"""Standard deviation of the noise in HU, and of its correlation in pixels."""
TEXTURE_HU, TEXTURE_MM = 13.0, 2.0
"""Texture of the lung: standard deviation in HU and size in mm."""
TILE = (128, 128, 48)
"""Period of the lung's texture in voxels; under the noise no eye or network sees that it repeats."""
WORKERS = 4
"""Number of threads."""
STRIP = 128
"""Number of columns drawn at a time: they fit a core's cache, which is a third faster."""

AIRWAYS_MM = (
    ((1, 6, 140), (0, 10, 34), 8.0), ((0, 10, 34), (-30, 12, 12), 6.5), ((0, 10, 34), (36, 15, 6), 6.0),
    ((-30, 12, 12), (-50, 8, 28), 3.6), ((-30, 12, 12), (-38, 18, -22), 4.6), ((-38, 18, -22), (-56, 30, -56), 2.4),
    ((36, 15, 6), (54, 6, 24), 3.4), ((36, 15, 6), (48, 26, -30), 4.0), ((48, 26, -30), (64, 36, -60), 2.2),
    ((-38, 18, -22), (-56, -10, -40), 2.2), ((36, 15, 6), (60, -12, -6), 2.2),
)  # fmt: skip
"""Trachea, main, lobar and a few segmental bronchi in body mm: start, end, inner radius at the start."""

VESSEL_ROOTS_MM = ((-34.0, 8.0, 6.0), (-30.0, 14.0, -20.0), (36.0, 10.0, 12.0), (32.0, 16.0, -16.0))
"""Roots of the vessel trees, artery and vein of either lung, in body mm."""


def make_phantom(
    seed: int = 0,
    shape: tuple[int, int, int] = (512, 512, 140),
    spacing_mm: tuple[float, float, float] = (0.7, 0.7, 2.0),
) -> tuple[np.ndarray, np.ndarray, list[Nodule]]:
    """Make a chest-like CT with nodules of known position and size.

    The body fills the volume: a smaller field of view shows a smaller body. Nodules keep their size in mm.

    Args:
        seed: random seed; equal seeds give equal volumes.
        shape: number of voxels along X, Y, Z.
        spacing_mm: voxel size in mm along X, Y, Z.

    Returns:
        Hounsfield units (X, Y, Z) float32 holding whole numbers; the affine (4, 4) from index to LPS mm; the
        nodules.

    Raises:
        ValueError: the volume is too small to hold the nodules.
    """
    rng = np.random.default_rng(seed)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = ISOCENTER_LPS_MM - (np.array(shape) - 1) / 2 * spacing_mm
    axes = tuple(affine[a, 3] + spacing_mm[a] * np.arange(shape[a]) for a in range(3))
    scale = np.array(shape) * spacing_mm / anatomy.FIELD_MM

    hu = _draw_anatomy(axes, scale)
    lung = hu < (anatomy.LUNG_HU + VESSEL_HU) / 2  # and the air around the body, which no nodule reaches
    body_points, depth = _lung_points(rng, 60000)
    trees = _grow_vessels(body_points[depth > 4], scale, rng)
    _draw_tubes(hu, axes, scale, trees)
    nodules = place_nodules(
        ISOCENTER_LPS_MM + body_points[:20000] * scale,
        depth[:20000] * scale.min(),
        to_world(affine, (np.array(shape) - 1) / 2),
        (np.concatenate([t.nodes for t in trees]), np.concatenate([t.radius_mm for t in trees])),
        rng,
    )
    voxels = [paint_nodule(hu, lung, axes, nodule, anatomy.LUNG_HU, rng) for nodule in nodules]
    nodules = [
        nodule._replace(volume_mm3=count * float(np.prod(spacing_mm)))
        for nodule, count in zip(nodules, voxels, strict=True)
    ]
    _scan(hu, spacing_mm, seed)
    return hu, affine, nodules


def _draw_anatomy(axes: tuple[np.ndarray, ...], scale: np.ndarray) -> np.ndarray:
    """Volume (X, Y, Z) in HU without airways, lung vessels, nodules, blur and noise."""
    x, y, z = (
        ((line - middle) / s).astype(np.float32) for line, middle, s in zip(axes, ISOCENTER_LPS_MM, scale, strict=True)
    )
    hu = np.empty((len(x), len(y), len(z)), dtype=np.float32, order="F")  # a slice lies in one piece

    def draw(k: int) -> None:
        for first in range(0, len(x), STRIP):
            strip = slice(first, first + STRIP)
            hu[strip, :, k] = anatomy.slice_hu(x[strip, None], y[None], z[k])

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(draw, range(len(z))))
    return hu


def _lung_points(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random points of the lungs in body mm (N, 3) and their depth (N,) under the surface in mm."""
    points = (rng.random((count, 3)) - 0.5) * (270, 200, 270)
    x, y, z = points.T
    depth = -anatomy.lung(*anatomy.bend(x, y, z), z)
    return points[depth > 0], depth[depth > 0]


def _grow_vessels(points: np.ndarray, scale: np.ndarray, rng: np.random.Generator) -> list[Tree]:
    """Vessel trees in LPS mm, one per root; a smaller body has fewer branches, since they would touch."""
    leaves = int(LEAVES_PER_TREE * min(1.0, float(np.prod(scale))) ** (2 / 3))
    trees = []
    for root in np.array(VESSEL_ROOTS_MM):
        same_side = points[np.sign(points[:, 0]) == np.sign(root[0])]
        # An artery runs beside every bronchus.
        ends = np.array([end for _, end, _ in AIRWAYS_MM if end[0] * root[0] > 0], dtype=float)
        beside = ends + np.sign(root) * (6.0, 0.0, 3.0)
        others = same_side[rng.choice(len(same_side), leaves, replace=False)]
        tree = grow_tree(root, np.concatenate([beside, others]), rng)
        trees.append(Tree(ISOCENTER_LPS_MM + tree.nodes * scale, tree.parent, tree.radius_mm * scale.min()))
    return trees


def _draw_tubes(hu: np.ndarray, axes: tuple[np.ndarray, ...], scale: np.ndarray, trees: list[Tree]) -> None:
    """Draw vessels and airways into the volume, in place."""
    edge = max(0.8, float(axes[0][1] - axes[0][0]))
    airways = [(ISOCENTER_LPS_MM + np.array([a, b]) * scale, r * float(scale.min())) for a, b, r in AIRWAYS_MM]
    wall = [(a, b, 1.1 * r + 0.5, 0.82 * r + 0.5) for (a, b), r in airways]
    for start, end, *radii in [piece for tree in trees for piece in tree.tubes()] + wall:
        margin = max(radii) + edge
        found = box_points(hu.shape, axes, np.minimum(start, end) - margin, np.maximum(start, end) + margin)
        if found is not None:
            cover = tube_cover(start, end, (radii[0], radii[1]), found[1], edge)
            box = hu[found[0]]
            np.maximum(box, anatomy.LUNG_HU + cover * (VESSEL_HU - anatomy.LUNG_HU), out=box)
    for (start, end), r in airways:
        found = box_points(hu.shape, axes, np.minimum(start, end) - r - edge, np.maximum(start, end) + r + edge)
        if found is not None:
            box = hu[found[0]]
            box += tube_cover(start, end, (r, 0.75 * r), found[1], edge) * (anatomy.AIR_HU - box)


def _scan(hu: np.ndarray, spacing_mm: tuple[float, float, float], seed: int) -> None:
    """Add lung texture, blur and correlated noise, in place; results are whole numbers that fit 12 bits."""
    pixel = min(spacing_mm[:2])
    tile = np.random.default_rng((seed, 0, 1)).standard_normal(TILE, dtype=np.float32)
    tile = gaussian_filter(tile, TEXTURE_MM / np.array(spacing_mm), mode="wrap")
    tile *= TEXTURE_HU / tile.std()
    repeats = [-(-n // t) for n, t in zip(hu.shape[:2], TILE[:2], strict=True)]

    def finish(k: int) -> None:
        plane = hu[:, :, k]
        texture = np.tile(tile[:, :, k % TILE[2]], repeats)[: plane.shape[0], : plane.shape[1]]
        plane += texture * ((plane > -960) & (plane < -700))
        plane[:] = gaussian_filter(plane, BLUR_MM / pixel)
        grain = np.random.default_rng((seed, k, 2)).standard_normal(plane.shape, dtype=np.float32)
        for axis in (0, 1):
            grain = gaussian_filter1d(grain, NOISE_GRAIN_PIXELS, axis=axis)
        plane += grain * (NOISE_HU / grain.std())
        np.clip(np.rint(plane, out=plane), -1024, 3071, out=plane)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(finish, range(hu.shape[2])))
