# SPDX-License-Identifier: Apache-2.0
"""Machine that a benchmark runs on: processor, features, measured matmul ceiling; and the work and memory of a call."""

import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from lungcad.cpu import fast_dtype

T = TypeVar("T")

_SIDE = 2048
"""Side of the square matrices whose product is the ceiling."""


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Describe the device: name, features, threads, engine, and the measured ceiling in GFLOP/s of its data type."""
    dtype = fast_dtype(device)
    on_cpu = device.type == "cpu"
    library, kind = "oneDNN" if on_cpu else "cuDNN", str(dtype).removeprefix("torch.")
    return {
        "name": _processor() if on_cpu else torch.cuda.get_device_name(device),
        "features": _features() if on_cpu else f"compute capability {torch.cuda.get_device_capability(device)}",
        "threads": torch.get_num_threads(),
        "engine": f"PyTorch {torch.__version__}, {library}, {kind}",
        "ceiling_gflops": ceiling(device, dtype),
    }


def ceiling(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """GFLOP/s of a product of large square matrices: what this device gives at best, in the data type."""
    a, b = (torch.rand(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        _, duration = timed(lambda: a @ b, device)
        best = min(best, duration)
    return 2 * _SIDE**3 / best / 1e9


def timed(call: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """Result of a call and its duration in seconds, with all work of the device done."""

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    synchronise()
    start = time.perf_counter()
    result = call()
    synchronise()
    return result, time.perf_counter() - start


def counted(call: Callable[[], T]) -> tuple[T, float]:
    """Result of a call and its work in GFLOP: convolutions and matrix products, two operations per multiplication."""
    mapping = {}
    if torch.backends.mkldnn.is_available():
        mapping[torch.ops.mkldnn._convolution_pointwise] = _convolution_flop
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        result = call()
    return result, counter.get_total_flops() / 1e9


def peak_memory_mb(device: torch.device, reset: bool = False) -> float:
    """Largest memory in MB of the device since the last reset; on CPU the process's, since its start where not Linux.

    Args:
        device: a GPU, or the CPU for the process's resident memory.
        reset: True to begin anew.
    """
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if reset and clear.exists():
        clear.write_text("5")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) / 1024


def _convolution_flop(x: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return conv_flop_count(x, weight, out_shape, transposed=False)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _features() -> str:
    """Instruction sets that count for networks, as PyTorch sees them."""
    known = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX-512 BF16": torch.cpu._is_avx512_bf16_supported()}
    return ", ".join(
        [torch.backends.cpu.get_cpu_capability(), *(name for name, available in known.items() if available)]
    )
