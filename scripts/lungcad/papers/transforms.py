# SPDX-License-Identifier: Apache-2.0
"""MONAI dictionary transforms of the bundles: a scan to network input, network output to findings.

One case is one dictionary. ``scan`` (:class:`~lungcad.grid.Scan`) holds the volume and its lung mask and is made once;
``findings`` goes from stage to stage; what lies between is the stage's own. Tensors have their batch dimension here.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from lungcad.finding import Finding, centers_of
from lungcad.geometry import swap_lps_ras, to_index, to_world
from lungcad.grid import Grid, Scan
from lungcad.isolation import BLANK_HU, far_from_lungs
from lungcad.localisation import decode
from lungcad.options import check_operating_point, switch
from lungcad.patch import cut, patch_center
from lungcad.score_volume import IndexMap, merge_spheres, suppress_score_volume
from lungcad.volume import Volume

Data = dict[Hashable, Any]

_BLANKED: WeakKeyDictionary[Scan, dict[tuple[float, ...], Grid]] = WeakKeyDictionary()
"""Stages of one chain share a grid; it goes when its scan goes."""


def to_volume(image: MetaTensor) -> Volume:
    """The volume behind a tensor that :class:`~lungcad.reader.CTSeriesReader` loaded, channel first or without one."""
    meta = image.meta
    hu = image.as_tensor().numpy()
    return Volume(
        hu[0] if hu.ndim == 4 else hu,
        swap_lps_ras(np.asarray(image.affine)),
        meta["series_uid"],
        tuple(meta["sop_instance_uids"]),
        tuple(meta["instance_numbers"]),
        meta["study_uid"],
        meta["frame_of_reference_uid"],
        meta["description"],
        list(meta["warnings"]),
    )


def blanked_grid(scan: Scan, spacing_mm: Sequence[float], margin_mm: float) -> Grid:
    """The scan's grid with everything blanked that is far from the lungs or outside the scan, as in training."""
    x, y, z = map(float, spacing_mm)
    known, key = _BLANKED.setdefault(scan, {}), (x, y, z, margin_mm)
    if key not in known:
        grid = scan.grid((x, y, z))
        far = torch.from_numpy(far_from_lungs(grid.lungs.numpy(), (x, y, z), margin_mm))
        outside = ~_inside(grid, scan.volume)
        known[key] = Grid(grid.hu.masked_fill(far | outside, BLANK_HU), grid.lungs, grid.affine)
    return known[key]


def _inside(grid: Grid, volume: Volume) -> torch.Tensor:
    """(X, Y, Z) bool: grid voxels whose centres lie within the volume. Both have the same axes but for their order."""
    step = np.linalg.inv(volume.affine) @ grid.affine
    ranges = []
    for axis, count in enumerate(grid.hu.shape):
        along = int(np.abs(step[:3, axis]).argmax())
        index = step[along, axis] * np.arange(count) + step[along, 3]
        ranges.append(torch.from_numpy((index > -0.5) & (index < volume.hu.shape[along] - 0.5)))
    return ranges[0][:, None, None] & ranges[1][:, None] & ranges[2]


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


class LoadCandidatesd(MapTransform):
    """Read ``findings`` of the scan's series from the path of a nodules.json or .csv."""

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        from lungcad.candidates import read_findings

        d = dict(data)
        for key in self.keys:
            d["findings"] = read_findings(Path(d[key]), d["scan"].volume.series_uid)
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
            crops = [cut(volume, place, self.patch_size, BLANK_HU) for place in index]
            d[key] = torch.from_numpy(np.array(crops, dtype=np.float32).reshape(-1, 1, *self.patch_size))
        return d


