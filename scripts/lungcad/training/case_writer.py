# SPDX-License-Identifier: Apache-2.0
"""Writing of folders of cases: all checks before the first scan, and the same command goes on after an interruption."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lungcad import __version__
from lungcad.atomic import check_output, whole_file
from lungcad.errors import InputError
from lungcad.training.cases import LEFT_OUT, Case, save_case

RECORD = "cases.json"
"""File of a folder with the settings that its cases are made with."""


class NamedCases(Protocol):
    """Dataset of cases whose names are known before they are made."""

    @property
    def names(self) -> Sequence[str]:
        """Name of each case."""

    def __getitem__(self, item: int) -> Case:
        """Case number ``item``; raises InputError where it cannot be used."""


@dataclass(frozen=True)
class Job:
    """Folder of cases to write.

    Attributes:
        folder: folder of the split; splits beside it share no case with it.
        cases: dataset of cases.
        settings: what the cases are made of, and how, ready for JSON.
        items: numbers of the cases to write; None for all.
    """

    folder: Path
    cases: NamedCases
    settings: Mapping[str, Any]
    items: Sequence[int] | None = None

    @property
    def names(self) -> dict[str, int]:
        """Number of each case by its name."""
        names = self.cases.names
        return {names[item]: item for item in (range(len(names)) if self.items is None else self.items)}

    @property
    def record(self) -> dict[str, Any]:
        """Settings as they stand in :data:`RECORD`."""
        return json.loads(json.dumps({"version": __version__, **self.settings}, default=str))


def write_cases(jobs: Sequence[Job], workers: int) -> None:
    """Write the cases of all jobs; cases that an interrupted run with the same settings wrote are kept.

    A scan that is refused is named on stderr and in :data:`~lungcad.training.cases.LEFT_OUT` of its folder: one bad
    scan must not end the work on hundreds.

    Args:
        jobs: folders to write.
        workers: number of processes.

    Raises:
        InputError: before any work E-CONFIG, a case is in two folders, or a folder holds cases made with other
            settings, and E-OUTPUT, a folder cannot be written; at the end of a folder E-CONFIG, all scans were refused.
    """
    owner = {path.stem: path.parent for job in jobs for path in job.folder.parent.glob("*/*.npz")}
    for job in jobs:
        _check_folder(job)
        for name in job.names:
            if (other := owner.setdefault(name, job.folder)) != job.folder:
                text = f"case {name} of {job.folder.name} is in {other.name} already (expected in one split)."
                raise InputError("E-CONFIG", text, "Give another --output_dir for another division of the scans.")
    for job in jobs:
        _write(job, workers)


def _check_folder(job: Job) -> None:
    """Refuse a folder that cannot be written, or holds cases of another run."""
    check_output(job.folder)
    present = {path.stem for path in job.folder.glob("*.npz")}
    record = job.folder / RECORD
    before = json.loads(record.read_text()) if record.is_file() else {}
    other = sorted(key for key in before.keys() | job.record.keys() if before.get(key) != job.record.get(key))
    if present and (other or not present <= job.names.keys()):
        made = f" made with other {', '.join(other)}" if before and other else ""
        text = f"{job.folder.parent.name}/{job.folder.name} holds cases already{made}: old and new ones would be mixed."
        raise InputError("E-CONFIG", text, "Delete it, or give another --output_dir.")


def _write(job: Job, workers: int) -> None:
    """Write the cases of a folder that are not there yet, and list those that are refused."""
    with whole_file(job.folder / RECORD) as part:
        part.write_text(json.dumps(job.record, indent=2))
    missing = [item for name, item in job.names.items() if not (job.folder / f"{name}.npz").is_file()]
    loader = DataLoader(_OrRefusal(job.cases, missing), batch_size=None, num_workers=workers)
    refused, nodules = [], 0
    for case in tqdm(loader, desc=job.folder.name, file=sys.stderr):
        if isinstance(case, InputError):
            tqdm.write(f"left out: {case}", file=sys.stderr)
            refused.append(f"{case}\n")
        else:
            save_case(job.folder, case)
            nodules += len(case.nodules)
    (job.folder / LEFT_OUT).write_text("".join(refused))
    kept = len(job.names) - len(missing)
    earlier = f", {kept} there from an earlier run" if kept else ""
    left_out = f", {len(refused)} left out" if refused else ""
    print(f"{job.folder.name}: {len(missing) - len(refused)} cases with {nodules} nodules written{earlier}{left_out}")
    if refused and not kept and len(refused) == len(missing):
        text = f"none of the {len(missing)} scans for {job.folder.name} can be used."
        raise InputError("E-CONFIG", text, f"Reasons stand in {LEFT_OUT} there; the first: {refused[0].strip()}")


class _OrRefusal(Dataset):
    """Dataset of some of the cases, in which a refused case is its InputError."""

    def __init__(self, cases: NamedCases, items: Sequence[int]) -> None:
        self.cases, self.items = cases, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Case | InputError:
        try:
            return self.cases[self.items[number]]
        except InputError as refusal:
            return refusal
