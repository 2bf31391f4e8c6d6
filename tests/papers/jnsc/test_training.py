# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.papers.jnsc.loss import JNSCLoss, PseudoLabels
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.regions import find_regions
from lungcad.papers.jnsc.training import FALSE_POSITIVE, JNSCTraining, clip_gradients, matching_nodule

SIDE = 32


def network() -> JNSCNet:
    return JNSCNet((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), features=3)


def training(**options: Any) -> JNSCTraining:
    return JNSCTraining(network(), precision="float32", **options)


def label(*parts: tuple[slice, ...]) -> np.ndarray:
    """Nodules 1, 2 ... in boxes."""
    made = np.zeros((SIDE,) * 3, np.int64)
    for number, here in enumerate(parts, start=1):
        made[here] = number
    return made


NODULE, OTHER, ELSEWHERE = np.s_[4:10, 4:10, 4:10], np.s_[20:24, 20:24, 20:24], np.s_[4:9, 20:25, 4:9]


def test_a_region_is_the_nodule_that_it_lies_in_and_uncertain_where_it_hardly_does() -> None:
    truth = label(NODULE, OTHER)
    truth[np.s_[4:9, 20:25, 4:9]] = -1

    def region(here: tuple[slice, ...]) -> Any:
        return find_regions((label(here) > 0).astype(float), 0.5)[0]

    assert matching_nodule(region(np.s_[5:12, 5:12, 5:12]), truth, 0.1) == 0  # 125 of 343 voxels
    assert matching_nodule(region(OTHER), truth, 0.1) == 1
    assert matching_nodule(region(np.s_[9:15, 9:15, 9:15]), truth, 0.1) is None  # 1 of 216
    assert matching_nodule(region(ELSEWHERE), truth, 0.1) is None
    assert matching_nodule(region(np.s_[26:30, 4:8, 26:30]), truth, 0.1) == FALSE_POSITIVE


@pytest.mark.parametrize(
    ("source", "expected"),
    [("predicted", [0, FALSE_POSITIVE]), ("truth", [0, 1]), ("both", [0, 1, FALSE_POSITIVE])],
)
def test_regions_come_from_where_they_are_asked_for(source: str, expected: list[int]) -> None:
    probability = np.where(label(np.s_[5:9, 4:10, 4:10], ELSEWHERE) > 0, 0.9, 0.1)
    chosen = training(regions=source).choose_regions(probability, label(NODULE, OTHER))
    assert [nodule for _, nodule in chosen] == expected
    assert chosen[0][0].voxels == (216 if source == "truth" else 144)


def test_false_positives_are_some_of_those_that_use_asks_about_and_whole_ones_first() -> None:
    probability = np.zeros((SIDE,) * 3)
    for first in range(1, 31, 5):
        probability[first : first + 3, 2:5, 2:5] = 0.9  # six of 27 voxels, as a sphere 3.7 wide
    probability[0:3, 20:23, 20:23] = 0.9  # cut by a face
    probability[20:22, 20:22, 20:22] = 0.9  # too small

    def drawn(most: int) -> list[list[int]]:
        chosen = training(max_false_positives=most, least_diameter=3.0).choose_regions(probability, label())
        assert all(nodule == FALSE_POSITIVE for _, nodule in chosen)
        return [region.first.tolist() for region, _ in chosen]

    assert len(drawn(20)) == 7
    assert drawn(7)[-1] == [0, 20, 20]
    assert {tuple(first) for _ in range(40) for first in drawn(2)} == {(n, 2, 2) for n in range(1, 31, 5)}


def test_training_takes_cores_apart_as_use_does() -> None:
    probability = np.where(label(np.s_[2:20, 2:12, 2:12]) > 0, 0.5, 0.0)
    probability[NODULE], probability[14:19, 4:9, 4:9] = 0.95, 0.95
    cores = training(core_threshold=0.9, overlap=0.2).choose_regions(probability, label(NODULE))
    sorted_out = [nodule for _, nodule in cores]
    assert sorted_out == [0, FALSE_POSITIVE]
    whole = training(overlap=0.2, regions="predicted").choose_regions(probability, label(NODULE))
    assert whole == []  # 216 of 1800 voxels are neither the nodule nor nothing of it


def test_a_batch_without_regions_trains_on() -> None:
    network = training(training="classification")
    output = network(torch.zeros(1, 1, SIDE, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE, SIDE, dtype=torch.long))
    loss = JNSCLoss(PseudoLabels(torch.zeros(1), torch.zeros(1, dtype=torch.bool)), "classification")
    value = loss(output, torch.zeros(1, 1, SIDE, SIDE, SIDE))
    value.backward()
    assert value == 0


