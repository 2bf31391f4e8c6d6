# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of the bundles: a scan to network input, network output to findings.

One case is one dictionary. ``scan`` (:class:`~lungcad.scan.scan.Scan`) holds the volume and its lung mask and is made
once; ``findings`` goes from stage to stage; other keys belong to one stage. Tensors have a batch dimension here.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform

from lungcad.finding import centers_of
from lungcad.geometry import to_index
from lungcad.reading.monai_reader import to_volume
from lungcad.scan.blanking import BLANK_HU, blanked_grid
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.scan.scan import Scan

Data = dict[Hashable, Any]


class LungGridd(MapTransform):
    """From the image to the working grid: ``image`` (1, 1, X, Y, Z) HU, ``lungs`` (X, Y, Z), ``grid_affine`` LPS.

    Args:
        keys: of the loaded image; not needed where the data has a ``scan`` already.
        spacing_mm: of the working grid.
        margin_mm: tissue farther from the lungs is blanked.

    Raises:
        InputError: E-NO-LUNG.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], margin_mm: float):
        super().__init__(keys)
        self.spacing_mm, self.margin_mm = spacing_mm, margin_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            scan = d.get("scan") or Scan(to_volume(d[key]))
            grid = blanked_grid(scan, self.spacing_mm, self.margin_mm)
            d |= {"scan": scan, key: grid.hu[None, None], "lungs": grid.lungs, "grid_affine": grid.affine}
        return d


class CandidateCropsd(MapTransform):
    """Replace ``image`` by crops around the ``findings``: (N, 1, X, Y, Z), and tell their true centres.

    Args:
        keys: of the image on the working grid, (1, 1, X, Y, Z).
        patch_size: in voxels.
    """

    def __init__(self, keys: Any, patch_size: Sequence[int]):
        super().__init__(keys)
        x, y, z = patch_size
        self.patch_size = (x, y, z)

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        index = to_index(d["grid_affine"], centers_of(d["findings"]))
        d["proposals"] = np.array([patch_center(place, self.patch_size) for place in index]).reshape(-1, 3)
        for key in self.keys:
            volume = d[key][0, 0].numpy()
            crops = [cut_patch(volume, place, self.patch_size, BLANK_HU) for place in index]
            d[key] = torch.from_numpy(np.array(crops, dtype=np.float32).reshape(-1, 1, *self.patch_size))
        return d


def prepare_case(batch: Data, device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple[Any, ...]:
    """MONAI's prepare_batch: the image, no label, and what else a stage has for its inferer, by name."""
    more = {name: batch[name].to(device, non_blocking=non_blocking) for name in ("lungs", "diameters") if name in batch}
    return batch["image"].to(device, non_blocking=non_blocking), None, (), more
