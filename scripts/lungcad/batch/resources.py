# SPDX-License-Identifier: Apache-2.0
"""Resources that this job may use - cores, memory, GPUs - and the number of workers that fit."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lungcad.errors import InputError

WORKER_GB = 6.0
"""Memory of a worker in GB: one with the default chain held up to 5.5 GB over fifty scans (batch.md)."""
GB = 1e9


@dataclass(frozen=True)
class Plan:
    """Workers of a job: their devices (None for the CPU), threads and memory of each."""

    devices: tuple[str | None, ...]
    threads: int
    worker_gb: float


def plan_workers(workers: int | None = None, memory_gb: float | None = None, device: str | None = None) -> Plan:
    """Plan the workers of this job: one for each GPU, else one for each core, as far as memory allows.

    Args:
        workers: number of workers; None for as many as fit.
        memory_gb: memory of all workers; None for what the job, its control group or the machine has left.
        device: device of all workers; None for the GPUs if there are any, one worker each, else the CPU.

    Raises:
        InputError: E-MEMORY, the memory does not hold so many workers.
    """
    free = free_memory_gb() if memory_gb is None else memory_gb
    fitting = max(1, int(free // WORKER_GB))  # one worker needs no more than `lungcad run`
    gpus = [f"cuda:{number}" for number in range(count_gpus())] if device is None else []
    count = workers or len(gpus) or 1
    if workers is None and not gpus and device in (None, "cpu"):
        count = min(count_cores(), fitting)
    if count > fitting:
        text = f"{count} workers need {count * WORKER_GB:.0f} GB ({free:.1f} GB are free)."
        raise InputError("E-MEMORY", text, "Give fewer --workers, or ask for a machine or job with more memory.")
    devices = tuple((gpus[number % len(gpus)] if gpus else device) for number in range(count))
    return Plan(devices, max(1, count_cores() // count), free / count)


def count_cores() -> int:
    """Cores of this job: affinity, Slurm's share of a task, and the control group's quota."""
    cores = [len(os.sched_getaffinity(0))]
    if given := os.environ.get("SLURM_CPUS_PER_TASK"):
        cores.append(int(given))
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores.append(-(-int(quota[0]) // int(quota[1])))
    return max(1, min(cores))


def free_memory_gb(environment: Mapping[str, str] = os.environ) -> float:
    """Memory that this job may still take, in GB: the machine's, its control group's, and Slurm's share."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    limits = [int(found[1]) * 1024.0] if found else []
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        limit_text, used_text = _read(limit).strip(), _read(used).strip()
        if limit_text.isdigit() and used_text.isdigit():
            limits.append(float(int(limit_text) - int(used_text)))
    slurm_mb = int(environment.get("SLURM_MEM_PER_NODE") or 0)
    slurm_mb = slurm_mb or int(environment.get("SLURM_MEM_PER_CPU") or 0) * count_cores()
    limits += [slurm_mb * 2.0**20] if slurm_mb else []
    return min(limits, default=WORKER_GB * GB) / GB


def count_gpus() -> int:
    """GPUs that this job may see, counted without torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])
    return len([path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)])


def resident_gb() -> float:
    """Memory that this process holds, in GB."""
    pages = _read("/proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / GB if pages else 0.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
