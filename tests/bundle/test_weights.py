# SPDX-License-Identifier: Apache-2.0
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lungcad.bundle.manifest import sha256_of
from lungcad.bundle.weights import initialised, load_state, with_weights
from lungcad.errors import InputError
from lungcad.training.trainer import export_weights

CPU = torch.device("cpu")


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, width, 3), nn.BatchNorm3d(width))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    export_weights(network(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def refused(text: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(InputError, match=text) as caught:
        with_weights(network(), *args, device=CPU, **kwargs)
    assert caught.value.code == "E-WEIGHTS"
    assert caught.value.advice


def test_half_precision_on_disk_is_float32_in_use(weights: Path) -> None:
    assert torch.load(weights, weights_only=True)["0.weight"].dtype == torch.float16
    ready = with_weights(network(), str(weights), CPU, sha256_of(weights))
    assert ready[0].weight.dtype == torch.float32
    assert ready[1].num_batches_tracked.dtype == torch.int64
    assert not ready.training
    torch.testing.assert_close(ready[0].weight, torch.load(weights, weights_only=True)["0.weight"].float())


def test_sha256_is_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused("no weights", str(tmp_path / "model.pt"))


def test_an_altered_file_is_refused(weights: Path) -> None:
    before = sha256_of(weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused("altered", str(weights), sha256=before)


class Malice:
    """On unpickling makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.folder,)


def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    torch.save({"0.weight": Malice(proof)}, tmp_path / "model.pt")
    refused("no plain state dict", str(tmp_path / "model.pt"))
    assert not proof.exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert proof.exists()  # it would have been


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(weights: Path, value: float) -> None:
    state = torch.load(weights, weights_only=True)
    state["0.weight"][0, 0, 1, 1, 1] = value
    torch.save(state, weights)
    refused("not finite: 0.weight", str(weights))


@pytest.mark.parametrize("content", [{"weight": torch.zeros(1), "epoch": 3}, {"network": {"weight": torch.zeros(1)}}])
def test_a_file_with_more_than_tensors_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "model.pt")
    refused("more than tensors", str(tmp_path / "model.pt"))


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), None])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pt")
    refused("no plain state dict", str(tmp_path / "model.pt"))


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("version https://git-lfs.github.com/spec/v1")
    refused("no plain state dict", str(tmp_path / "model.pt"))


def test_wrong_shapes_and_names(tmp_path: Path) -> None:
    export_weights(network(width=5), tmp_path / "model.pt")
    refused("do not fit the network", str(tmp_path / "model.pt"))
    torch.save({"other": torch.zeros(1)}, tmp_path / "model.pt")
    refused("do not fit the network", str(tmp_path / "model.pt"))
    assert set(load_state(tmp_path / "model.pt")) == {"other"}


def test_export_keeps_variances_that_are_beyond_float16(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network[1].running_var.fill_(1e5)  # the largest float16 is 65504
    export_weights(network, tmp_path / "model.pt")
    state = load_state(tmp_path / "model.pt")
    assert state["1.running_var"].tolist() == [1e5, 1e5]
    assert torch.load(tmp_path / "model.pt", weights_only=True)["0.weight"].dtype == torch.float16
    torch.testing.assert_close(state["0.weight"], network[0].weight.data, rtol=1e-3, atol=1e-4)


def test_a_training_starts_from_weights_but_for_what_is_to_be_fresh(weights: Path) -> None:
    stored, new = load_state(weights), network(5)
    new[0] = nn.Conv3d(1, 3, 3)
    before = new[1].weight.clone()
    assert initialised(new, str(weights), CPU, reset_prefix="1.") is new
    torch.testing.assert_close(new[0].weight, stored["0.weight"])
    assert torch.equal(new[1].weight, before)  # five channels, where the stored ones are three
    with pytest.raises(InputError, match=r"E-WEIGHTS.*do not fit"):
        initialised(new, str(weights), CPU)
    with pytest.raises(InputError, match=r"E-WEIGHTS.*do not fit"):
        initialised(new, str(weights), CPU, partial=True)  # the file lacks nothing, it has other shapes


def test_frozen_parameters_stay_while_the_others_are_trained(weights: Path) -> None:
    stored, new = load_state(weights), network(3)
    initialised(new, str(weights), CPU, frozen_prefix="0.")
    optimiser = torch.optim.Adam(new.parameters(), lr=0.1, weight_decay=0.1)
    new(torch.randn(2, 1, 5, 5, 5)).square().sum().backward()
    optimiser.step()
    for name, value in new.state_dict().items():
        assert torch.equal(value, stored[name]) == name.startswith("0."), name


def test_freezing_what_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*begins with encoder\. \(parts: 0, "):
        initialised(network(3), None, CPU, frozen_prefix="encoder.")


def test_weights_that_expand_in_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    with pytest.raises(InputError, match=r"E-WEIGHTS.*exhaust memory"):
        load_state(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/0", bytes(1 << 24))
    with pytest.raises(InputError, match=r"E-WEIGHTS.*exhaust memory"):
        load_state(path)
    torch.save({"a": torch.ones(1000, dtype=torch.float16)}, path)
    assert load_state(path)["a"].sum() == 1000
