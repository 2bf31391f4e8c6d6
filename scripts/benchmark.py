# SPDX-License-Identifier: Apache-2.0
"""Benchmark the chain on one scan: ``python scripts/benchmark.py SCAN [--against COMMIT] [--device cuda]``.

Prints seconds, peak memory, GFLOP and the share of the measured matmul ceiling per stage; a user's run, in turns with
an older commit's; every detector beside MONAI's stock sliding window; and cost against work. ``--help`` lists options.
"""

import json as json_format
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from lungcad.benchmark.machine import describe_machine
from lungcad.benchmark.runs import SCRIPTS, checkout, paired, stage_figures, time_detection
from lungcad.benchmark.stock import WINDOWS, time_stock_inferer
from lungcad.benchmark.work import measure_work, plot_work
from lungcad.bundle.registry import CHAIN, bundle_root
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.cli import run_script
from lungcad.reading.volume_file import read_volume

BUDGET_S = 480.0
"""Seconds on a GPU after which no further part is begun: ten minutes hold the whole."""


def benchmark(
    scan: str, against: str | None = None, repeats: int = 5, stock_windows: int | None = None, work: str | None = None,
    device: str | None = None, json: str | None = None,
) -> None:  # fmt: skip
    """Measure the chain on one scan.

    Args:
        scan: DICOM folder, .mhd, .nii.gz or .nrrd.
        against: older commit, whose chain runs in turns with this one.
        repeats: number of runs of the chain and of a detector, of which the median counts; 0 leaves out runs in
            processes of their own.
        stock_windows: number of the stock inferer's windows to compute per detector, evenly spread; the time of the
            others is their number times the mean. None leaves this part out on a CPU, and is 40 on a GPU.
        work: SVG or PNG file for a plot of cost against work; None leaves this part out.
        device: cpu or cuda; the first GPU if there is one.
        json: file for all figures.
    """
    start = time.perf_counter()
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    machine = describe_machine(chosen)
    figures: dict[str, Any] = {"machine": machine}
    print(f"{machine['name']} ({machine['features']}), {machine['threads']} threads, {machine['engine']}, "
          f"matmul ceiling {machine['ceiling_gflops']:.0f} GFLOP/s")  # fmt: skip
    if repeats:  # before anything large is in this process: a child's peak memory begins with its parent's
        figures["runs"] = run_versions(scan, against, repeats, device)
    volume, chain = read_volume(scan), Chain(device=chosen)
    figures["stages"] = stage_figures(chain, volume, machine["ceiling_gflops"])
    print_stages(figures["stages"], volume.hu.shape[2])
    if chosen.type == "cuda":
        stock_windows = stock_windows or 40
    for name in WINDOWS if stock_windows else ():
        if chosen.type == "cpu" or time.perf_counter() - start < BUDGET_S:
            figures[f"stock {name}"] = against_stock(name, volume, chosen, stock_windows or 0, max(1, repeats))
    if work and (chosen.type == "cpu" or time.perf_counter() - start < BUDGET_S):
        figures["work"] = measure_work(chain)
        plot_work(figures["work"], Path(work), f"{machine['name']}, {machine['threads']} threads, {machine['engine']}")
    if json:
        Path(json).write_text(json_format.dumps(figures, indent=2) + "\n")


def print_stages(stages: dict[str, dict[str, float]], slices: int) -> None:
    """Print a line per stage."""
    print(f"stages, {slices} slices, network already loaded")
    for name, figures in stages.items():
        print(f"  {name:<14}{figures['seconds']:8.2f} s (first {figures['first_seconds']:.2f}) "
              f"{figures['peak_memory_mb']:8.0f} MB"
              f"{figures['gflop']:9.0f} GFLOP  {figures['share']:.0%} of the ceiling")  # fmt: skip


def run_versions(scan: str, against: str | None, repeats: int, device: str | None) -> dict[str, Any]:
    """Figures of runs as a user's by version; prints them."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {"this": (bundle_root(CHAIN).resolve(), SCRIPTS)}
        if against:
            roots[against] = checkout(against, Path(folder))
        runs = paired(list(roots.values()), scan, repeats, **({"device": device} if device else {}))
    named = dict(zip(roots, runs, strict=True))
    for name, run in named.items():
        seconds = run["seconds"]
        parts = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items() if stage not in ("wall", "cpu"))
        low, high = run["wall_range"]
        print(f"run {name}: {seconds['wall']:.1f} s ({low:.1f} to {high:.1f}), {seconds['cpu']:.1f} CPU s, "
              f"{run['peak_memory_mb']:.0f} MB, start of Python included; {parts}")  # fmt: skip
    if against:
        print(f"ratio {runs[0]['seconds']['wall'] / runs[1]['seconds']['wall']:.2f} of {against}")
    return named


def against_stock(name: str, volume: Any, device: torch.device, windows: int, repeats: int) -> dict[str, Any]:
    """Figures of a detector in float32 and of MONAI's stock inferer on the same network; prints them."""
    key = "joint" if name == "jnsc" else "detection"
    root = bundle_root(f"lung_nodule_{key}_{name}")
    config = json_format.loads((root / "configs" / "inference.json").read_text())
    once: dict[str, Any] = {"mirror_axes": []} if "mirror_axes" in config else {}  # as the stock inferer does
    stage = BundleStage(root, device, {"precision": "float32", **once}, "detect")
    detector = time_detection(stage, volume, repeats)
    stock = time_stock_inferer(name, stage, config, volume, windows)
    ratio = stock["seconds"] / detector["detect"]
    windows_text = f"{stock['windows_measured']} of {stock['windows']} windows of {stock['roi']} measured"
    print(f"{name}: {detector['detect']:.1f} s in float32, stock SlidingWindowInferer {stock['seconds']:.1f} s "
          f"({windows_text}): {ratio:.1f} x")  # fmt: skip
    return {"ours": detector, "stock": stock, "ratio": ratio}


if __name__ == "__main__":
    run_script(benchmark)
