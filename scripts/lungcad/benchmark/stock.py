# SPDX-License-Identifier: Apache-2.0
"""Detectors beside MONAI's stock SlidingWindowInferer: the same network in float32, windows over the whole volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn
from torch.nn import functional as F

from lungcad.benchmark.machine import timed
from lungcad.chain.stage import BundleStage
from lungcad.geometry import to_world
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.peaks import IndexMap
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

WINDOWS: Mapping[str, tuple[tuple[int, int, int], float]] = {
    "dou2017": ((96, 96, 48), 0.25), "yao2018": ((96, 96, 96), 0.25), "3dag": ((128, 128, 128), 0.25),
    "jnsc": ((64, 64, 64), 0.5),
}  # fmt: skip
"""Window in voxels and overlap of the stock inferer by detector: MONAI's default overlap, and the paper's for JNSC."""


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


class FinestProposals(nn.Module):
    """Proposals of the finest level as a volume, as a stock sliding window needs them; the others are computed too.

    Args:
        network: the 3D Aggregated Faster R-CNN.
    """

    def __init__(self, network: AggregatedFasterRCNN):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, 5 A, X / 4, Y / 4, Z / 4) of the first head."""
        pyramid = self.network.pyramid(x)
        outputs = [head(pyramid[level]) for level, head in zip(self.network.proposing, self.network.heads, strict=True)]
        first: Tensor = outputs[0]
        return first


@dataclass
class TimedWindows:
    """Predictor for a SlidingWindowInferer that computes ``measure`` of its windows, evenly spread, and skips the rest.

    A skipped window gives zeros, so that the inferer's own work is done for every window.

    Attributes:
        network: network whose outputs are a volume.
        total: number of windows that the inferer will ask for.
        measure: number of windows to compute.
        like: output of one window, for the skipped ones.
        windows: number of windows seen so far.
        computed: number of windows computed so far.
        seconds: time spent on the computed windows.
    """

    network: nn.Module
    total: int
    measure: int
    like: Tensor
    windows: int = 0
    computed: int = 0
    seconds: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Output of one window, zeros for a skipped one."""
        due = self.windows * self.measure // self.total != (self.windows + 1) * self.measure // self.total
        self.windows += 1
        if not due:
            return torch.zeros_like(self.like)
        result, seconds = timed(lambda: self.network(x), x.device)
        self.computed += 1
        self.seconds += seconds
        return result


def whole_volume(volume: Volume, spacing_mm: Sequence[float]) -> Tensor:
    """HU (1, 1, X, Y, Z) of the whole volume, not of the lungs alone, at a spacing in mm; X and Y are even."""
    extent_mm = np.abs(volume.affine[:3, :3]) @ volume.hu.shape
    size = 2 * np.ceil(extent_mm / spacing_mm / 2).astype(int)
    middle = to_world(volume.affine, (np.array(volume.hu.shape) - 1) / 2)
    return Scan(volume).crop(middle.tolist(), size.tolist(), spacing_mm)[None, None]


def volume_network(network: nn.Module) -> nn.Module:
    """Network whose output is a volume, as the stock inferer needs it."""
    if isinstance(network, CandidateFCN):
        return SameGrid(network, IndexMap())
    return FinestProposals(network) if isinstance(network, AggregatedFasterRCNN) else network


@torch.inference_mode()
def time_stock_inferer(
    name: str, stage: BundleStage, config: Mapping[str, Any], volume: Volume, measure: int | None
) -> dict[str, Any]:
    """Time MONAI's SlidingWindowInferer over the whole volume: float32, default memory format, one window at a time.

    Args:
        name: key of the detector in :data:`WINDOWS`.
        stage: detection stage, for its network.
        config: its inference.json, for spacing and intensity window.
        volume: the scan.
        measure: number of windows to compute, evenly spread, for a time scaled to all; None computes all.

    Returns:
        ``seconds``, ``windows``, ``windows_measured``, ``roi``, ``overlap`` and ``voxels`` of the resampled volume.
    """
    roi, overlap = WINDOWS[name]
    low, high = config["window_hu"]
    image = ((whole_volume(volume, config["spacing_mm"]) - low) / (high - low)).clamp(0, 1).to(stage.device)
    network = volume_network(stage.network.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    like = network(torch.zeros(1, 1, *roi, device=image.device))  # pays for start-up too
    inferer = SlidingWindowInferer(roi, sw_batch_size=1, overlap=overlap)
    counter = TimedWindows(network, 1, 0, like)
    inferer(image, counter)  # counts windows
    measure = min(measure or counter.windows, counter.windows)
    predictor = TimedWindows(network, counter.windows, measure, like)
    _, seconds = timed(lambda: inferer(image, predictor), image.device)
    overhead = seconds - predictor.seconds
    return {
        "seconds": overhead + predictor.seconds * predictor.windows / predictor.computed,
        "windows": predictor.windows,
        "windows_measured": predictor.computed,
        "roi": roi,
        "overlap": overlap,
        "voxels": list(image.shape[2:]),
    }
