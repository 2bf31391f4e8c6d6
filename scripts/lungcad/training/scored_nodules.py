# SPDX-License-Identifier: Apache-2.0
"""Scored folders of a malignancy bundle as tables of nodules, ready to be compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lungcad.finding import ATTRIBUTES
from lungcad.malignancy_rules import INDETERMINATE
from lungcad.malignancy_table import read_nodules
from lungcad.tables import Table
from lungcad.training.nodule_scoring import PREDICTIONS

SEVERAL = 3
"""Readers; nodules of as many count by themselves too."""


@dataclass(frozen=True)
class ScoredNodules:
    """Nodules, and the steps that have scored them.

    Attributes:
        least_readers: that each of them has.
        steps: by name, with the same nodules in the same order.
    """

    least_readers: int
    steps: Mapping[str, Table]

    @property
    def nodules(self) -> Table:
        """Of the first step: for what is the same in all."""
        return next(iter(self.steps.values()))


def scored_nodules(scored: Mapping[str, Sequence[str | Path]]) -> Iterator[ScoredNodules]:
    """Group steps by the nodules that they have scored; then those of several readers too, where that is not all.

    Args:
        scored: folders with a predictions.csv by step, one per fold.

    Raises:
        InputError: E-TABLE, where a table is refused or a nodule is in two folds of a step.
    """
    groups: dict[tuple[str, ...], dict[str, Table]] = {}
    for step, folders in scored.items():
        table, _ = read_nodules([Path(folder) / PREDICTIONS for folder in folders], ATTRIBUTES)
        rows = tuple(sorted(table.rows, key=lambda row: row.text("nodule_id")))
        names = tuple(row.text("nodule_id") for row in rows)
        groups.setdefault(names, {})[step] = replace(table, rows=rows)
    for steps in groups.values():
        everything = next(iter(steps.values()))
        fewest = int(numbers(everything, "n_readers").min())
        yield ScoredNodules(fewest, steps)
        malignant = numbers(of_readers(everything, SEVERAL), "mean_malignancy") > INDETERMINATE
        if fewest < SEVERAL and len(np.unique(malignant)) == 2:
            yield ScoredNodules(SEVERAL, {step: of_readers(table, SEVERAL) for step, table in steps.items()})


def of_readers(nodules: Table, least: int) -> Table:
    """Those that as many readers have scored."""
    return replace(nodules, rows=tuple(row for row in nodules.rows if row.number("n_readers") >= least))


def numbers(nodules: Table, column: str) -> np.ndarray:
    """(N,) of a column."""
    return np.array([row.number(column) for row in nodules.rows])
