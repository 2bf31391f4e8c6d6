# SPDX-License-Identifier: Apache-2.0
"""Gradients of bounded length."""

import torch
from torch.optim import Optimizer


def clipped(optimizer: Optimizer, most: float) -> Optimizer:
    """The optimiser, which from now on shortens the gradient of all its parameters to the L2 norm ``most``."""

    def shorten(optimizer: Optimizer, args: object, kwargs: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, most)

    optimizer.register_step_pre_hook(shorten)
    return optimizer
