# SPDX-License-Identifier: Apache-2.0
"""Benchmark the chain on one scan: ``python scripts/benchmark.py SCAN [--stock_windows 12] [--json FILE]``.

Prints seconds per stage and peak memory of the chain, the detection stage beside MONAI's stock sliding window on the
same network in float32, and the changes that the fast path makes to the findings. ``--help`` lists the options.
"""

import json as json_format
from pathlib import Path
from typing import Any

import fire
import torch

from lungcad.bundle.registry import bundle_root, bundles_folder
from lungcad.chain.benchmark import (
    OVERLAP,
    ROI,
    chain_in_process,
    fast_against_reference,
    time_detection,
    time_stock_inferer,
)
from lungcad.chain.stage import BundleStage
from lungcad.reading.volume_file import read_volume

NETWORKS = {"detect": "lung_nodule_detection_dou2017", "reduce": "lung_nodule_fpr_dou2017"}
"""Bundles that are compared with the stock inferer and with float32. Their detection network gives a volume of scores,
as a stock sliding window needs it."""


def report(figures: dict[str, Any]) -> str:
    """Text of the figures for the terminal."""
    chain, detect, stock, change = (figures[key] for key in ("chain", "ours", "stock", "fast_path"))
    lines = [f"{figures['device']}, {figures['threads']} threads, {figures['slices']} slices"]
    lines += [f"  {name:<12}{seconds:8.2f} s" for name, seconds in chain["seconds"].items() if name != "wall"]
    wall, memory = chain["seconds"]["wall"], chain["peak_memory_mb"]
    lines += [f"  {'all':<12}{wall:8.2f} s, process start included; peak memory {memory:.0f} MB"]
    how = "all measured" if stock["windows"] == stock["windows_measured"] else (
        f"{stock['windows_measured']} measured, time scaled to all")  # fmt: skip
    lines += [
        f"detection stage {detect['detect']:.2f} s; with lung mask {detect['detect_with_lungs']:.2f} s",
        f"stock SlidingWindowInferer, float32, {ROI} at overlap {OVERLAP}, whole volume: {stock['seconds']:.1f} s "
        f"({stock['windows']} windows, {how})",
        f"ratio {figures['ratio']:.1f}, with lung mask {figures['ratio_with_lungs']:.1f}",
    ]
    lines += [
        f"fast path against dense float32, findings from {change['least_probability']:g}: "
        f"{change['findings_fast']} against {change['findings_reference']}, "
        f"{change['without_partner']} without partner; centres within {change['largest_center_distance_mm']:.3f} mm, "
        f"probabilities within {change['largest_probability_difference']:.4f}"
    ]
    return "\n".join(lines)


def _config(root: Path) -> dict[str, Any]:
    config: dict[str, Any] = json_format.loads((root / "configs" / "inference.json").read_text())
    return config


def benchmark(scan: str, stock_windows: int | None = None, repeats: int = 3, json: str | None = None) -> None:
    """Measure the chain on one scan.

    Args:
        scan: DICOM folder, .mhd, .nii.gz or .nrrd.
        stock_windows: number of the stock inferer's windows to compute, evenly spread; the time of the others is their
            number times the mean. By default all, which takes many minutes on a CPU.
        repeats: number of runs of the chain and of the detection stage, of which the median counts.
        json: file for all figures.
    """
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    root = bundles_folder().resolve()
    roots = {stage: bundle_root(name) for stage, name in NETWORKS.items()}
    chain = chain_in_process(root / "lung_nodule_cad", scan, repeats)
    volume = read_volume(scan)
    stage = BundleStage(roots["detect"], device)
    ours = time_detection(stage, volume, repeats)
    stock = time_stock_inferer(stage, _config(roots["detect"]), volume, stock_windows)
    figures = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "slices": volume.hu.shape[2],
        "chain": chain,
        "ours": ours,
        "stock": stock,
        "ratio": stock["seconds"] / ours["detect"],
        "ratio_with_lungs": stock["seconds"] / ours["detect_with_lungs"],
        "fast_path": fast_against_reference(roots, volume, device),
    }
    print(report(figures))
    if json:
        Path(json).write_text(json_format.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    fire.Fire(benchmark)
