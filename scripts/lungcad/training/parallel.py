# SPDX-License-Identifier: Apache-2.0
"""Training in several processes, one per GPU (or, slowly, one per CPU core), for multi_gpu_train.json."""

import os
import time
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lungcad.cpu import channels_last_network
from lungcad.errors import InputError

MULTI_GPU_OVERLAY = Path(__file__).with_name("multi_gpu_train.json")
"""Config laid over inference.json and train.json of any bundle, to train it under torchrun."""

SECONDS_TO_LEAVE = 1.0
"""Time to wait after leaving the group; see :func:`leave_processes`."""


def join_processes() -> None:
    """Join the group that torchrun started: NCCL if there are GPUs, else Gloo. A second call does nothing."""
    if not distributed.is_initialized():
        device = process_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave_processes() -> None:
    """Leave the group and wait, so that Gloo's threads can release their last work.

    They need the GIL for that, and a thread that asks for it when the interpreter is ending aborts the process (5 of
    some 350 runs of two processes, torch 2.13, Python 3.11).
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(SECONDS_TO_LEAVE)


def process_device() -> torch.device:
    """Device of this process: the GPU with its number on this machine, or the CPU."""
    return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu")


def is_main_process() -> bool:
    """True for the one process that writes, also if there is only one process."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def batch_share(batch_size: int) -> int:
    """Number of samples of a batch that this process takes: the number of steps does not depend on that of processes.

    Args:
        batch_size: number of samples in a batch of all processes.

    Raises:
        InputError: E-CONFIG, the batch cannot be divided.
    """
    processes = distributed.get_world_size() if distributed.is_initialized() else 1
    if batch_size % processes:
        text = f"batch_size {batch_size} for {processes} processes (expected a multiple)."
        raise InputError("E-CONFIG", text, "Give another --batch_size, or another number of processes.")
    return batch_size // processes


def share_gradients(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """Wrap a network on ``device`` so that every step averages the gradients of all processes.

    The memory format is set first: DistributedDataParallel lays out its buckets as the parameters lie then.

    Args:
        network: network to train. An attribute ``skips_parameters`` that is True means that some of its steps leave
            parameters without a gradient.
        device: device of this process.
    """
    skips = bool(getattr(network, "skips_parameters", False))
    network = channels_last_network(network.to(device))
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=skips)


def unwrapped(network: nn.Module) -> nn.Module:
    """Network without its wrappers, which hold it as ``module``; its state dict has the names of a single process."""
    while isinstance(inner := getattr(network, "module", None), nn.Module):
        network = inner
    return network
