# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the chain: runs as a user's, in turns with an older commit's, and the stages one by one."""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from lungcad.benchmark.machine import counted, peak_memory_mb, timed
from lungcad.bundle.registry import CHAIN
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.finding import Finding
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

SCRIPTS = Path(__file__).resolve().parents[2]
"""Folder of this package's sources."""


def paired(roots: Sequence[tuple[Path, Path]], scan: str, repeats: int, **overrides: str) -> list[dict[str, Any]]:
    """Run the chain as a user does, each time in a new process, and measure time and memory; versions take turns.

    Args:
        roots: folder of the chain's bundle and folder of the sources of each version.
        scan: path of the scan.
        repeats: number of runs of each.
        overrides: values of the chain's keys, such as ``detector``.

    Returns:
        By version ``seconds``, medians over the runs by stage, ``wall``, which includes the start of Python and its
        imports, and ``cpu``, the processor's seconds of all threads; ``peak_memory_mb``, the largest resident memory
        of any run.

    Raises:
        SystemExit: the chain failed.
    """
    runs: list[list[dict[str, float]]] = [[] for _ in roots]
    for _ in range(repeats):
        for (root, scripts), done in zip(roots, runs, strict=True):
            done.append(_run(root, scan, scripts, overrides))
    return [_summary(done) for done in runs]


def checkout(commit: str, folder: Path) -> tuple[Path, Path]:
    """Write an older version of this repository into a folder.

    Returns:
        Folder of the chain's bundle, and of the sources.

    Raises:
        SystemExit: git knows no such commit here.
    """
    archive = subprocess.run(["git", "archive", commit], cwd=SCRIPTS.parent, capture_output=True)
    if archive.returncode:
        raise SystemExit(f"git has no commit {commit} here.")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder / "bundles" / CHAIN, folder / "scripts"


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    peak = max(run["peak"] for run in runs)
    return {"seconds": {name: median(run[name] for run in runs) for name in runs[0] if name != "peak"},
            "wall_range": [min(run["wall"] for run in runs), max(run["wall"] for run in runs)],
            "peak_memory_mb": peak}  # fmt: skip


def _run(root: Path, scan: str, scripts: Path, overrides: dict[str, str]) -> dict[str, float]:
    """Seconds by stage, ``wall``, ``cpu`` and ``peak`` in MB of one run in a process of its own."""
    path = os.pathsep.join([str(scripts), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "lungcad", "run", str(Path(scan).resolve()), output,
             *(f"--{key}={value}" for key, value in overrides.items())],
            env=os.environ | {"PYTHONPATH": path, "LUNGCAD_BUNDLES": str(root.parent)}, cwd=output,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"the chain ended with exit code {process.returncode}. Run it by itself to see why.")
        seconds: dict[str, float] = json.loads(next(Path(output).glob("*/run.json")).read_text())["seconds"]
    return seconds | {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024}


def stage_figures(chain: Chain, volume: Volume, ceiling_gflops: float) -> dict[str, dict[str, float]]:
    """Work of the stages in this process, the first run for start-up left out.

    Args:
        chain: chain with its stages.
        volume: the scan.
        ceiling_gflops: GFLOP/s of a large matrix product.

    Returns:
        By stage ``seconds``, ``peak_memory_mb``, ``gflop``, and ``share`` of the ceiling; and ``first_seconds``, those
        of the run left out, which a user's first scan takes.
    """
    figures: dict[str, dict[str, float]] = {}
    first, again, work = Scan(volume), Scan(volume), Scan(volume)
    for scan in (first, again, work):
        _ = scan.lungs
    findings: list[Finding] = []
    for name, stage in chain.stages.items():
        given = findings
        findings, start = timed(lambda stage=stage, given=given: stage(first, given), chain.device)  # type: ignore[misc]
        peak_memory_mb(chain.device, reset=True)
        _, seconds = timed(lambda stage=stage, given=given: stage(again, given), chain.device)  # type: ignore[misc]
        memory = peak_memory_mb(chain.device)
        _, gflop = counted(lambda stage=stage, given=given: stage(work, given))  # type: ignore[misc]
        figures[name] = {"seconds": seconds, "first_seconds": start, "peak_memory_mb": memory, "gflop": gflop,
                         "share": gflop / seconds / ceiling_gflops}  # fmt: skip
    return figures


def time_detection(stage: BundleStage, volume: Volume, repeats: int) -> dict[str, float]:
    """Time the detection stage: median seconds alone (``detect``) and with the lung mask (``detect_with_lungs``)."""
    alone, with_lungs = [], []
    for _ in range(repeats + 1):  # the first pays for start-up and does not count
        scan = Scan(volume)
        _, lungs = timed(lambda scan=scan: scan.lungs, stage.device)  # type: ignore[misc]
        _, detect = timed(lambda scan=scan: stage(scan), stage.device)  # type: ignore[misc]
        alone.append(detect)
        with_lungs.append(lungs + detect)
    return {"detect": median(alone[1:]), "detect_with_lungs": median(with_lungs[1:])}
