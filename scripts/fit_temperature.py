# SPDX-License-Identifier: Apache-2.0
"""Fit the temperature of a malignancy bundle: ``python scripts/fit_temperature.py PREDICTIONS... [--apply_to FILE]``.

Give the predictions.csv of all folds of a cross validation. Nodules of mean malignancy 3 are left out.
"""

from collections.abc import Mapping
from pathlib import Path

import fire
import numpy as np

from lungcad.console import guarded
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.calibration import calibration_figures, cross_fit, fit_temperature, join_folds, read_logits


def tell(*predictions: str, apply_to: str | None = None) -> None:
    """Print the temperature fitted on all files, and what it does to nodules that it was not fitted on.

    Args:
        predictions: predictions.csv files, one per fold; each fold's temperature for the cross-fitted figures comes
            from the others.
        apply_to: instead, fit on all files but this one, and tell the figures of this one.
    """
    paths = [Path(str(path)) for path in predictions]
    if apply_to is None:
        _tell_all(paths)
    else:
        _tell_one([path for path in paths if path.resolve() != Path(str(apply_to)).resolve()], Path(str(apply_to)))


def _tell_all(paths: list[Path]) -> None:
    everything = read_logits(paths)  # also refuses a nodule of two folds
    figures = {"T = 1": calibration_figures(everything.label, everything.probability(1))}
    if len(paths) > 1:
        folds = [read_logits([path]) for path in paths]
        temperatures, probabilities = zip(*cross_fit(folds), strict=True)
        label = join_folds(folds).label
        figures["cross-fitted"] = calibration_figures(label, np.concatenate(probabilities))
        print(f"T fitted without each of the files: {', '.join(f'{one:.3f}' for one in temperatures)}")
    print(f"T fitted on all files: {fit_temperature(everything):.3f} ({len(everything.label)} nodules)\n")
    print(_table(figures))


def _tell_one(others: list[Path], path: Path) -> None:
    if not others:
        raise InputError("E-TABLE", "no table of predictions to fit on.", "Give those of other folds.")
    read_logits([*others, path])  # refuses a nodule of two folds
    temperature, held_out = fit_temperature(read_logits(others)), read_logits([path])
    print(f"T fitted on the others: {temperature:.3f}; figures of the {len(held_out.label)} nodules it is applied to\n")
    by_temperature = {"T = 1": 1.0, f"T = {temperature:.3f}": temperature}
    print(_table({name: calibration_figures(held_out.label, held_out.probability(one))
                  for name, one in by_temperature.items()}))  # fmt: skip


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'':<14}{'NLL':>8}{'ECE':>8}{'Brier':>8}"]
    lines += [f"{name:<14}{''.join(f'{value:8.3f}' for value in some.values())}" for name, some in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    guarded(fire.Fire, tell)
