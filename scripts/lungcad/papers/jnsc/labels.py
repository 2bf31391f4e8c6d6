# SPDX-License-Identifier: Apache-2.0
"""Malignancy labels of the nodules of cases, as Liu and Chan 2020 derive them (sections III and IV.D)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from lungcad.lidc.labels import is_marginal, soft_label
from lungcad.training.cases import Case


@dataclass(frozen=True)
class MalignancyLabels:
    """Table of S nodules with a row for each; a nodule that is in several cases has one row.

    Attributes:
        number: row by key, see :func:`nodule_key`.
        soft: (S,) soft labels of equation 3; NaN for a nodule that no reader rated.
        marginal: (S,) bool, True for a nodule of uncertain label, see :func:`~lungcad.lidc.labels.is_marginal`.
    """

    number: dict[str, int]
    soft: Tensor
    marginal: Tensor

    def rows_of(self, case: Case) -> list[int]:
        """Rows of a case's nodules, in their order."""
        return [self.number[nodule_key(case, n)] for n in range(len(case.nodules))]


def nodule_key(case: Case, number: int) -> str:
    """Key of a case's nodule in the table: its name if readers rated it, else the case's name and its number there."""
    nodule = case.nodules[number]
    return nodule.name if nodule.malignancy and nodule.name else f"{case.name}#{number}"


def malignancy_labels(cases: Sequence[Case], few_readers: float = 0.0) -> MalignancyLabels:
    """Malignancy labels of all nodules of the cases.

    LUNA16's nodules have three readers or more, so none of them is marginal in the paper's sense. To train on marginal
    labels all the same, a share of the nodules can be labelled by one or two of their readers, drawn by the nodule's
    name, the same ones every time. Beyond the paper.

    Args:
        cases: cases to train on.
        few_readers: share of the nodules labelled by one or two readers.
    """
    readings = {nodule_key(case, n): case.nodules[n].malignancy for case in cases for n in range(len(case.nodules))}
    soft, marginal = [], []
    for name, scores in readings.items():
        rng = np.random.default_rng(crc32(name.encode()))
        if scores and rng.random() < few_readers:
            scores = tuple(rng.choice(scores, min(len(scores), int(rng.integers(1, 3))), replace=False))
        middle = float(median(scores)) if scores else float("nan")
        soft.append(soft_label(middle))
        marginal.append(is_marginal(len(scores), middle))
    numbers = {name: row for row, name in enumerate(readings)}
    return MalignancyLabels(numbers, torch.tensor(soft, dtype=torch.float32), torch.tensor(marginal, dtype=torch.bool))
