# SPDX-License-Identifier: Apache-2.0
"""MONAI's supervised trainer with resuming, a schedule, averaged weights, validation, a progress bar and logs."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, TensorBoardStatsHandler
from tensorboardX import SummaryWriter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lungcad.atomic import whole_file
from lungcad.bundle.launch import config_in_use
from lungcad.cpu import channels_last_network, tune_allocator
from lungcad.errors import InputError
from lungcad.training.parallel import is_main_process, unwrapped
from lungcad.training.settings import changed_settings, training_settings
from lungcad.training.validation import Validation

logger = logging.getLogger(__name__)


def make_trainer(
    *, device: torch.device, network: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any,
    dataloader: Any, epochs: int, run_dir: str, averaging: float = 0.998,
    validation: Any = None, **options: Any,
) -> SupervisedTrainer:  # fmt: skip
    """Make a trainer that writes ``<run_dir>/checkpoint.pt`` after each epoch and starts from it if it exists.

    At the end ``<run_dir>/model.pt`` holds the average of the weights as a bundle ships it; ``<run_dir>/tensorboard``
    gets loss and learning rate. If there are several processes, the first one writes and logs, all of them resume.
    The checkpoint keeps the settings of the bundle's config that is being run, see :mod:`lungcad.training.settings`.

    Args:
        device: device to train on.
        network, optimizer: network to train, and optimiser of its parameters.
        loss: loss of an output and a label; its method ``next_epoch``, if any, is called before each epoch.
        schedule: learning rate schedule; it steps once per epoch.
        dataloader: dataloader of dictionaries with ``image`` and ``label``; its dataset's method ``set_epoch``, if any,
            is called before each epoch.
        epochs: number of epochs in all, before and after a restart; the same at every restart.
        run_dir: folder of the checkpoint and the log.
        averaging: share of the average that is kept at each step (exponential moving average), less in the first steps;
            0 for the last weights alone.
        validation: dataloader of cases of other patients; the average with the lowest loss on them is exported instead
            of the last one. None for no validation.
        options: arguments for :class:`monai.engines.SupervisedTrainer`.

    Raises:
        InputError: on running, E-CONFIG, the checkpoint's training has other settings or another number of epochs;
            E-TRAIN, an epoch left weights that are not finite.
    """
    tune_allocator()
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    channels_last_network(unwrapped(network))
    average = AveragedModel(unwrapped(network), avg_fn=moving_average(averaging))
    parts = {"network": unwrapped(network), "average": average, "loss": loss, "optimizer": optimizer}
    parts |= {"schedule": schedule}
    if validation is not None:
        shared = {key: options[key] for key in ("prepare_batch", "inferer") if key in options}
        path = folder / "validation.csv"
        parts["validation"] = Validation(path, validation, network, average, loss, device, **shared)
    before = [parts["validation"]] if validation is not None else []
    resume = Resume(folder, parts, epochs, device, training_settings(config_in_use()))
    handlers: list[Any] = [LrScheduleHandler(schedule, print_lr=False), *before, resume]
    if is_main_process():
        handlers += _loggers(folder, optimizer)
    trainer = SupervisedTrainer(
        device=device, max_epochs=epochs, train_data_loader=dataloader, network=network, optimizer=optimizer,
        loss_function=loss, train_handlers=handlers, decollate=False, **options,
    )  # fmt: skip
    if is_main_process():
        bar = ProgressBar(desc="train", disable=None)
        bar.attach(trainer, output_transform=lambda output: {"loss": _loss(output)})

    @trainer.on(Events.ITERATION_COMPLETED)
    def update_average() -> None:
        average.update_parameters(unwrapped(network))

    trainer.add_event_handler(Events.EPOCH_STARTED, _begin_epoch, dataloader.dataset, loss)
    return trainer


def _begin_epoch(engine: Engine, dataset: Any, loss: nn.Module) -> None:
    """Select the epoch's samples and notify the loss."""
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(engine.state.epoch)
    if callable(next_epoch := getattr(loss, "next_epoch", None)):
        next_epoch()


def _loggers(folder: Path, optimizer: torch.optim.Optimizer) -> list[Any]:
    """Handlers that log the loss, and write loss and learning rate for TensorBoard."""
    curves = TensorBoardStatsHandler(
        SummaryWriter(str(folder / "tensorboard")), tag_name="loss", output_transform=_loss,
        epoch_event_writer=lambda engine, writer: writer.add_scalar(
            "learning_rate", optimizer.param_groups[0]["lr"], engine.state.epoch
        ),
    )  # fmt: skip
    return [StatsHandler(iteration_log=False, epoch_print_logger=_log_epoch, output_transform=_loss), curves]