class ScoreVolumeToFindingsd(MapTransform):
    """3D non-maximum suppression and index mapping: score volume (1, 1, X', Y', Z') to ``findings``.

    Args:
        keys: of the score volume, log odds.
        spacing_mm: of the network's input.
        threshold: least score.
        radius_mm: of the suppression.
        most: candidates at most.
        shift_mm: window of the mean shift that refines a candidate's place.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], threshold: float, radius_mm: float, most: int,
                 shift_mm: float):  # fmt: skip
        super().__init__(keys)
        self.spacing_mm, self.threshold, self.radius_mm = spacing_mm, threshold, radius_mm
        self.most, self.shift_mm = most, shift_mm
        self.index_map = IndexMap()

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            x, y, z = (size * n for size, n in zip(self.spacing_mm, self.index_map.stride, strict=True))
            output, score = suppress_score_volume(
                d[key][0, 0], (x, y, z), self.radius_mm, self.threshold, self.most, self.shift_mm
            )
            centers = to_world(d["grid_affine"], self.index_map.to_voxel(output))
            d["findings"] = [
                Finding((float(c[0]), float(c[1]), float(c[2])), detection_score=float(s))
                for c, s in zip(centers, score, strict=True)
            ]
        return d


class DecodeHybridd(MapTransform):
    """Outputs (N, 6) of the hybrid-loss net to ``findings`` with probability, refined centre and diameter.

    Findings that turn out to be the same nodule are merged; those below ``threshold`` are dropped.

    Args:
        keys: of the outputs.
        spacing_mm: of the crops.
        patch_size: of the crops, in voxels.
        threshold: least nodule probability.
    """

    def __init__(self, keys: Any, spacing_mm: Sequence[float], patch_size: Sequence[int], threshold: float):
        super().__init__(keys)
        self.spacing_mm, self.threshold = np.array(spacing_mm), threshold
        self.patch_mm = self.spacing_mm * patch_size

    def __call__(self, data: Mapping[Hashable, Any]) -> Data:
        """See the class."""
        d = dict(data)
        for key in self.keys:
            output = d[key].float().cpu().reshape(-1, 6)
            probability = output[:, :2].softmax(dim=1)[:, 1].numpy()
            center, diameter = decode(output[:, 2:].numpy(), d["proposals"] * self.spacing_mm, self.patch_mm)
            lps = to_world(d["grid_affine"], center / self.spacing_mm)
            kept = [n for n in merge_spheres(lps, diameter, probability) if probability[n] >= self.threshold]
            d["findings"] = [
                Finding((float(lps[n, 0]), float(lps[n, 1]), float(lps[n, 2])), float(diameter[n]),
                        d["findings"][n].detection_score, float(probability[n]))
                for n in kept
            ]  # fmt: skip
        return d


class WriteFindingsd(Transform):
    """Write the result files of a bundle that runs on its own; see :func:`lungcad.results.write_results`.

    Args:
        output_dir: receives a folder named after the series.
        meta: the bundle's metadata.
        operating_point: name of the threshold in use.
        thresholds: by name.
        device: where the network ran.
        inputs: what was read.
        dicom_results: write DICOM objects too, where the input is DICOM (:mod:`lungcad.dicom_results`).

    Raises:
        InputError: E-CONFIG, ``dicom_results`` is neither true nor false, or there is no such operating point.
    """

    def __init__(self, output_dir: str, meta: Mapping[str, Any], operating_point: str, thresholds: Mapping[str, float],
                 device: torch.device, inputs: str, dicom_results: bool | str = False):  # fmt: skip
        check_operating_point(operating_point, thresholds)
        name = meta["name"]
        self.arguments: dict[str, Any] = {
            "thresholds": dict(thresholds), "operating_point": operating_point, "bundles": {name: meta["version"]},
            "weights_sha256": {name: meta["weights_sha256"]}, "device": str(device), "inputs": inputs, "timings": {},
        }  # fmt: skip
        self.output_dir, self.dicom_results = output_dir, switch("dicom_results", dicom_results)

    def __call__(self, data: Data) -> Data:
        """Write, and hand the case on."""
        from lungcad.dicom_results import DicomWriter
        from lungcad.results import write_results

        scan = data["scan"]
        volume = replace(scan.volume, warnings=list(scan.warnings))
        dicom = DicomWriter(volume, self.arguments["inputs"], scan.masks, wanted=self.dicom_results)
        write_results(self.output_dir, volume, data["findings"], **self.arguments, also=[dicom])
        dicom.tell()
        return data


def prepare_case(batch: Data, device: torch.device, non_blocking: bool, **kwargs: Any) -> tuple[Any, ...]:
    """MONAI's prepare_batch: the image, no label, and what else a stage has for its inferer, by name."""
    more = {name: batch[name].to(device, non_blocking=non_blocking) for name in ("lungs", "diameters") if name in batch}
    return batch["image"].to(device, non_blocking=non_blocking), None, (), more
