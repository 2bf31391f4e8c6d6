# SPDX-License-Identifier: Apache-2.0
"""A small DICOM series with findings and masks, written as DICOM results and read back."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from dicom_phantom import make_series, save
from pydicom.dataset import FileDataset
from scipy.spatial import cKDTree

from lungcad import Finding
from lungcad.finding import FindingMask
from lungcad.geometry import to_world
from lungcad.reading.volume_file import read_volume
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE, write_dicom_results
from lungcad.results.nodules_json import nodules_document
from lungcad.results.result import Result

Masks = dict[tuple[float, float, float], FindingMask]
"""Masks by the centre of their finding."""

ATTRIBUTES = {
    "subtlety": 4.5, "internalStructure": 1.25, "calcification": 3.5, "sphericity": 4.0,
    "margin": 4.75, "lobulation": 1.5, "spiculation": 1.2, "texture": 5.0,
}  # fmt: skip
FIRST = Finding((1.25, -4.5, -101.7), 6.123456, 0.9, 0.98, 0.801234, ATTRIBUTES, 113.5)
SECOND = Finding((-3.3, 4.4, -98.2), 4.0, 0.8, 0.75)
UNSIZED = Finding((3.0, 2.0, -106.0), None, 0.7)
BELOW = Finding((-2.0, -8.0, -110.0), 5.0, 0.6, 0.25)
FINDINGS = (FIRST, SECOND, BELOW, UNSIZED)
"""In the order of a result: the one that no reduction judged comes last, and is reported."""


@dataclass
class Written:
    """What came of one call."""

    folder: Path
    document: dict[str, Any]
    notes: list[str]

    @property
    def report(self) -> hd.sr.Comprehensive3DSR:
        return hd.sr.srread(self.folder / REPORT_FILE)

    @property
    def segmentation(self) -> hd.seg.Segmentation:
        return hd.seg.segread(self.folder / SEGMENTATION_FILE)

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def nodule(self, number: int) -> Any:
        """The group of a nodule that holds all that is known of it."""
        content = self.report.content
        wanted = f"nodule {number}"
        groups = content.get_volumetric_roi_measurement_groups() + content.get_planar_roi_measurement_groups()
        return next(group for group in groups if group.tracking_identifier == wanted)

    def region(self, number: int) -> Any:
        """The key slice's region of a nodule."""
        groups = self.report.content.get_planar_roi_measurement_groups()
        (group,) = [group for group in groups if group.tracking_identifier == f"nodule {number}"]
        return group.roi


def write(
    series: Path, out: Path, findings: Sequence[Finding] = FINDINGS, masks: Masks | None = None, **leniency: Any
) -> Written:
    """Read a series, and write results with these findings."""
    out.mkdir(parents=True, exist_ok=True)
    result = result_of(series, findings, masks, **leniency)
    document = json.loads(json.dumps(nodules_document(result)))
    return Written(out, document, write_dicom_results(out, result))


def result_of(
    series: Path, findings: Sequence[Finding] = FINDINGS, masks: Masks | None = None, **leniency: Any
) -> Result:
    """Read a series, and take these findings with their masks for what was found in it."""
    return Result(
        read_volume(series, **leniency),
        [replace(finding, mask=(masks or {}).get(finding.center_lps_mm)) for finding in findings],
        thresholds={"sensitive": 0.1, "balanced": 0.5}, operating_point="balanced",
        bundles={"lung_nodule_cad": "0.2.0", "lung_nodule_detection_dou2017": "0.1.0"},
    )  # fmt: skip


def write_phantom(
    tmp_path: Path, findings: Sequence[Finding] = FINDINGS, masks: Masks | None = None,
    change: Callable[[list[FileDataset]], Any] | None = None, **options: Any,
) -> Written:  # fmt: skip
    """Likewise, of a phantom series after a change of its slices."""
    slices = make_series(**options)
    slices = (change(slices) if change else None) or slices
    return write(save(slices, tmp_path / "series"), tmp_path / "out", findings, masks)


def ball_mask(center: Sequence[float], radii_mm: Sequence[float], affine: np.ndarray, size: int = 24) -> FindingMask:
    """An ellipsoid along the axes of the mask's own grid; ``affine`` gives its directions and steps only."""
    affine = affine.copy()
    affine[:3, 3] = np.asarray(center) - affine[:3, :3] @ np.full(3, (size - 1) / 2)
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1) - (size - 1) / 2
    step = np.linalg.norm(affine[:3, :3], axis=0)
    return FindingMask(((index * step / radii_mm) ** 2).sum(axis=-1) <= 1, affine)


def segment_points(path: Path, number: int) -> np.ndarray:
    """Centres (N, 3) in LPS mm of a segment's pixels, by pydicom alone."""
    dataset = pydicom.dcmread(path)
    shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.pixel_array
    frames = frames if frames.ndim == 3 else frames[None]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    down, along = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    found = []
    for pixels, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        holder = groups if "SegmentIdentificationSequence" in groups else shared
        if holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            affine = np.eye(4)
            affine[:3, 0], affine[:3, 1] = row * along, column * down
            affine[:3, 3] = groups.PlanePositionSequence[0].ImagePositionPatient
            j, i = np.nonzero(pixels)
            found.append(to_world(affine, np.stack([i, j, 0 * i], axis=-1)))
    return np.concatenate(found)


def numbers(group: Any) -> dict[str, tuple[float, str]]:
    return {one.name.meaning: (one.value, one.unit.value) for one in group.get_measurements()}


def by_dcmqi(told: Written, work: Path) -> dict[str, Any]:
    files = ["--inputDICOM", str(told.folder / REPORT_FILE), "--outputMetadata", str(work / "sr.json")]
    subprocess.run(["tid1500reader", *files], check=True, capture_output=True)
    read: dict[str, Any] = json.loads((work / "sr.json").read_text())
    return read


def same_points(one: np.ndarray, other: np.ndarray, tolerance_mm: float = 0.01) -> bool:
    """Whether two sets of points (N, 3) are the same."""
    return len(one) == len(other) and cKDTree(one).query(other)[0].max() < tolerance_mm