def moving_average(kept: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average of weights, as function for torch's AveragedModel.

    Args:
        kept: share of the average that stays at each step; at step n at most (1 + n) / (10 + n), so that a short
            training does not end with its first weights.
    """

    def average(mean: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        return torch.lerp(now, mean, min(kept, (1 + int(steps)) / (10 + int(steps))))

    return average


class Resume:
    """Ignite handler that writes a checkpoint after each epoch, starts from it, and exports the weights at the end.

    Args:
        folder: folder of ``checkpoint.pt`` and ``model.pt``.
        parts: objects with a state, by name: ``network``, its ``average``, and others, such as a loss that counts its
            steps.
        epochs: number of epochs of the training.
        device: device that the training runs on.
        settings: settings of the training by id; a checkpoint with others is refused.
    """

    def __init__(self, folder: Path, parts: dict[str, Any], epochs: int, device: torch.device,
                 settings: Mapping[str, str]):  # fmt: skip
        self.folder, self.parts, self.epochs, self.device = folder, parts, epochs, device
        self.settings, self.path = settings, folder / "checkpoint.pt"

    def attach(self, engine: Engine) -> None:
        """Add the handler's events: all processes start from the checkpoint, the first one writes."""
        engine.add_event_handler(Events.STARTED, self._start)
        if is_main_process():
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
            engine.add_event_handler(Events.COMPLETED, self._export)

    def _start(self, engine: Engine) -> None:
        """Restore the checkpoint, if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        if state["epochs"] != self.epochs:  # its learning rates were those of another schedule
            text = f"{self.folder.name} holds a training begun for {state['epochs']} epochs, not {self.epochs}."
            raise InputError("E-CONFIG", text, "Finish it with as many, or give another --run_dir.")
        other = changed_settings(state.get("settings", {}), self.settings)
        if other or not self.parts.keys() <= state.keys():
            text = f"{self.folder.name} holds a training with other settings: {', '.join(other) or 'an older version'}."
            raise InputError("E-CONFIG", text, "Go on with the same, or give another --run_dir.")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        _set_random_state(self.device, state["random"])
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * engine.state.epoch_length
        logger.info("%s: goes on after epoch %d of %d", self.folder.name, state["epoch"], self.epochs)

    def _save(self, engine: Engine) -> None:
        """Write the checkpoint, after a check that all weights are finite."""
        broken = [name for name, value in self.parts["network"].state_dict().items() if not value.isfinite().all()]
        if broken:
            text = f"{self.folder.name}: weights not finite after epoch {engine.state.epoch}: {broken[0]} and others."
            raise InputError("E-TRAIN", text, "Run it again from the epoch before; if that ends alike, learn slower.")
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"epoch": engine.state.epoch, "epochs": self.epochs, "random": _random_state(self.device)}
        state |= {"settings": dict(self.settings)}
        write_atomically(state, self.path)

    def _export(self, engine: Engine) -> None:
        """Write the best averaged weights, or the last without a validation."""
        network, best = self.parts["average"].module, self.parts.get("validation")
        if best is not None and best.weights is not None:
            network.load_state_dict(best.weights)
        export_weights(network, self.folder / "model.pt")


def _random_state(device: torch.device) -> list[torch.Tensor]:
    """Random states of the CPU and, if the device is one, of the GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random_state(device: torch.device, state: list[torch.Tensor]) -> None:
    """Restore the random states of :func:`_random_state`."""
    torch.set_rng_state(state[0].cpu())
    if device.type == "cuda" and len(state) > 1:
        torch.cuda.set_rng_state(state[1].cpu(), device)


def _loss(output: Any) -> float:
    """Loss in the output of an engine."""
    return float(output["loss"].detach())


def _log_epoch(engine: Engine) -> None:
    """Log the number of an epoch and its last loss."""
    logger.info("epoch %d/%d  last loss %.4f", engine.state.epoch, engine.state.max_epochs, _loss(engine.state.output))


def write_atomically(state: dict, path: Path) -> None:
    """Write a state with ``torch.save``, never leaving half a file."""
    with whole_file(path) as part:
        torch.save(state, part)


def export_weights(network: nn.Module, path: Path) -> None:
    """Write the network's state dict as the bundles ship it, with kernels in float16.

    Vectors keep their data type: they are small, and variances of batch normalisations may be beyond float16.
    """
    state = {
        name: value.detach().cpu().contiguous().to(torch.float16 if value.ndim > 1 else value.dtype)
        for name, value in network.state_dict().items()
    }
    write_atomically(state, path)
