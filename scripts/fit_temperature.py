# SPDX-License-Identifier: Apache-2.0
"""Fit the temperature of a malignancy bundle: ``python scripts/fit_temperature.py PREDICTIONS... [--apply_to FILE]``.

Give the predictions.csv of all folds of a cross validation. Nodules of mean malignancy 3 are left out.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lungcad.cli import run_script
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.calibration import calibration_figures, cross_fit, fit_temperature, join_folds, read_logits


def main(*predictions: str, apply_to: str | None = None) -> None:
    """Print the temperature fitted on all files, and the calibration of nodules that it was not fitted on.

    Args:
        predictions: predictions.csv files, one per fold; each fold's temperature for the cross-fitted figures comes
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
    """Print the temperature of all folds, and the cross-fitted calibration."""
    pooled = read_logits(paths)  # also refuses a nodule of two folds
    figures = {"T = 1": calibration_figures(pooled.label, pooled.probability(1))}
    if len(paths) > 1:
        folds = [read_logits([path]) for path in paths]
        temperatures, probabilities = zip(*cross_fit(folds), strict=True)
        label = join_folds(folds).label
        figures["cross-fitted"] = calibration_figures(label, np.concatenate(probabilities))
        print(f"T fitted without each of the files: {', '.join(f'{each:.3f}' for each in temperatures)}")
    print(f"T fitted on all files: {fit_temperature(pooled):.3f} ({len(pooled.label)} nodules)\n")
    print(_table(figures))


def _report_held_out(others: list[Path], path: Path) -> None:
    """Print the temperature fitted on other files, and the calibration of one file with it."""
    if not others:
        raise InputError("E-TABLE", "no table of predictions to fit on.", "Give those of other folds.")
    read_logits([*others, path])  # refuses a nodule of two folds
    temperature, held_out = fit_temperature(read_logits(others)), read_logits([path])
    print(f"T fitted on the others: {temperature:.3f}; figures of the {len(held_out.label)} nodules it is applied to\n")
    by_temperature = {"T = 1": 1.0, f"T = {temperature:.3f}": temperature}
    print(_table({name: calibration_figures(held_out.label, held_out.probability(value))
                  for name, value in by_temperature.items()}))  # fmt: skip


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'':<14}{'NLL':>8}{'ECE':>8}{'Brier':>8}"]
    lines += [f"{name:<14}{''.join(f'{value:8.3f}' for value in row.values())}" for name, row in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
