# SPDX-License-Identifier: Apache-2.0
"""MONAI's supervised trainer with what every training here needs: resuming, a schedule, a bar and logs."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, TensorBoardStatsHandler
from tensorboardX import SummaryWriter
from torch import nn

from lungcad.cpu import tune_allocator
from lungcad.errors import InputError
from lungcad.training.parallel import is_main_process, unwrapped

logger = logging.getLogger(__name__)


def make_trainer(
    *, device: torch.device, network: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any,
    dataloader: Any, epochs: int, run_dir: str, **options: Any,
) -> SupervisedTrainer:  # fmt: skip
    """A trainer that writes ``<run_dir>/checkpoint.pt`` after each epoch and starts from it where it exists.

    At the end ``<run_dir>/model.pt`` holds the weights as a bundle ships them; ``<run_dir>/tensorboard`` gets loss and
    learning rate. Of several processes the first one writes and logs, all of them resume.

    Args:
        device: where to train.
        network, loss, optimizer, schedule: as usual; the schedule steps once an epoch.
        dataloader: of dictionaries with ``image`` and ``label``; its dataset's ``set_epoch``, if any, is called.
        epochs: to train in all, those before a restart included; the same at every restart.
        run_dir: of the checkpoint and the log.
        options: passed on to :class:`monai.engines.SupervisedTrainer`.

    Raises:
        InputError: E-CONFIG on running, where the checkpoint's training was begun for another number of epochs.
    """
    tune_allocator()
    folder = Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    parts = {"network": unwrapped(network), "optimizer": optimizer, "schedule": schedule}
    unwrapped(network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    writes = is_main_process()
    handlers: list[Any] = [LrScheduleHandler(schedule, print_lr=False)]
    if writes:
        handlers += [
            StatsHandler(iteration_log=False, epoch_print_logger=_log_epoch, output_transform=_loss),
            TensorBoardStatsHandler(
                SummaryWriter(str(folder / "tensorboard")), tag_name="loss", output_transform=_loss,
                epoch_event_writer=lambda engine, writer: writer.add_scalar(
                    "learning_rate", optimizer.param_groups[0]["lr"], engine.state.epoch
                ),
            ),
        ]  # fmt: skip
    trainer = SupervisedTrainer(
        device=device, max_epochs=epochs, train_data_loader=dataloader, network=network, optimizer=optimizer,
        loss_function=loss, train_handlers=handlers, **options,
    )  # fmt: skip
    if writes:
        bar = ProgressBar(desc="train", disable=None)
        bar.attach(trainer, output_transform=lambda output: {"loss": _loss(output)})

    @trainer.on(Events.STARTED)
    def resume(engine: Engine) -> None:
        if path.exists():
            state = torch.load(path, map_location=device, weights_only=True)
            if state["epochs"] != epochs:  # its learning rates were those of another schedule
                text = f"{folder.name} holds a training begun for {state['epochs']} epochs, not {epochs}."
                raise InputError("E-CONFIG", text, "Finish it with as many, or give another --run_dir.")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            _set_random_state(device, state["random"])
            engine.state.epoch = state["epoch"]
            engine.state.iteration = state["epoch"] * len(dataloader)
            logger.info("resumed %s after epoch %d", path, state["epoch"])

    @trainer.on(Events.EPOCH_STARTED)
    def next_patches(engine: Engine) -> None:
        if hasattr(dataloader.dataset, "set_epoch"):
            dataloader.dataset.set_epoch(engine.state.epoch)

    @trainer.on(Events.EPOCH_COMPLETED)
    def save(engine: Engine) -> None:
        if not writes:
            return
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"epoch": engine.state.epoch, "epochs": epochs, "random": _random_state(device)}
        write_atomically(state, path)

    @trainer.on(Events.COMPLETED)
    def export(engine: Engine) -> None:
        if writes:
            export_weights(unwrapped(network), folder / "model.pt")

    return trainer


def _random_state(device: torch.device) -> list[torch.Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random_state(device: torch.device, state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0].cpu())
    if device.type == "cuda" and len(state) > 1:
        torch.cuda.set_rng_state(state[1].cpu(), device)


def _loss(output: Any) -> float:
    return float(output[0]["loss"])


def _log_epoch(engine: Engine) -> None:
    logger.info("epoch %d/%d  last loss %.4f", engine.state.epoch, engine.state.max_epochs, _loss(engine.state.output))


def write_atomically(state: dict, path: Path) -> None:
    """``torch.save`` that never leaves half a file."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def export_weights(network: nn.Module, path: Path) -> None:
    """A plain state dict in float16, as the bundles ship it; integer buffers stay what they are."""
    state = {
        name: value.detach().cpu().contiguous().half() if value.is_floating_point() else value.cpu()
        for name, value in network.state_dict().items()
    }
    write_atomically(state, path)
