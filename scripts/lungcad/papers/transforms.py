# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms that papers share: a scan to its working grid, candidates to crops.

One case is one dictionary. ``scan`` (:class:`~lungcad.scan.scan.Scan`) holds the volume and its lung mask and is made
once; ``findings`` goes from stage to stage; other keys belong to one stage. Tensors have a batch dimension here.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from lungcad.finding import centers_of
from lungcad.geometry import to_index
from lungcad.reading.monai_reader import to_volume
from lungcad.scan.blanking import BLANK_HU, blanked_grid
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.scan.scan import Scan

Data = dict[Hashable, Any]
"""Data of one case, by key."""


class LoadedScand(MapTransform):
    """Make the ``scan`` of a loaded image; a scan that a chain shares stays.

    Args:
        keys: key of the loaded image.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            d["scan"] = d.get("scan") or Scan(to_volume(d[key]))
        return d


class LungGridd(MapTransform):
    """Resample the image to the working grid and find the lungs.

    The data get ``image`` (1, 1, X, Y, Z) HU, ``lungs`` (X, Y, Z) bool, and ``grid_affine`` (4, 4), index to LPS mm.

    Args:
        keys: key of the loaded image; not needed where the data have a ``scan`` already.
        spacing_mm: voxel size of the working grid, x, y, z.
        margin_mm: distance from the lungs beyond which tissue is blanked.

    Raises:
        InputError: E-NO-LUNG, on a call, if the volume shows no lung.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], margin_mm: float):
        super().__init__(keys)
        self.spacing_mm, self.margin_mm = spacing_mm, margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        for key in self.keys:
            scan = d.get("scan") or Scan(to_volume(d[key]))
            grid = blanked_grid(scan, self.spacing_mm, self.margin_mm)
            d |= {"scan": scan, key: grid.hu[None, None], "lungs": grid.lungs, "grid_affine": grid.affine}
        return d


class CandidateCropsd(MapTransform):
    """Replace ``image`` by crops (N, 1, X, Y, Z) around the ``findings``.

    ``proposals`` (N, 3) are the crops' true centres as continuous indices of the working grid, since a crop begins at a
    whole voxel.

    Args:
        keys: key of the image on the working grid, (1, 1, X, Y, Z).
        patch_size: size of a crop in voxels.
    """

    def __init__(self, keys: Any, patch_size: Sequence[int]):
        super().__init__(keys)
        x, y, z = patch_size
        self.patch_size = (x, y, z)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """Apply the transform to one case."""
        d = dict(data)
        index = to_index(d["grid_affine"], centers_of(d["findings"]))
        d["proposals"] = np.array([patch_center(place, self.patch_size) for place in index]).reshape(-1, 3)
        for key in self.keys:
            volume = d[key][0, 0].numpy()
            crops = [cut_patch(volume, place, self.patch_size, BLANK_HU) for place in index]
            d[key] = torch.from_numpy(np.array(crops, dtype=np.float32).reshape(-1, 1, *self.patch_size))
        return d


def prepare_case(batch: Data, device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple[Any, ...]:
    """MONAI's ``prepare_batch`` of a case: the image, no label, and ``lungs`` and ``diameters`` for the inferer."""

    def on_device(name: str) -> torch.Tensor:
        tensor = batch[name]
        tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor  # whose operations are slow
        pinned = device.type == "cuda" and tensor.device.type == "cpu"
        return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=non_blocking)

    return on_device("image"), None, (), {name: on_device(name) for name in ("lungs", "diameters") if name in batch}
