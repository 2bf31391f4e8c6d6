# SPDX-License-Identifier: Apache-2.0
"""Write a small sample in LUNA16's layout, made of real nodules in real lungs; see ``--help``.

It serves to try the commands for training and scoring without LUNA16's 120 GB. Figures on it are not LUNA16's.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from lungcad.cli import run_script
from lungcad.errors import InputError
from lungcad.training.cases import Case, Sphere
from lungcad.training.composites import ImplantedCases
from lungcad.training.splits import TRAINING_LUNGS

UID = "1.2.826.0.1.3680043.8.498.{subset}.{scan}"
"""SeriesInstanceUID of a scan, under pydicom's root, where anyone may make examples."""
NO_BLANKING_MM = 1e4
"""Margin in mm around the lungs beyond which voxels are blanked; large, so that none are."""


def sample(data_dir: str, output_dir: str, subsets: int = 2, scans: int = 3, nodules: int = 6) -> None:
    """Write OUTPUT_DIR/subset<k>/<uid>.mhd, annotations.csv, annotations_excluded.csv and seriesuids.csv.

    Args:
        data_dir: folder with nodules3d and lungs.
        output_dir: folder for the sample.
        subsets: number of subsets; nodules of different subsets are of different patients.
        scans: number of scans in each subset.
        nodules: number of nodules in each scan.
    """
    if not 1 <= subsets <= 5:
        raise InputError("E-CONFIG", f"{subsets} subsets (expected 1 to 5, the folds of the nodules).")
    root = Path(output_dir)
    uids, found, excluded = [], [], []
    for subset in range(subsets):
        cases = ImplantedCases(data_dir, (subset,), TRAINING_LUNGS, scans=scans, nodules_per_scan=nodules, seed=subset,
                               slices_per_voxel=1, margin_mm=NO_BLANKING_MM)  # fmt: skip
        for scan in range(scans):
            case, uid = cases[scan], UID.format(subset=subset, scan=scan)
            _write_image(root / f"subset{subset}" / f"{uid}.mhd", case)
            uids.append([uid])
            found += _rows(uid, case.nodules)
            excluded += _rows(uid, case.ignored)
    header = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    _write_table(root / "annotations.csv", [header, *found])
    _write_table(root / "annotations_excluded.csv", [header, *excluded])
    _write_table(root / "seriesuids.csv", uids)
    print(f"{root}: {len(uids)} scans, {len(found)} nodules")


def _write_image(path: Path, case: Case) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(case.hu.T))
    image.SetSpacing(case.spacing_mm)
    sitk.WriteImage(image, str(path), useCompression=True)


def _rows(uid: str, spheres: Sequence[Sphere]) -> list[list[Any]]:
    return [[uid, *sphere.index.round(4), round(sphere.diameter_mm, 4)] for sphere in spheres]  # 1 mm, origin 0


def _write_table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    run_script(sample)
