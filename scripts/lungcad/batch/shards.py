# SPDX-License-Identifier: Apache-2.0
"""Shards: a share of a manifest for each job of an array, the same for a series whatever else the manifest holds."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lungcad.errors import InputError


@dataclass(frozen=True)
class Shard:
    """Share ``index`` of ``count`` shares: the series whose ``sha1(UID) % count`` is ``index``, from 0."""

    index: int = 0
    count: int = 1

    def __contains__(self, series_uid: str) -> bool:
        digest = hashlib.sha1(series_uid.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


def find_shard(text: str | None, environment: Mapping[str, str] | None = None) -> Shard:
    """Shard of this process.

    Args:
        text: ``I/N`` with I from 0, below N; ``/N`` takes I from ``SLURM_ARRAY_TASK_ID`` or ``JOB_COMPLETION_INDEX``;
            None takes both from Slurm's array, and is the whole manifest outside of one.
        environment: environment variables; None for those of the process.

    Raises:
        InputError: E-USAGE, no such shard, or a number of shards that is not known.
    """
    variables = os.environ if environment is None else environment
    if text is None:
        return _array_shard(variables)
    match = re.fullmatch(r"(\d*)/(\d+)", text)
    if match is None:
        raise InputError("E-USAGE", f"--shard is {text} (expected such as 0/4: the first of four).")
    index = match[1] or variables.get("SLURM_ARRAY_TASK_ID") or variables.get("JOB_COMPLETION_INDEX")
    if index is None:
        advice = "Give I/N, or set SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX."
        raise InputError("E-USAGE", f"--shard is {text}, and no variable says which of them.", advice)
    return _checked(int(index), int(match[2]))


def _array_shard(variables: Mapping[str, str]) -> Shard:
    """Shard of a task of a Slurm array, whose numbers may begin anywhere and be apart; else the whole."""
    if "SLURM_ARRAY_TASK_ID" in variables and "SLURM_ARRAY_TASK_COUNT" in variables:
        first, step = int(variables.get("SLURM_ARRAY_TASK_MIN", 0)), int(variables.get("SLURM_ARRAY_TASK_STEP", 1))
        task, count = int(variables["SLURM_ARRAY_TASK_ID"]), int(variables["SLURM_ARRAY_TASK_COUNT"])
        return _checked((task - first) // step, count)
    if "JOB_COMPLETION_INDEX" in variables:
        text = "JOB_COMPLETION_INDEX is set, but the number of shards is not known."
        raise InputError("E-USAGE", text, "Give --shard /N with N, the completions of the Job.")
    return Shard()


def _checked(index: int, count: int) -> Shard:
    if not 0 <= index < count:
        raise InputError("E-USAGE", f"shard {index} of {count} (expected 0 to {count - 1}).")
    return Shard(index, count)
