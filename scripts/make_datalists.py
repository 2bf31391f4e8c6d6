# SPDX-License-Identifier: Apache-2.0
"""Write MONAI datalists: ``python scripts/make_datalists.py luna16|lidc|deeplesion --help``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lungcad.cli import run_script
from lungcad.datalists.deeplesion import deeplesion_lists
from lungcad.datalists.files import Item, fold_lists, report_missing, write_lists
from lungcad.datalists.lidc import lidc_items
from lungcad.datalists.luna16 import SUBSETS, luna16_items


def luna16(
    luna16_dir: str, output_dir: str, subsets: int = SUBSETS, train_on_all: bool = False, allow_missing: bool = False
) -> None:
    """Write OUTPUT_DIR/luna16_fold0.json to luna16_fold9.json: fold k is tested on subset k.

    Args:
        luna16_dir: folder with subset0 to subset9, annotations.csv and, optionally, seriesuids.csv.
        output_dir: folder for the files.
        subsets: number of subsets; fewer than LUNA16's ten for a sample of its shape.
        train_on_all: train on the next subset too, which otherwise is for validation.
        allow_missing: go on without missing scans.
    """
    items, missing, expected = luna16_items(luna16_dir, range(subsets))
    report_missing(output_dir, missing, expected, allow_missing)
    about = "LUNA16: fold k is tested on subset k. Boxes x, y, z, d, d, d in LPS mm."
    _write_folds(output_dir, "luna16", items, fold_lists(items, subsets, validation=not train_on_all), about)


def lidc(
    nodules_csv: str, images_dir: str, output_dir: str, rule: str = "mtmrnet", folds: int = 5, min_readers: int = 1,
    train_on_all: bool = False, allow_missing: bool = False,
) -> None:  # fmt: skip
    """Write OUTPUT_DIR/lidc_RULE_fold<k>of<n>.json: nodules with benign or malignant labels, folds by patient.

    Args:
        nodules_csv: path of the table made by scripts/lidc_nodules.py.
        images_dir: folder with the CT series: LIDC-IDRI's DICOM folders, or LUNA16's .mhd files.
        output_dir: folder for the files.
        rule: mtmrnet (mean of the readers, five folds) or jnsc (median, ten folds).
        folds: number of folds.
        min_readers: least number of readers of a nodule.
        train_on_all: train on the next fold too, which otherwise is for validation.
        allow_missing: go on without missing series.
    """
    items, missing, expected = lidc_items(nodules_csv, images_dir, rule, folds, min_readers)
    report_missing(output_dir, missing, expected, allow_missing)
    lists = fold_lists(items, folds, validation=not train_on_all, tested=lambda item: item["label"] is not None)
    about = f"LIDC-IDRI nodules, labels of {rule}, {folds} folds by patient. Centres in LPS mm."
    _write_folds(output_dir, f"lidc_{rule}", items, lists, about, f"of{folds}")


def deeplesion(info_csv: str, images_dir: str, output_dir: str, allow_missing: bool = False) -> None:
    """Write OUTPUT_DIR/deeplesion.json: volumes by DeepLesion's official split, lesions as spheres.

    Args:
        info_csv: path of DL_info.csv.
        images_dir: folder with the NIfTI volumes that DeepLesion's DL_save_nifti.py makes.
        output_dir: folder for the file.
        allow_missing: go on without missing volumes.
    """
    result = deeplesion_lists(info_csv, images_dir)
    report_missing(output_dir, result.missing, result.volumes, allow_missing)
    about = "DeepLesion as 3D-AG uses it, official split. Boxes x, y, z, d, d, d in LPS mm."
    write_lists(output_dir, {"deeplesion": result.lists}, about)
    counts = f"{result.noisy} noisy annotations removed, {result.merged} merged"
    print(f"{counts}, {result.large} large lesions not trained on")
    _print_counts("deeplesion", result.lists)


def _write_folds(
    output_dir: str, name: str, items: Sequence[Item], folds: Sequence[Mapping[str, Sequence[Item]]], about: str,
    suffix: str = "",
) -> None:  # fmt: skip
    """Write one datalist per fold and print the number of its items."""
    files = {f"{name}_fold{number}{suffix}": lists for number, lists in enumerate(folds)}
    write_lists(output_dir, files, about)
    print(f"{Path(output_dir).name}: {len(items)} items in {len(folds)} folds")
    for file, lists in files.items():
        _print_counts(file, lists)


def _print_counts(name: str, lists: Mapping[str, Sequence[Item]]) -> None:
    """Print a line with the number of items in each list."""
    print(f"{name:<28}" + "  ".join(f"{key} {len(items)}{_classes(items)}" for key, items in lists.items() if items))


def _classes(items: Sequence[Item]) -> str:
    """Text with the number of boxes, or of benign and malignant nodules."""
    if "box" in items[0]:
        return f" ({sum(len(item['box']) for item in items)} boxes)"
    benign, malignant = (sum(item["label"] == label for item in items) for label in (0, 1))
    return f" ({benign} benign, {malignant} malignant)"


if __name__ == "__main__":
    run_script({"luna16": luna16, "lidc": lidc, "deeplesion": deeplesion})
