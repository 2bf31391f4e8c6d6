# SPDX-License-Identifier: Apache-2.0
"""Fast inference with PyTorch on this processor: memory allocator, data type, memory format."""

import ctypes
import platform
from typing import TYPE_CHECKING

from lungcad.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def tune_allocator() -> None:
    """Keep freed memory in the process instead of giving it back to the system.

    A convolution's scratch memory is hundreds of megabytes; glibc maps it anew, page by page, at every call, which
    can cost as much time as the convolution. Has no effect on other C libraries.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # mmap max, trim threshold, top pad
            libc.mallopt(option, value)


def release_memory() -> None:
    """Give memory that :func:`tune_allocator` kept back to the system, as between two scans of one process.

    Without it a process grows from scan to scan: every scan has other sizes, and freed blocks do not fit the next.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def fast_dtype(device: "torch.device", precision: str = "auto") -> "torch.dtype":
    """Data type of the fast path on this device.

    bfloat16 pays where the processor multiplies it in hardware (a GPU, AMX tiles, AVX-512 BF16); elsewhere it is
    emulated and many times slower than float32.

    Args:
        device: device of the network.
        precision: ``auto``, ``float32`` or ``bfloat16``.

    Raises:
        InputError: E-CONFIG, any other precision.
    """
    import torch

    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError("E-CONFIG", f"unknown precision: {precision} (expected auto, float32 or bfloat16).")
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        wide = torch.backends.cpu.get_cpu_capability() == "AVX512"  # ATEN_CPU_CAPABILITY can name an older processor
        quick = wide and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return torch.bfloat16 if quick else torch.float32


def autocast(device: "torch.device", precision: str = "auto") -> "torch.autocast":
    """Context in which networks compute in :func:`fast_dtype`; raises the same error."""
    import torch

    dtype = fast_dtype(device, precision)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def channels_last(batch: "Tensor") -> "Tensor":
    """Batch (B, C, H, W) or (B, C, X, Y, Z) with its channels last in memory, the fastest layout for convolutions."""
    import torch

    form = torch.channels_last_3d if batch.ndim == 5 else torch.channels_last
    return batch.contiguous(memory_format=form)


def channels_last_network(network: "nn.Module") -> "nn.Module":
    """Network with its kernels laid out for :func:`channels_last` batches.

    Inferers call it in inference mode; kernels that autograd could use before, it can use afterwards too.
    """
    import torch

    parameters = list(network.parameters())
    form = torch.channels_last if any(parameter.ndim == 4 for parameter in parameters) else torch.channels_last_3d
    with torch.inference_mode(any(parameter.is_inference() for parameter in parameters)):
        return network.to(memory_format=form)  # type: ignore[call-overload]
