# SPDX-License-Identifier: Apache-2.0
"""The nodules of cases with their labels of malignancy, as Liu and Chan 2020 derive them (sections III and IV.D)."""

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
    """One row per nodule; a nodule that is in several cases has one.

    Attributes:
        number: row by key; see :func:`key`.
        soft: (S,) of equation 3; NaN where nobody rated the nodule.
        marginal: (S,) bool, see :func:`~lungcad.lidc.labels.is_marginal`.
    """

    number: dict[str, int]
    soft: Tensor
    marginal: Tensor

    def of(self, case: Case) -> list[int]:
        """The rows of a case's nodules, in their order."""
        return [self.number[key(case, n)] for n in range(len(case.nodules))]


def key(case: Case, number: int) -> str:
    """What tells a case's nodule from all others: its name where readers rated it, else its place in the case."""
    nodule = case.nodules[number]
    return nodule.name if nodule.malignancy and nodule.name else f"{case.name}#{number}"


def malignancy_labels(cases: Sequence[Case], few_readers: float = 0.0) -> MalignancyLabels:
    """Labels of all nodules of the cases.

    LUNA16's nodules have three readers or more, so none of them is marginal as the paper means it. To train on marginal
    labels all the same, a share of the nodules can be labelled by one or two of their readers, who are drawn by the
    nodule's name, once and for all. Beyond the paper.

    Args:
        cases: to be trained on.
        few_readers: that share.
    """
    readings = {key(case, n): case.nodules[n].malignancy for case in cases for n in range(len(case.nodules))}
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
