# SPDX-License-Identifier: Apache-2.0
"""Training in several processes, one a GPU (or, slowly, one a CPU core): what configs/multi_gpu_train.json needs."""

import logging
import os
import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lungcad.cpu import channels_last_network


def join_processes() -> None:
    """Join the group that torchrun started: NCCL where there are GPUs, else Gloo. Does nothing the second time."""
    if not distributed.is_initialized():
        device = process_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave_processes() -> None:
    """Leave the group; only the first process, the one that writes, returns.

    The others end here, without the interpreter's clearing up: it aborted in 2 of some 200 runs of two processes (torch
    2.13, Gloo: "terminate called without an active exception"), so that torchrun told a finished training as failed.
    """
    if distributed.is_initialized():
        writes = is_main_process()
        distributed.destroy_process_group()
        if not writes:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(0)


def process_device() -> torch.device:
    """The device of this process: the GPU with its number on this machine, or the CPU."""
    return torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu")


def is_main_process() -> bool:
    """Whether this is the one process that writes; true also where there is only one."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def share_gradients(network: nn.Module, device: torch.device, find_unused: bool = False) -> DistributedDataParallel:
    """The network on ``device``, wrapped so that every step averages the gradients of all processes.

    The memory format is set first: DistributedDataParallel lays out its buckets as the parameters lie then.

    Args:
        network: to be trained.
        device: of this process.
        find_unused: some steps leave parameters without a gradient.
    """
    network = channels_last_network(network.to(device))
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=find_unused)


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, with the names of a single process in its state dict; wrappers hold it as ``module``."""
    while isinstance(inner := getattr(network, "module", None), nn.Module):
        network = inner
    return network
