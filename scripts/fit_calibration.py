# SPDX-License-Identifier: Apache-2.0
"""Fit the calibration of a malignancy bundle: ``python scripts/fit_calibration.py PREDICTIONS... [--apply_to FILE]``.

Give the predictions.csv of all folds of a cross validation. Nodules of mean malignancy 3 are left out.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lungcad.cli import run_script
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.calibration import (
    Calibration,
    calibration_figures,
    cross_fit,
    fit_calibration,
    join_folds,
    read_logits,
)

NONE = Calibration()


def main(*predictions: str, apply_to: str | None = None) -> None:
    """Print temperature and shift fitted on all files, and the calibration of nodules that they were not fitted on.

    Args:
        predictions: predictions.csv files, one per fold; each fold's calibration for the cross-fitted figures comes
            from the others.
        apply_to: file to report instead: fit on all other files, and print the figures of this one.
    """
    paths = [Path(str(path)) for path in predictions]
    if apply_to is None:
        _report_all(paths)
    else:
        held_out = Path(apply_to)
        _report_held_out([path for path in paths if path.resolve() != held_out.resolve()], held_out)


def _report_all(paths: list[Path]) -> None:
    """Print the calibration of all folds, and the cross-fitted figures."""
    pooled = read_logits(paths)  # also refuses a nodule of two folds
    figures = {"as they are": calibration_figures(pooled.label, pooled.probability(NONE))}
    if len(paths) > 1:
        folds = [read_logits([path]) for path in paths]
        fitted, probabilities = zip(*cross_fit(folds), strict=True)
        label = join_folds(folds).label
        figures["cross-fitted"] = calibration_figures(label, np.concatenate(probabilities))
        print("\n".join(f"without {path}: {calibration}" for path, calibration in zip(paths, fitted, strict=True)))
    print(f"fitted on all files: {fit_calibration(pooled)} ({len(pooled.label)} nodules)\n")
    print(_table(figures))


def _report_held_out(others: list[Path], path: Path) -> None:
    """Print the calibration fitted on other files, and the figures of one file with it."""
    if not others:
        raise InputError("E-TABLE", "no table of predictions to fit on.", "Give those of other folds.")
    read_logits([*others, path])  # refuses a nodule of two folds
    calibration, held_out = fit_calibration(read_logits(others)), read_logits([path])
    print(f"fitted on the others: {calibration}; figures of the {len(held_out.label)} nodules it is applied to\n")
    by_name = {"as they are": NONE, "calibrated": calibration}
    print(_table({name: calibration_figures(held_out.label, held_out.probability(calibration))
                  for name, calibration in by_name.items()}))  # fmt: skip


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'':<14}{'NLL':>8}{'ECE':>8}{'Brier':>8}"]
    lines += [f"{name:<14}{''.join(f'{value:8.3f}' for value in row.values())}" for name, row in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
