# SPDX-License-Identifier: Apache-2.0
"""Engine without networks for workers of a batch; imports no torch, so that its processes start fast."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lungcad.batch.manifest import Item
from lungcad.finding import Finding
from lungcad.reading import read_volume
from lungcad.results.nodules_csv import write_nodules_csv
from lungcad.results.nodules_json import write_nodules_json
from lungcad.results.result import Result
from lungcad.results.write import write
from lungcad.volume import Volume


class StubEngine:
    """Engine that finds the middle of each volume, after some seconds; files in the folder make it fail."""

    def __init__(self, settings: Mapping[str, Any], out: Path) -> None:
        self.out, self.seconds = out, float(settings.get("seconds", 0.0))

    def read(self, item: Item) -> Volume:
        return read_volume(item.folder, item.own_uid)

    def finish(self, item: Item, volume: Volume, fingerprint: str) -> dict[str, float]:
        time.sleep(self.seconds)
        if (item.folder / "crash").exists():
            raise RuntimeError(f"no luck with {item.folder}")
        if (item.folder / "kill").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        result = stub_result(volume)
        write(replace(result, fingerprint=fingerprint), self.out, (write_nodules_csv, write_nodules_json))
        return {"detect": self.seconds}


def stub_result(volume: Volume, scores: Sequence[float] = (0.9, 0.2)) -> Result:
    """Result with findings at the first voxel."""
    place = tuple(volume.affine[:3, 3].tolist())
    findings = [Finding(place, 6.0 * score, score, score, score / 2) for score in scores]  # type: ignore[arg-type]
    return Result(volume, findings, {"balanced": 0.5}, "balanced", {"stub": "1"})
