# SPDX-License-Identifier: Apache-2.0
"""Anatomy of the synthetic chest: organs as signed distances, and the Hounsfield units of one axial slice.

Coordinates are in body millimetres: x to the left, y to the back, z to the head, the carina's region at the origin, in
a body 358 mm wide (field of view) and 280 mm high. A signed distance is negative inside; it is approximate, just near
enough to a distance to give edges a width. Sizes and positions are an adult's, by eye, after axial CT.
"""

import numpy as np

Level = float | np.floating | np.ndarray
"""Number, or an array with one number per point."""

FIELD_MM = (358.4, 358.4, 280.0)
"""Extent in mm along x, y, z of the body that a volume shows; a smaller volume shows a smaller body."""

AIR_HU, LUNG_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, LIVER_HU = -1000.0, -865.0, -105.0, 52.0, 42.0, 62.0
RIB_PITCH_MM, VERTEBRA_MM = 26.0, 25.0
"""Distance in mm along z from rib to rib, and from vertebra to vertebra."""
EDGE_MM = 0.9
"""Width in mm over which one tissue passes into the next before the scanner's blur."""


def ellipse(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    """Approximate signed distance to an ellipse around the origin with half axes ``rx``, ``ry`` in mm."""
    return (np.hypot(x / rx, y / ry) - 1) * min(rx, ry)


def trunk(x: np.ndarray, y: np.ndarray, rx: Level, ry: Level) -> np.ndarray:
    """Approximate signed distance to the cross-section of a chest: between an ellipse and a rectangle."""
    u, v = (x / rx) ** 2, (y / ry) ** 2
    return (np.sqrt(0.5 * (u + v + np.sqrt(u * u + v * v))) - 1) * np.minimum(rx, ry, dtype=np.float32)


def bend(x: np.ndarray, y: np.ndarray, z: Level) -> tuple[np.ndarray, np.ndarray]:
    """Shift body coordinates by a few mm in slow waves, so that no organ is a perfect ellipse."""
    return (
        x + 2.2 * np.sin(y / 21 + z / 31) + 0.5 * np.sin(y / 9.3 - z / 17),
        y + 2.2 * np.sin(x / 26 - z / 27 + 1) + 0.5 * np.sin(x / 9.9 + z / 14),
    )


def union(a: np.ndarray, b: np.ndarray, blend_mm: float = 0.0) -> np.ndarray:
    """Union of two signed distances, rounded over ``blend_mm`` (polynomial smooth minimum)."""
    if not blend_mm:
        return np.minimum(a, b)
    near = np.clip(1 - np.abs(a - b) / blend_mm, 0, None)
    return np.minimum(a, b) - 0.25 * blend_mm * near**2


def segment(x: np.ndarray, y: np.ndarray, a: tuple[float, float], b: tuple[float, float], radius: float) -> np.ndarray:
    """Signed distance to a rounded bar between the points a and b of a slice."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - a[0] - t * dx, y - a[1] - t * dy) - radius


def narrowing(z: Level) -> Level:
    """Width of the chest towards the apex as a share: 1 below the carina, near 0 at 124 mm."""
    return np.sqrt(np.clip(1 - np.clip(z / 124.0, 0, 1) ** 2.6, 1e-3, 1))


def heart(x: np.ndarray, y: np.ndarray, z: Level) -> np.ndarray:
    """Approximate signed distance to the heart with its pericardium: an ellipsoid that points forward and left."""
    along, across = 0.8 * (x - 20) - 0.6 * (y + 26), 0.6 * (x - 20) + 0.8 * (y + 26)
    rim = np.sqrt((along / 62) ** 2 + (across / 46) ** 2 + ((z + 54) / 52) ** 2)
    return (rim - 1) * 46


def aorta(x: np.ndarray, y: np.ndarray, z: Level) -> np.ndarray:
    """Approximate signed distance to the descending aorta, left of the spine, up to the back end of the arch."""
    return np.maximum(np.hypot(x - 22 + 0.03 * z, y - 44) - 12.5, z - 52)


def mediastinum(x: np.ndarray, y: np.ndarray, z: Level) -> np.ndarray:
    """Approximate signed distance to the mediastinum: heart, vessels, hila, spine, the sheet behind the sternum."""
    upper = np.maximum(trunk(x - 2, y + 12, 33, 46) + 0.06 * np.abs(z - 30), -14 - z)
    lower = np.maximum(ellipse(x - 4, y - 26, 19, 34), z - 60)
    atrium = (np.sqrt(((x + 22) / 24) ** 2 + ((y + 18) / 30) ** 2 + ((z + 42) / 36) ** 2) - 1) * 24
    sheet = np.abs(x - 4) - 3 - 0.45 * np.clip(-y - 64, 0, None)
    sheet = np.maximum(sheet, y)
    spine = ellipse(x, y - 76, 25, 30)
    hila = (np.sqrt(((np.abs(x) - 34) / 11) ** 2 + ((y - 11) / 12) ** 2 + ((z - 2) / 22) ** 2) - 1) * 11
    body = union(union(heart(x, y, z), atrium, 8), union(upper, lower, 14), 14)
    body = union(body, union(aorta(x, y, z), spine, 12), 8)
    return union(union(body, hila, 10), sheet, 6)


def lung(x: np.ndarray, y: np.ndarray, z: Level, middle: np.ndarray | None = None) -> np.ndarray:
    """Approximate signed distance to the surface of either lung.

    Args:
        x, y, z: coordinates in body mm after :func:`bend`; arrays that broadcast.
        middle: the mediastinum's distance at the same points; None to compute it.
    """
    s = narrowing(z)
    side = np.abs(x) - (62 - 8 * (1 - s))
    outer = trunk(side, y - 4, 67 * s, 90 * s)
    dome = np.where(x < 0, np.float32(-58), np.float32(-70)) - 0.0085 * (side**2 + (y + 14) ** 2)
    inner = union(mediastinum(x, y, z) if middle is None else middle, (z - dome) * 0.75, 4)
    return -union(-outer, inner, 5)


def paint(hu: np.ndarray, distance: np.ndarray, value: float | np.ndarray, edge_mm: float = EDGE_MM) -> None:
    """Paint a tissue over a slice, in place, with a soft edge.

    Args:
        hu: slice in HU.
        distance: signed distance to the tissue in mm.
        value: HU of the tissue.
        edge_mm: width of the edge in mm.
    """
    cover = np.clip(0.5 - distance / edge_mm, 0, 1)
    hu += cover * (value - hu)


def cortical(distance: np.ndarray, marrow_hu: float, cortex_hu: float) -> np.ndarray:
    """HU of a bone by its signed distance: cortex in the outer 2 mm, marrow inside."""
    return marrow_hu + (cortex_hu - marrow_hu) * np.exp(-(((distance + 1.2) / 1.3) ** 2))


def slice_hu(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """Axial slice without airways, lung vessels, blur and noise.

    Args:
        x, y: (X, 1) and (1, Y) float32 coordinates in body mm.
        z: position in body mm; a numpy float32, since a float64 would turn the whole slice into float64.

    Returns:
        (X, Y) float32, Hounsfield units.
    """
    couch_x, couch_y = x, y
    x, y = bend(x, y, z)
    narrow = float(narrowing(z)) ** 0.6
    cage = trunk(x, y - 4, 132 * narrow + 4, 92 * narrow + 5)
    shoulder = float(np.clip((z - 50) / 60, 0, 1))
    skin = trunk(x, y - 6, 166.0, 120 - 4 * shoulder)
    middle, pump = mediastinum(x, y, z), heart(x, y, z)
    hu = np.full(skin.shape, AIR_HU, dtype=np.float32)
    _couch(hu, couch_x, couch_y)
    paint(hu, skin, 15.0)
    paint(hu, skin + 2.2, FAT_HU)
    _wall(hu, cage, x, y, z)
    _contents(hu, cage, middle, pump, x, y, z)
    _bones(hu, cage, x, y, z)
    paint(hu, lung(x, y, z, middle), LUNG_HU + 0.35 * y)  # the lung hangs: denser towards the back
    return hu


def _couch(hu: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Paint the scanner's couch."""
    surface = y - 133 + x**2 / 1100
    paint(hu, np.maximum(np.abs(surface - 9) - 9, np.abs(x) - 172), -920.0)
    paint(hu, np.maximum(np.abs(np.abs(surface - 9) - 9) - 1.0, np.abs(x) - 172), -150.0)


def _wall(hu: np.ndarray, cage: np.ndarray, x: np.ndarray, y: np.ndarray, z: float) -> None:
    """Paint the muscles and fat of the chest wall, and the shoulder blades."""
    back = np.clip((y - 40) / 60, 0, 1) * np.clip(1.4 - np.abs(x) / 80, 0, 1)
    front = np.clip((-y - 30) / 50, 0, 1) * np.clip((z + 40) / 80, 0, 1) * np.exp(-(((np.abs(x) - 62) / 40) ** 2))
    side = np.clip((np.abs(x) - 90) / 40, 0, 1) * np.clip((z + 60) / 120, 0, 1)
    above = 62 * (1 - float(narrowing(z)) ** 0.6) * np.clip(1.2 - np.abs(y - 20) / 90, 0, 1)  # shoulders
    thickness = 11.5 + 14 * back + 9 * front + 7 * side + above
    paint(hu, cage - thickness, MUSCLE_HU, 1.5)
    paint(hu, np.abs(cage - 12 - 2 * np.sin(x / 17) * np.cos(y / 15)) - 0.6, FAT_HU + 40, 1.5)  # fat between the layers
    if z > 5:  # shoulder blades and the muscles that wrap them
        for flip in (-1, 1):
            blade = segment(flip * x, y, (92, 98), (141, 54), 3.0)
            paint(hu, blade - 9, MUSCLE_HU, 1.5)
            paint(hu, blade, cortical(blade, 250, 620))


def _contents(
    hu: np.ndarray, cage: np.ndarray, middle: np.ndarray, pump: np.ndarray, x: np.ndarray, y: np.ndarray, z: float
) -> None:
    """Paint the organs inside the rib cage, except the lungs."""
    paint(hu, cage, MUSCLE_HU - 8)
    fat = np.maximum(middle + 2.0, cage + 5)
    paint(hu, fat, FAT_HU + 10, 2.0)
    below = (z + 58 + 0.0085 * ((np.abs(x) - 62) ** 2 + (y + 14) ** 2)) * 0.75
    if z < -40:
        abdomen = np.maximum(below, cage + 4)
        paint(hu, np.maximum(abdomen, x - 30 - 0.3 * y), LIVER_HU)
        paint(hu, np.maximum(abdomen + 9, 32 + 0.3 * y - x), FAT_HU + 5)
        paint(hu, np.maximum(abdomen + 12, ellipse(x - 76, y + 22, 34, 30)), 25.0)  # stomach
        paint(hu, np.maximum(abdomen + 12, ellipse(x - 76, y + 38, 24, 12) + 0.3 * np.abs(z + 100)), AIR_HU)  # its gas
        paint(hu, np.maximum(abdomen + 8, ellipse(x - 86, y - 44, 32, 26)), 55.0)  # spleen
    # A rim of fat of uneven width lies between the muscle and the pericardium.
    paint(hu, pump + 4 + 3 * np.sin(x / 13 + y / 19), BLOOD_HU)
    if -82 < z < -6:
        paint(hu, ellipse(x + 22, y + 18, 20, 25) + 0.3 * abs(z + 42), BLOOD_HU)  # right atrium
        paint(hu, ellipse(x - 4, y - 10, 26, 15) + 0.3 * abs(z + 36), BLOOD_HU)  # left atrium
    paint(hu, aorta(x, y, z) + 1.0, BLOOD_HU)
    if z > -20:
        for vx, vy, r in ((-20, -24, 10.0), (2, -30, 15.0), (27, -10 - 0.3 * z, 13.0 - 0.08 * max(z, 0))):
            # Superior vena cava, ascending aorta, pulmonary trunk; above the arch the arteries to the head.
            paint(hu, np.hypot(x - vx, y - vy) - r * (1 if z < 48 else 0.55), BLOOD_HU)
        if 34 < z < 52:
            paint(hu, segment(x, y, (2, -30), (21, 42), 12.0) + 0.4 * abs(z - 43), BLOOD_HU)  # aortic arch
    paint(hu, ellipse(x - 8, y - 34, 8, 5), 35.0)  # oesophagus


def _bones(hu: np.ndarray, cage: np.ndarray, x: np.ndarray, y: np.ndarray, z: float) -> None:
    """Paint ribs, vertebrae and sternum."""
    fall = 0.35 * y - 0.25 * np.abs(x)  # ribs descend from the spine outwards and forwards
    phase = (z - fall + RIB_PITCH_MM / 2) % RIB_PITCH_MM - RIB_PITCH_MM / 2
    rib = (np.sqrt((phase / 6.0) ** 2 + ((cage - 6.2) / 3.9) ** 2) - 1) * 3.9
    rib = np.maximum(rib, 14 - np.abs(x))
    cartilage = np.clip((-y - 62) / 8, 0, 1) * np.clip((88 - np.abs(x)) / 8, 0, 1)
    paint(hu, rib, (1 - cartilage) * cortical(rib, 280, 850) + cartilage * 110)
    level = abs((z + VERTEBRA_MM / 2) % VERTEBRA_MM - VERTEBRA_MM / 2)  # 0 in mid vertebra, half a pitch in the disc
    body = trunk(x, y - 70, 17 - 0.12 * (12 - level), 14.5)
    paint(hu, body, cortical(body, 190, 480) if level < 10 else 85.0)
    arch = np.abs(np.hypot(x, (y - 93) * 1.1) - 11.0) - 2.6
    paint(hu, np.maximum(arch, 84 - y), cortical(arch, 300, 650))
    paint(hu, np.hypot(x, y - 92.5) - 8.0, 30.0)  # the cord's canal
    spine = segment(x, y, (0, 103), (0, 114), 3.4)
    paint(hu, spine, cortical(spine, 260, 600))
    if level < 7:
        wing = segment(np.abs(x), y, (10, 90), (36, 95), 4.4)
        paint(hu, wing, cortical(wing, 260, 600))
    if -70 < z < 90:
        sternum = trunk(x, y + 96.5 * float(narrowing(z)) ** 0.6, 19.0 if z > 50 else 14.0, 6.0)
        paint(hu, sternum, cortical(sternum, 150, 480))
