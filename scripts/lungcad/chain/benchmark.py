# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the chain: a user's run, detection beside MONAI's stock inferer, the fast path beside float32."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.chain.stage import BundleStage
from lungcad.finding import Finding
from lungcad.geometry import to_world
from lungcad.papers.peaks import IndexMap, searched_outputs
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

ROI = (96, 96, 48)
"""Window of the stock inferer in voxels."""
OVERLAP = 0.25
"""Overlap of the stock inferer's windows: SlidingWindowInferer's default."""
SAME_NODULE_MM = 5.0
"""Largest distance in mm of findings of two paths that are taken for the same nodule."""


def chain_in_process(root: Path, scan: str, repeats: int, **overrides: str) -> dict[str, Any]:
    """Run the chain as a user does, each time in a new process, and measure time and memory.

    Args:
        root: folder of the chain's bundle.
        scan: path of the scan.
        repeats: number of runs.
        overrides: values of the chain's keys, such as ``detector``.

    Returns:
        ``seconds``, medians over the runs by stage, and ``wall``, which includes the start of Python and its imports;
        ``peak_memory_mb``, the largest resident memory of any run.

    Raises:
        SystemExit: the chain failed.
    """
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])
    runs: list[dict[str, float]] = []
    peak = 0.0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(root / "configs" / "inference.json"),
                 "--bundle_root", str(root), "--dataset_dir", str(Path(scan).resolve()), "--output_dir", output,
                 *(f"--{key}={value}" for key, value in overrides.items())],
                env=os.environ | {"PYTHONPATH": path}, cwd=output, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.perf_counter() - start
            if process.returncode:
                raise SystemExit(f"the chain ended with exit code {process.returncode}. Run it by itself to see why.")
            run = json.loads(next(Path(output).glob("*/run.json")).read_text())
            runs.append(run["seconds"] | {"wall": wall})
            peak = max(peak, usage.ru_maxrss / 1024)
    return {"seconds": {name: median(run[name] for run in runs) for name in runs[0]}, "peak_memory_mb": peak}


