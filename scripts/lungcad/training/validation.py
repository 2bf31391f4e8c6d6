# SPDX-License-Identifier: Apache-2.0
"""Validation during a training: the loss on cases of other patients, and the weights of the lowest loss."""

import csv
import math
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Loss
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lungcad.atomic import whole_file
from lungcad.training.parallel import unwrapped


class Validation:
    """Ignite handler that computes the loss of the averaged weights on the same samples after each epoch.

    Args:
        path: file of a CSV with the curve, written after each epoch.
        dataloader: dataloader of samples that no epoch changes.
        network: network in training, wrapped or not.
        average: averaged weights, in its ``module``.
        loss: loss of the training; without gradients it counts no step.
        device: device that the validation runs on.
        options: ``prepare_batch`` and ``inferer`` of the training, if it has its own.

    Attributes:
        weights: state dict of the lowest loss so far; None before the first epoch.
        best: lowest loss so far.
        losses: losses of all epochs.
    """

    def __init__(self, path: Path, dataloader: Any, network: nn.Module, average: AveragedModel, loss: nn.Module,
                 device: torch.device, **options: Any):  # fmt: skip
        self.path, self.network, self.average = path, unwrapped(network), average
        self.weights: dict[str, Tensor] | None = None
        self.best, self.losses = math.inf, list[float]()
        self.evaluator = SupervisedEvaluator(
            device=device, val_data_loader=dataloader, network=network, decollate=False,
            key_val_metric={"loss": Loss(loss, lambda output: (output["pred"], output["label"]))}, **options,
        )  # fmt: skip

    def attach(self, engine: Engine) -> None:
        """Run after each epoch of an engine."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Validate; the training's weights and random state stay unchanged."""
        trained = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(unwrapped(self.average).state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(0)  # some networks draw their samples in training
            self.evaluator.run()
        self.losses.append(float(self.evaluator.state.metrics["loss"]))
        if self.losses[-1] < self.best:
            self.best = self.losses[-1]
            self.weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(trained)
        with whole_file(self.path) as part, part.open("w", newline="") as stream:
            csv.writer(stream).writerows([("epoch", "validation_loss"), *enumerate(self.losses, start=1)])

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"weights": self.weights, "best": self.best, "losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.weights, self.best, self.losses = state["weights"], state["best"], state["losses"]
