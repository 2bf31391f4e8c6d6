# SPDX-License-Identifier: Apache-2.0
"""Loading of weights: data from outside, checked before they are used."""

import contextlib
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lungcad.bundle.manifest import sha256_of
from lungcad.errors import InputError

MAX_EXPANSION = 4
"""Largest number of bytes of values for each byte of an honest file; tensors may share their values."""
_ADVICE = "Get the bundle's models/model.pt again."


def load_state(path: str | Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read a plain state dict as float32.

    Args:
        path: path of the file; it may hold float16.
        sha256: expected SHA-256 of the file; None checks nothing.

    Raises:
        InputError: E-WEIGHTS, the file is missing, was altered, holds more than tensors, or values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("E-WEIGHTS", f"no weights at {path.parent.name}/{path.name}.", _ADVICE)
    if sha256 is not None and sha256_of(path) != sha256:
        raise InputError("E-WEIGHTS", f"weights altered: {path.name} has not the SHA-256 of metadata.json.", _ADVICE)
    _refuse_packed(path)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        plain = all(isinstance(value, torch.Tensor) for value in state.values())
        values = sum(value.numel() * value.element_size() for value in state.values()) if plain else 0
    except Exception as error:
        what = f"{path.name} is no plain state dict: {type(error).__name__}."
        raise InputError("E-WEIGHTS", what, _ADVICE) from error
    if not plain:
        raise InputError("E-WEIGHTS", f"{path.name} holds more than tensors.", _ADVICE)
    if values > MAX_EXPANSION * path.stat().st_size:
        what = f"{path.name} holds {values} bytes of values in {path.stat().st_size} bytes."
        raise InputError("E-WEIGHTS", what, "Do not use this file: it is made to exhaust memory.")
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError("E-WEIGHTS", f"weights not finite: {broken[0]} and {len(broken) - 1} more.", _ADVICE)
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch stores weights as they are."""
    if zipfile.is_zipfile(path):
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_EXPANSION * path.stat().st_size:
                what = f"{path.name} unpacks to far more than its {path.stat().st_size} bytes."
                raise InputError("E-WEIGHTS", what, "Do not use this file: it is made to exhaust memory.")


def with_weights(network: nn.Module, path: str, device: torch.device, sha256: str | None = None) -> nn.Module:
    """Network in evaluation mode on a device, with weights from a file.

    Args:
        network: network that the weights belong to.
        path: path of a plain state dict.
        device: device of the result.
        sha256: expected SHA-256 of the file; None checks nothing.

    Raises:
        InputError: E-WEIGHTS, see :func:`load_state`, or names or shapes do not fit the network.
    """
    _load_checked(network, load_state(path, sha256))
    return network.to(device).eval()


def _load_checked(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load a state dict; raises InputError E-WEIGHTS where names or shapes are not those of the network."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        advice = "Leave network_def as it was when the weights were trained, or train new ones for it."
        raise InputError("E-WEIGHTS", f"weights do not fit the network: {text}.", advice) from error


def initialised(
    network: nn.Module, path: str | None, device: torch.device, partial: bool = False, reset_prefix: str | None = None,
    frozen_prefix: str | None = None,
) -> nn.Module:  # fmt: skip
    """Network on a device, ready for training: randomly initialised, or with weights from a file.

    Args:
        network: network to train, already initialised.
        path: path of a plain state dict; None keeps the random initialisation.
        device: device to train on.
        partial: allow a file that lacks parameters; those keep their initialisation, such as a branch that is trained
            later.
        reset_prefix: parameters with names that begin so keep their initialisation even if the file has them.
        frozen_prefix: parameters with names that begin so stay as they are during the training, but not the running
            statistics of batch normalisations; None trains all.

    Raises:
        InputError: E-WEIGHTS, see :func:`load_state`, or names or shapes do not fit the network; E-CONFIG, no parameter
            begins with ``frozen_prefix``.
    """
    if path is not None:
        initial, state = network.state_dict(), load_state(path)
        if reset_prefix is not None:
            state = {name: value for name, value in state.items() if not name.startswith(reset_prefix)}
        reset = [name for name in initial if reset_prefix is not None and name.startswith(reset_prefix)]
        kept = {name: value for name, value in initial.items() if partial or name in reset}
        _load_checked(network, kept | state)
    if frozen_prefix is not None:
        _freeze(network, frozen_prefix)
    return network.to(device)


def _freeze(network: nn.Module, prefix: str) -> None:
    """Exclude parameters with names that begin with ``prefix`` from the training; raises E-CONFIG where none does."""
    from monai.networks.utils import freeze_layers

    if not any(name.startswith(prefix) for name, _ in network.named_parameters()):
        parts = ", ".join(name for name, _ in network.named_children())
        raise InputError("E-CONFIG", f"nothing to keep as it is: no parameter begins with {prefix} (parts: {parts}).")
    freeze_layers(network, freeze_vars=f"^{re.escape(prefix)}")