class SameGrid(nn.Module):
    """Candidate network with a padded input, so that (X, Y, Z) voxels give (X / 2, Y / 2, Z) outputs.

    A stock sliding window needs this for a network of valid convolutions; zero padding is the cheapest kind.
    """

    def __init__(self, network: nn.Module, index_map: IndexMap):
        super().__init__()
        self.network = network
        lost = [field - stride for field, stride in zip(index_map.field, index_map.stride, strict=True)]
        self.padding = [side for n in reversed(lost) for side in (n // 2, n - n // 2)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2, X / 2, Y / 2, Z) of windows (B, 1, X, Y, Z)."""
        out: Tensor = self.network(F.pad(x, self.padding))
        return out


@dataclass
class TimedWindows:
    """Predictor for a SlidingWindowInferer that computes ``measure`` of its windows, evenly spread, and skips the rest.

    A skipped window gives zeros, so that the inferer's own work is done for every window.

    Attributes:
        network: network with (B, 2, X / 2, Y / 2, Z) outputs.
        total: number of windows that the inferer will ask for.
        measure: number of windows to compute.
        windows: number of windows seen so far.
        computed: number of windows computed so far.
        seconds: time spent on the computed windows.
    """

    network: nn.Module
    total: int
    measure: int
    windows: int = 0
    computed: int = 0
    seconds: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of one window, zeros for a skipped one."""
        due = self.windows * self.measure // self.total != (self.windows + 1) * self.measure // self.total
        self.windows += 1
        if not due:
            return x.new_zeros(len(x), 2, x.shape[2] // 2, x.shape[3] // 2, x.shape[4])
        result, seconds = timed(lambda: self.network(x), x.device)
        self.computed += 1
        self.seconds += seconds
        return result


def timed(call: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Result of a call and its duration in seconds, with all work of the device done."""

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    synchronise()
    start = time.perf_counter()
    result = call()
    synchronise()
    return result, time.perf_counter() - start


def whole_volume(volume: Volume, spacing_mm: Sequence[float]) -> Tensor:
    """HU (1, 1, X, Y, Z) of the whole volume, not of the lungs alone, at a spacing in mm; X and Y are even."""
    extent_mm = np.abs(volume.affine[:3, :3]) @ volume.hu.shape
    size = 2 * np.ceil(extent_mm / spacing_mm / 2).astype(int)
    middle = to_world(volume.affine, (np.array(volume.hu.shape) - 1) / 2)
    return Scan(volume).crop(middle.tolist(), size.tolist(), spacing_mm)[None, None]


@torch.inference_mode()
def time_stock_inferer(
    stage: BundleStage, config: Mapping[str, Any], volume: Volume, measure: int | None
) -> dict[str, Any]:
    """Time MONAI's SlidingWindowInferer over the whole volume: float32, default memory format, one window at a time.

    Args:
        stage: detection stage, for its network.
        config: its inference.json, for spacing and intensity window.
        volume: the scan.
        measure: number of windows to compute, evenly spread, for a time scaled to all; None computes all.

    Returns:
        ``seconds``, ``windows``, ``windows_measured``, ``roi``, ``overlap`` and ``voxels`` of the resampled volume.
    """
    low, high = config["window_hu"]
    image = ((whole_volume(volume, config["spacing_mm"]) - low) / (high - low)).clamp(0, 1).to(stage.device)
    inferer = SlidingWindowInferer(ROI, sw_batch_size=1, overlap=OVERLAP)
    network = stage.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    counter = TimedWindows(network, total=1, measure=0)
    inferer(image, counter)  # counts windows
    measure = min(measure or counter.windows, counter.windows)
    predictor = TimedWindows(SameGrid(network, IndexMap()), counter.windows, measure)
    predictor.network(torch.zeros(1, 1, *ROI, device=image.device))  # the first window pays for start-up
    _, seconds = timed(lambda: inferer(image, predictor), image.device)
    overhead = seconds - predictor.seconds
    return {
        "seconds": overhead + predictor.seconds * predictor.windows / predictor.computed,
        "windows": predictor.windows,
        "windows_measured": predictor.computed,
        "roi": ROI,
        "overlap": OVERLAP,
        "voxels": list(image.shape[2:]),
    }


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


class DenseInferer(Inferer):
    """Reference for the fast path: the plain network in float32, on every tile with an output that is searched.

    Args:
        tissue_threshold: lowest intensity that is searched, see :func:`~lungcad.papers.peaks.searched_outputs`.
        tile: size of a tile in outputs.
    """

    def __init__(self, tissue_threshold: float, tile: tuple[int, int, int] = (32, 32, 32)):
        super().__init__()
        self.tissue_threshold, self.tile = tissue_threshold, tile

    @torch.inference_mode()
    def __call__(self, inputs: Tensor, network: nn.Module, lungs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Log odds (1, 1, X', Y', Z'), as LungFCNInferer gives them; -inf where nothing is searched."""
        index_map = IndexMap()
        searched = searched_outputs(inputs[0, 0], lungs, index_map, self.tissue_threshold)
        score = torch.full(searched.shape, -torch.inf, device=inputs.device)
        for first in product(*(range(0, n, t) for n, t in zip(searched.shape, self.tile, strict=True))):
            tile = tuple(slice(a, min(a + t, n)) for a, t, n in zip(first, self.tile, searched.shape, strict=True))
            if searched[tile].any():
                size = index_map.inputs(tuple(side.stop - side.start for side in tile))
                start = [a * s for a, s in zip(first, index_map.stride, strict=True)]
                x, y, z = (slice(a, a + n) for a, n in zip(start, size, strict=True))
                logits = network(inputs[:, :, x, y, z])
                score[tile] = logits[0, 1] - logits[0, 0]
        return score.masked_fill(~searched, -torch.inf)[None, None]


def compare_findings(fast: list[Finding], reference: list[Finding], min_probability: float) -> dict[str, Any]:
    """Compare the findings of the fast path with those of the reference.

    Args:
        fast, reference: findings of either path.
        min_probability: lowest nodule probability of a finding that is compared.

    Returns:
        Numbers of findings and of those without a partner, and the largest differences of partners.
    """

    def compared(finding: Finding) -> bool:
        return (finding.nodule_probability or 0.0) >= min_probability

    partners = [(finding, _nearest(finding, reference)) for finding in fast if compared(finding)]
    partners += [(finding, _nearest(finding, fast)) for finding in reference if compared(finding)]
    pairs = [(a, b) for a, b in partners if b is not None]
    distance = [float(np.linalg.norm(np.subtract(a.center_lps_mm, b.center_lps_mm))) for a, b in pairs]
    change = [abs((a.nodule_probability or 0.0) - (b.nodule_probability or 0.0)) for a, b in pairs]
    return {
        "least_probability": min_probability,
        "findings_fast": sum(map(compared, fast)),
        "findings_reference": sum(map(compared, reference)),
        "without_partner": len(partners) - len(pairs),
        "largest_center_distance_mm": max(distance, default=0.0),
        "largest_probability_difference": max(change, default=0.0),
    }


def _nearest(finding: Finding, others: list[Finding]) -> Finding | None:
    """Nearest of other findings, None where it is farther than :data:`SAME_NODULE_MM`."""

    def distance(other: Finding) -> float:
        return float(np.linalg.norm(np.subtract(finding.center_lps_mm, other.center_lps_mm)))

    nearest = min(others, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= SAME_NODULE_MM else None


def fast_against_reference(roots: Mapping[str, Path], volume: Volume, device: torch.device) -> dict[str, Any]:
    """Compare detection and reduction as configured with dense inference in float32, see :func:`compare_findings`.

    ``roots`` are the folders of the bundles for the stages ``detect`` and ``reduce``.
    """
    scan = Scan(volume)
    found = []
    for exact in (False, True):
        detect, reduce = (
            BundleStage(roots[stage], device, {"precision": "float32"} if exact else None)
            for stage in ("detect", "reduce")
        )
        if exact:
            detect.inferer = DenseInferer(detect.inferer.gate)
        found.append(reduce(scan, detect(scan)))
    return compare_findings(found[0], found[1], min(reduce.thresholds.values()))
