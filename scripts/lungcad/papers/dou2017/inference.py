# SPDX-License-Identifier: Apache-2.0
"""Place and size of a nodule relative to a patch: equation 2 of Dou et al., MICCAI 2017, and its inverse.

T_x = 2 (G_x - P_x) / S_x, likewise y and z; T_d = log(G_d / sqrt(S_x^2 + S_y^2 + S_z^2)). All lengths in mm, S is the
patch's extent: with anisotropic voxels only millimetres give T_d a meaning.
"""

import numpy as np


def encode(center_mm: np.ndarray, diameter_mm: np.ndarray, proposal_mm: np.ndarray, patch_mm: np.ndarray) -> np.ndarray:
    """Regression targets (..., 4) of nodules (..., 3), (...) seen from proposals (..., 3) in patches of size (3,)."""
    shift = 2 * (np.asarray(center_mm) - proposal_mm) / patch_mm
    size = np.log(np.asarray(diameter_mm) / np.linalg.norm(patch_mm))
    return np.concatenate([shift, size[..., None]], axis=-1)


def decode(target: np.ndarray, proposal_mm: np.ndarray, patch_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (..., 3) and diameters (...) in mm: the inverse of :func:`encode`."""
    center = proposal_mm + np.asarray(target)[..., :3] * patch_mm / 2
    return center, np.exp(target[..., 3]) * np.linalg.norm(patch_mm)
