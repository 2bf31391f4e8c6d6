# SPDX-License-Identifier: Apache-2.0
"""Cases as input of a bundle's own inferer and postprocessing, and candidates of one stage for the next."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lungcad.errors import InputError
from lungcad.finding import Finding, centers_of
from lungcad.geometry import scaled_affine, to_index
from lungcad.printable import file_label, printable
from lungcad.scan.blanking import BLANK_HU
from lungcad.training.cases import Case
from lungcad.training.sampling import clear_of_lesions

MARGIN_MM = 32.0
"""Blank margin around a case, as wide as a working grid's, so that outputs reach its first and last slices."""


class CaseDataset(Dataset):
    """Cases as dictionaries, the input of the bundles' transforms.

    Args:
        cases: cases to score.
        transform: preprocessing of the bundle after the working grid.
        candidates: file with the findings of the stage before, written by
            :class:`~lungcad.training.scoring.CaseScorer`; without it cases have none.

    Raises:
        InputError: E-CANDIDATES, see :func:`candidates_of`.
    """

    def __init__(self, cases: Sequence[Case], transform: Any = None, candidates: str | None = None):
        self.cases, self.transform = list(cases), transform
        self.candidates = candidates_of(cases, candidates) if candidates else {}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Item with ``case``, ``image``, ``lungs``, ``grid_affine`` and ``findings``, preprocessed."""
        case = self.cases[item]
        width = [(round(MARGIN_MM / size),) * 2 for size in case.spacing_mm]
        data = {
            "case": case,
            "image": torch.from_numpy(np.pad(case.hu.astype(np.float32), width, constant_values=BLANK_HU))[None, None],
            "lungs": torch.from_numpy(np.pad(case.lungs, width)),
            "grid_affine": scaled_affine(case.to_mm, [-before for before, _ in width], (1, 1, 1)),
            "findings": self.candidates.get(case.name, []),
        }
        return self.transform(data) if self.transform else data


def read_candidates(path: str | Path | Sequence[str | Path]) -> dict[str, list[Finding]]:
    """Read the findings in a file candidates.json, or in several of other cases each, by case name.

    Raises:
        InputError: E-CANDIDATES, there is no such file, or it is none that a detector's evaluation wrote; E-CONFIG, a
            case is in two files.
    """
    found: dict[str, list[Finding]] = {}
    for file in [path] if isinstance(path, str | Path) else path:
        for name, findings in _findings_by_case(Path(file)).items():
            if name in found:
                raise InputError("E-CONFIG", f"case {name} is in two files of candidates (expected in one).")
            found[name] = findings
    return found


def candidates_of(
    cases: Sequence[Case], path: str | Path | Sequence[str | Path] | None, searched: str = "all"
) -> dict[str, list[Finding]]:
    """Read the findings in each of the cases.

    Args:
        cases: cases to train or to score on.
        path: file or files, as for :func:`read_candidates`; None is refused.
        searched: ``all`` where the detector must have searched every case, if in vain, as for scores; ``some`` where a
            part will do, as for the false candidates to train on. The other cases have no finding then.

    Raises:
        InputError: E-CANDIDATES, too few of the cases are in the files, or see :func:`read_candidates`.
    """
    if path is None:
        text = "no file of candidates is given (expected one, or several for other cases each)."
        raise InputError("E-CANDIDATES", text, "Give the candidates.json that the detector's evaluate.json writes.")
    found = read_candidates(path)
    missing = [case.name for case in cases if case.name not in found]
    if missing and (searched == "all" or len(missing) == len(cases)):
        text = f"no candidates of {len(missing)} of the {len(cases)} cases, such as {missing[0]}: not searched."
        raise InputError("E-CANDIDATES", text, "Run the detector's evaluate.json on the same cases.")
    return {name: [] for name in missing} | found


def _findings_by_case(file: Path) -> dict[str, list[Finding]]:
    """Findings in one file by case name."""
    advice = "Give the candidates.json that the detector's evaluate.json writes."
    if not file.is_file():
        raise InputError("E-CANDIDATES", f"no such file: {file_label(file.name)}.", advice)
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return {name: [Finding.from_dict(entry) for entry in found] for name, found in entries.items()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"{file_label(file.name)} holds no findings by case: {printable(error, 120)}."
        raise InputError("E-CANDIDATES", text, advice) from error


def negatives_of(cases: Sequence[Case], candidates: str | Sequence[str] | None) -> list[np.ndarray] | None:
    """Places (N, 3) of false candidates for each case, as continuous voxel indices.

    Args:
        cases: cases to train on.
        candidates: file or files with the findings in them; None gives None.

    Raises:
        InputError: E-CANDIDATES, see :func:`candidates_of`.
    """
    if candidates is None:
        return None
    found = candidates_of(cases, candidates, searched="some")
    places = [to_index(case.to_mm, centers_of(found[case.name])) for case in cases]
    return [index[clear_of_lesions(case, index)] for case, index in zip(cases, places, strict=True)]