class Drawn(nn.Module):
    """Stands in for the decoder: bright voxels are nodule."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0.5, 5.0, -5.0)


def test_images_boxes_and_nodules_of_a_batch_belong_together() -> None:
    wrapped = training()
    truth = torch.from_numpy(np.stack([label(), label(NODULE, OTHER)]))[:, None]
    image = (truth > 0).float()
    image[0, 0][ELSEWHERE] = 1
    where, regions, sample = wrapped.regions(Drawn()(image), truth)
    assert where.tolist() == [0, 1, 1]
    assert sample.tolist() == [FALSE_POSITIVE, 0, 1]
    assert [region.box.tolist() for region in regions] == [
        [4, 20, 4, 9, 25, 9],
        [4] * 3 + [10] * 3,
        [20] * 3 + [24] * 3,
    ]


@pytest.mark.parametrize("stage", ["segmentation", "joint", "classification"])
def test_each_stage_trains_its_part(stage: str) -> None:
    wrapped = training(training=stage)
    truth = torch.from_numpy(np.stack([label(), label(NODULE)]))[:, None]
    output = wrapped(torch.rand(2, 1, SIDE, SIDE, SIDE), truth)
    assert ("segmentation" in output, "classes" in output) == (stage != "classification", stage != "segmentation")
    loss = JNSCLoss(PseudoLabels(torch.tensor([0.75]), torch.tensor([True])), stage)
    loss(output, truth).backward()
    decoder, classifier = wrapped.module.decode, wrapped.module.classifier
    assert (decoder[0].layers[0][0].weight.grad is None) == (stage == "classification")
    assert (classifier.linear.weight.grad is None) == (stage == "segmentation")
    assert wrapped.module.encode[4][1].layers[0][0].weight.grad is not None


def test_refuses_what_it_does_not_know() -> None:
    for options in ({"training": "both"}, {"regions": "all"}):
        with pytest.raises(InputError, match="E-CONFIG"):
            training(**options)


def test_clipping_shortens_long_gradients_and_leaves_short_ones() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = clip_gradients(torch.optim.SGD([weight], lr=1.0), 1.0)
    for gradient, step in (([30.0, 40.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        before = weight.detach().clone()
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        torch.testing.assert_close(before - weight.detach(), torch.tensor(step), rtol=1e-4, atol=1e-5)


class Blocks(torch.utils.data.Dataset):
    def __init__(self, *nodules: tuple[slice, slice, slice]) -> None:
        self.nodules = nodules

    def __len__(self) -> int:
        return 2

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        truth = torch.from_numpy(label(*self.nodules))[None]
        return {"image": (truth > 0).float(), "label": truth}


def run(
    folder: Path, epochs: int, stop: int | None = None, blocks: Blocks | None = None, batch: int = 2, **options: Any
) -> PseudoLabels:
    from ignite.engine import Events

    from lungcad.papers.jnsc.blocks import prepare_blocks
    from lungcad.training.trainer import make_trainer

    torch.manual_seed(0)
    wrapped = training(**options)
    labels = PseudoLabels(torch.tensor([0.25]), torch.tensor([True]), rate=0.05)
    optimizer = torch.optim.Adam(wrapped.parameters())
    trainer = make_trainer(
        device=torch.device("cpu"), network=wrapped, loss=JNSCLoss(labels), optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.2), run_dir=str(folder), epochs=epochs,
        dataloader=torch.utils.data.DataLoader(blocks or Blocks(NODULE), batch_size=batch),
        prepare_batch=prepare_blocks,
    )  # fmt: skip
    if stop:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=stop), lambda engine: engine.terminate())
    trainer.run()
    return labels


def test_pseudo_labels_move_once_an_epoch_and_a_resumed_training_has_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 3)
    assert whole.label[0] != 0.25
    assert whole.count[0] == 2  # once in each image of the last epoch; for the next one
    run(tmp_path / "cut", 3, stop=2)
    again = run(tmp_path / "cut", 3)
    assert again.label[0].item() == pytest.approx(whole.label[0].item(), abs=1e-6)
    weights = torch.load(tmp_path / "cut" / "model.pt", weights_only=True)
    network().load_state_dict(weights)  # names are the network's own


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_in_which_no_region_is_found_trains_on(tmp_path: Path, batch: int) -> None:
    run(tmp_path, 1, blocks=Blocks(), batch=batch, regions="truth")  # a scan without nodules has no true region
    assert (tmp_path / "model.pt").exists()
