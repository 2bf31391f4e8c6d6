# SPDX-License-Identifier: Apache-2.0
"""Training in several processes, one a GPU (or, slowly, one a CPU core): what multi_gpu_train.json needs."""

import os
import time
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lungcad.cpu import channels_last_network

MULTI_GPU_OVERLAY = Path(__file__).with_name("multi_gpu_train.json")
"""Config that lies over inference.json and train.json of any bundle, to train it under torchrun."""

SECONDS_TO_LEAVE = 1.0


def join_processes() -> None:
    """Join the group that torchrun started: NCCL where there are GPUs, else Gloo. Does nothing the second time."""
    if not distributed.is_initialized():
        device = process_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave_processes() -> None:
    """Leave the group.

    Then wait, so that Gloo's threads can let go of their last work. For that they need the GIL, and one that asks for
    it when the interpreter is ending aborts the process (5 of some 350 runs of two processes, torch 2.13, Python 3.11).
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(SECONDS_TO_LEAVE)


def process_device() -> torch.device:
    """The device of this process: the GPU with its number on this machine, or the CPU."""
    return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu")


def is_main_process() -> bool:
    """Whether this is the one process that writes; true also where there is only one."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def share_gradients(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The network on ``device``, wrapped so that every step averages the gradients of all processes.

    The memory format is set first: DistributedDataParallel lays out its buckets as the parameters lie then.

    Args:
        network: to be trained. An attribute ``skips_parameters`` that is true says that some of its steps leave
            parameters without a gradient.
        device: of this process.
    """
    skips = bool(getattr(network, "skips_parameters", False))
    network = channels_last_network(network.to(device))
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=skips)


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, with the names of a single process in its state dict; wrappers hold it as ``module``."""
    while isinstance(inner := getattr(network, "module", None), nn.Module):
        network = inner
    return network
