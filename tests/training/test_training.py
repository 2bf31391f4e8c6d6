# SPDX-License-Identifier: Apache-2.0
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from small_cases import dark_case
from torch import nn

from lungcad.errors import InputError
from lungcad.papers.dou2017.inference import decode_targets
from lungcad.papers.dou2017.loss import OnlineSampleFilteringLoss
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.dou2017.training import NodulePatches
from lungcad.papers.threedag.training import hard_regions
from lungcad.papers.yao2018.classifier_training import CandidatePatches
from lungcad.papers.yao2018.training import read_blocks
from lungcad.scan.blanking import BLANK_HU
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.training.cases import Case, Sphere, load_case, load_cases, save_case
from lungcad.training.evaluation import CaseDataset, negatives_of, read_candidates
from lungcad.training.parallel import batch_share
from lungcad.training.sampling import CLEARANCE_MM, RandomSamples, clear_of_lesions, within_radius
from lungcad.training.trainer import make_trainer, moving_average

WINDOW = (-1000.0, 400.0)


@pytest.mark.parametrize("center", [(10.0, 10.0, 10.0), (10.4, 9.6, 3.2), (-2.0, 30.0, 0.5)])
def test_cut_is_what_numpy_would_cut_and_tells_its_true_centre(center: tuple[float, float, float]) -> None:
    volume = np.random.default_rng(0).normal(size=(20, 21, 22))
    patch, true = cut_patch(volume, np.array(center), (6, 5, 4), -7.0), patch_center(np.array(center), (6, 5, 4))
    assert np.abs(true - center).max() <= 0.5
    for index in np.ndindex(patch.shape):
        voxel = (np.array(index) + true - (np.array(patch.shape) - 1) / 2).astype(int)
        inside = (voxel >= 0).all() and (voxel < volume.shape).all()
        assert patch[index] == (volume[tuple(voxel)] if inside else -7.0)


def test_case_store_gives_back_what_it_got(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    case = Case("a", rng.integers(-1000, 400, (7, 6, 5)).astype(np.int16), rng.random((7, 6, 5)) > 0.5, (1.0, 1.0, 2.0),
                nodules=[Sphere(np.array([1.5, 2.0, 3.25]), 6.5, "n1"), Sphere(np.array([4.0, 4, 4]), 3.0, "n2")],
                controls=[Sphere(np.array([0.0, 0, 0]), 9.0, "control")])  # fmt: skip
    save_case(tmp_path, case)
    save_case(tmp_path, dark_case("b"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
    again, other = load_cases(tmp_path)
    assert (again.name, other.name) == ("a", "b")
    np.testing.assert_array_equal(again.hu, case.hu)
    np.testing.assert_array_equal(again.lungs, case.lungs)
    assert again.spacing_mm == case.spacing_mm
    for kind in ("nodules", "ignored", "controls"):
        pairs = list(zip(getattr(again, kind), getattr(case, kind), strict=True))
        assert all((a.index == b.index).all() and (a.diameter_mm, a.name) == (b.diameter_mm, b.name) for a, b in pairs)
    assert load_case(tmp_path / "b.npz").nodules == []
    with pytest.raises(InputError, match="no case in"):
        load_cases(tmp_path / "nothing")
    assert len(load_cases(tmp_path, case.spacing_mm)) == 2
    with pytest.raises(InputError, match=r"case a has voxels of .* \(expected 1 x 1 x 1\)"):
        load_cases(tmp_path, (1.0, 1.0, 1.0))


def test_case_store_keeps_masks_and_ratings_and_reads_files_without_them(tmp_path: Path) -> None:
    case = dark_case("a", [Sphere(np.array([30.0, 30, 20]), 6.0, "n1", (3.0, 4.0)), Sphere(np.array([9.0, 9, 9]), 6.0)])
    case.masks = np.zeros(case.hu.shape, np.uint8)
    case.masks[29:32, 30, 20], case.masks[9, 9, 8:11] = 1, 2
    again = load_case(save_case(tmp_path, case))
    np.testing.assert_array_equal(again.masks, case.masks)
    assert [nodule.malignancy for nodule in again.nodules] == [(3.0, 4.0), ()]
    with np.load(tmp_path / "a.npz") as store:
        before = {name: store[name] for name in store if not name.startswith(("mask_", "nodules_malignancy"))}
    np.savez(tmp_path / "old.npz", **before)
    old = load_case(tmp_path / "old.npz")
    assert old.masks is None
    assert [(nodule.name, nodule.malignancy) for nodule in old.nodules] == [("n1", ()), ("", ())]


def patches(case: Case, size: tuple[int, int, int] = (20, 20, 10), **options: Any) -> NodulePatches:
    return NodulePatches([case], size, WINDOW, 60, gate_hu=-1000.0, **options)


NODULE = Sphere(np.array([40.0, 37.0, 20.0]), 9.0)


def test_patches_are_a_function_of_seed_epoch_and_index() -> None:
    first, again, other = patches(dark_case(nodules=[NODULE])), patches(dark_case(nodules=[NODULE])), patches(
        dark_case(nodules=[NODULE]), seed=1)  # fmt: skip
    for data in (first, again, other):
        data.set_epoch(3)
    [again[n] for n in range(7)]  # what was asked before does not matter
    same = [torch.equal(first[n]["image"], again[n]["image"]) for n in range(20)]
    assert all(same)
    assert not all(torch.equal(first[n]["image"], other[n]["image"]) for n in range(20))
    labels = [int(first[n]["label"]) for n in range(60)]
    first.set_epoch(4)
    assert labels != [int(first[n]["label"]) for n in range(60)]
    assert 8 < sum(labels) < 32  # a third of 60
    assert first[0]["image"].shape == (1, 20, 20, 10)
    assert first[0]["image"].min() >= 0


def test_targets_decode_to_the_nodule_and_positives_lie_within_its_radius() -> None:
    spacing, size = np.array([1.0, 1.0, 2.0]), (20, 20, 10)
    data = patches(dark_case(nodules=[NODULE]), size, localise=True, positive_share=1.0)
    distances = []
    for item in (data[n] for n in range(60)):
        bright = (item["image"][0] == 1).nonzero().numpy()
        assert item["label"][0] == 1
        assert len(bright) == 1
        proposal = (np.array(size) - 1) / 2 * spacing
        center, diameter = decode_targets(item["label"][1:].numpy().astype(float), proposal, spacing * size)
        np.testing.assert_allclose(center, bright[0] * spacing, atol=1e-4)
        assert diameter == pytest.approx(9.0, rel=1e-5)
        distances.append(np.linalg.norm(center - proposal))
    half_voxel = np.linalg.norm(spacing / 2)
    assert max(distances) <= 4.5 + half_voxel
    assert max(distances) > 3.0  # they do wander


def test_patches_of_another_scanner_have_values_of_their_own() -> None:
    plain, changed = (patches(dark_case(nodules=[NODULE]), scanner_share=share)[0]["image"] for share in (0.0, 1.0))
    assert len(plain.unique()) < 5
    assert len(changed.unique()) > 100  # noise


def test_warped_patches_keep_track_of_place_and_size() -> None:
    spacing, size = np.array([1.0, 1.0, 2.0]), (40, 40, 20)
    case = dark_case(nodules=[Sphere(np.array([40.0, 37.0, 20.0]), 12.0)])
    distance = np.linalg.norm((np.indices(case.hu.shape).T - [40, 37, 20]) * spacing, axis=-1).T
    case.hu[:] = np.where(distance < 6, 400, -1000)
    data = patches(case, size, localise=True, positive_share=1.0, jitter=0.3, warp_share=1.0)
    grid = np.indices(size).reshape(3, -1).T * spacing
    diameters = []
    for item in (data[n] for n in range(20)):
        weight = item["image"].numpy().ravel()
        target = item["label"][1:].numpy().astype(float)
        center, diameter = decode_targets(target, (np.array(size) - 1) / 2 * spacing, spacing * size)
        np.testing.assert_allclose(weight @ grid / weight.sum(), center, atol=0.3)
        assert (6 * weight.sum() * spacing.prod() / np.pi) ** (1 / 3) == pytest.approx(diameter, rel=0.05)
        diameters.append(float(diameter))
    assert min(diameters) < 11.5 < 12.5 < max(diameters)  # scaled by 0.9 to 1.1
    upright = patches(case, size, localise=True, positive_share=1.0)
    assert not all(torch.equal(upright[n]["image"], data[n]["image"]) for n in range(20))


def test_random_places_fill_the_ball_of_the_nodule() -> None:
    rng = np.random.default_rng(0)
    spacing = np.array([1.0, 1.0, 2.0])
    places = np.array([within_radius(NODULE, spacing, rng) for _ in range(500)])
    distance = np.linalg.norm((places - NODULE.index) * spacing, axis=1)
    assert distance.max() <= 4.5
    assert (distance < 4.5 / 2).mean() == pytest.approx(1 / 8, abs=0.05)  # half the radius: an eighth of the volume


def test_negatives_are_clear_of_nodules_and_ignored_lesions() -> None:
    case = dark_case(nodules=[NODULE, Sphere(np.array([20.0, 20.0, 12.0]), 14.0)])
    case.ignored.append(case.nodules.pop())  # its bright voxel stays
    data = patches(case, positive_share=0.0)
    middle = (np.array([20, 20, 10]) - 1) / 2
    for item in (data[n] for n in range(60)):
        assert item["label"] == 0
        for bright in (item["image"][0] == 1).nonzero().numpy():
            # random negatives are shifted by up to a voxel and cut on whole voxels: at most 2.4 + 1.2 mm
            assert np.linalg.norm((bright - middle) * (1, 1, 2)) > 4.5 + CLEARANCE_MM - 3.7
    places = np.array([[40.0, 37, 20], [40, 37 + 10.4, 20], [40, 37 + 10.6, 20], [20, 20, 12], [20, 33.1, 12]])
    assert clear_of_lesions(case, places).tolist() == [False, False, True, False, True]


def test_negatives_come_from_false_candidates_where_there_are_some() -> None:
    case = dark_case(nodules=[NODULE])
    case.hu[60, 60, 30] = 400
    data = patches(case, positive_share=0.0, negatives=[np.array([[60.0, 60.0, 30.0]])])
    assert all((data[n]["image"] == 1).sum() == 1 for n in range(20))
    mixed = patches(case, positive_share=0.0, negatives=[np.array([[60.0, 60.0, 30.0]])], random_share=0.5)
    share = np.mean([bool((mixed[n]["image"] == 1).any()) for n in range(60)])
    assert 0.3 < share < 0.9


def test_patches_reach_beyond_the_volume_as_blank() -> None:
    data = patches(dark_case(nodules=[Sphere(np.array([0.0, 0.0, 0.0]), 4.0)]), positive_share=1.0)
    blank = (BLANK_HU - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
    assert (data[0]["image"] == blank).float().mean() > 0.5


class Rows(torch.utils.data.Dataset):
    """Random patches that depend on the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 12

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(100 * self.epoch + item)
        image = torch.rand(1, 30, 30, 10, generator=generator)
        return {"image": image + item % 2, "label": torch.tensor(item % 2)}


class Killed(Exception):
    pass


def train(
    folder: Path, epochs: int, network: nn.Module, killed_after: int | None = None, spoilt_in: int | None = None,
    **options: Any,
) -> None:  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    trainer = make_trainer(
        device=torch.device("cpu"), network=network, loss=OnlineSampleFilteringLoss(), optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        dataloader=torch.utils.data.DataLoader(Rows(), batch_size=4), epochs=epochs, run_dir=str(folder),
        **options,
    )  # fmt: skip

    @trainer.on(Events.EPOCH_STARTED)
    def die(engine: Engine) -> None:
        if killed_after is not None and engine.state.epoch > killed_after:
            raise Killed
        if engine.state.epoch == spoilt_in:
            torch.nn.init.constant_(network.c4.weight, torch.nan)

    trainer.run()


def fresh_network(seed: int) -> CandidateFCN:
    torch.manual_seed(seed)
    return CandidateFCN((2, 2, 2), 3, init_std=0.1)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = fresh_network(seed=1)
    train(tmp_path / "whole", 3, whole)
    with pytest.raises(Killed):
        train(tmp_path / "half", 3, fresh_network(seed=1), killed_after=1)
    assert not (tmp_path / "half" / "model.pt").exists()
    with pytest.raises(InputError, match="begun for 3 epochs, not 9"):
        train(tmp_path / "half", 9, fresh_network(seed=1))
    resumed = fresh_network(seed=99)  # another process has another random state, and other weights until it resumes
    train(tmp_path / "half", 3, resumed)
    assert not torch.equal(fresh_network(seed=1).c4.weight, whole.c4.weight)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    shipped = torch.load(tmp_path / "half" / "model.pt", weights_only=True)
    assert {value.dtype for value in shipped.values() if value.ndim > 1} == {torch.float16}
    assert not list(tmp_path.glob("*/*.part"))


def test_weights_that_are_not_finite_end_a_training_and_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E-TRAIN.*weights not finite after epoch 2"):
        train(tmp_path, 3, fresh_network(seed=1), spoilt_in=2)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 1
    assert all(value.isfinite().all() for value in kept["network"].values())
    assert not (tmp_path / "model.pt").exists()


def test_a_training_is_not_taken_for_one_with_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_with(**values: Any) -> None:
        config = {"run": ["$@train#trainer.run()"], "train": {"loss": {"_target_": "Loss", "gamma": "@gamma"}}} | values
        config["train"] |= {"seen": [f"@{name}" for name in values]}
        monkeypatch.setattr("lungcad.training.trainer.config_in_use", lambda: config)
        train(tmp_path, 1, fresh_network(seed=1))

    train_with(seed=1, objective="dice", gamma=2.0, run_dir="a", num_workers=0)
    train_with(seed=1, objective="dice", gamma=2.0, run_dir="b", num_workers=4)  # the same: done before
    train_with(seed=1, objective="dice", gamma=2.0, learning_rate=0.1)  # which the checkpoint does not know
    with pytest.raises(InputError, match=r"E-CONFIG.*other settings: gamma, objective\."):
        train_with(seed=1, objective="focal", gamma=3.0)
    train_with(gamma=2.0)  # a version without the others


def test_exported_weights_are_the_average_of_the_steps(tmp_path: Path) -> None:
    train(tmp_path / "last", 2, last := fresh_network(seed=1), averaging=0.0)
    train(tmp_path / "mean", 2, mean := fresh_network(seed=1))
    torch.testing.assert_close(last.state_dict(), mean.state_dict())  # averaging changes nothing in the training
    files = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("last", "mean")]
    torch.testing.assert_close(files[0]["c4.weight"].float(), last.c4.weight.detach(), rtol=1e-3, atol=1e-6)
    assert not torch.equal(files[0]["c4.weight"], files[1]["c4.weight"])


def test_the_moving_average_by_hand() -> None:
    average = moving_average(0.9)
    assert average(torch.tensor(1.0), torch.tensor(2.0), 1000).item() == pytest.approx(1.1)
    assert average(torch.tensor(1.0), torch.tensor(2.0), 1).item() == pytest.approx(2 - 2 / 11)  # 2 / 11 is kept


def test_the_weights_of_the_lowest_validation_loss_are_exported(tmp_path: Path) -> None:
    rows = torch.utils.data.DataLoader(Rows(), batch_size=4)
    train(tmp_path / "whole", 3, fresh_network(seed=1), validation=rows)
    with pytest.raises(Killed):
        train(tmp_path / "cut", 3, fresh_network(seed=1), killed_after=1, validation=rows)
    train(tmp_path / "cut", 3, fresh_network(seed=5), validation=rows)
    whole, cut = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut"))
    losses = whole["validation"]["losses"]
    assert losses == cut["validation"]["losses"]
    assert whole["validation"]["best"] == min(losses)
    assert len((tmp_path / "whole" / "validation.csv").read_text().splitlines()) == 4
    exported = torch.load(tmp_path / "whole" / "model.pt", weights_only=True)
    best = whole["validation"]["weights"]["c4.weight"]
    torch.testing.assert_close(exported["c4.weight"].float(), best, rtol=1e-3, atol=1e-6)


def test_validation_leaves_the_training_as_it_was(tmp_path: Path) -> None:
    rows = torch.utils.data.DataLoader(Rows(), batch_size=4)
    train(tmp_path / "with", 2, watched := fresh_network(seed=1), validation=rows)
    train(tmp_path / "without", 2, alone := fresh_network(seed=1))
    torch.testing.assert_close(watched.state_dict(), alone.state_dict(), rtol=0, atol=0)


def memory_of_its_own() -> int:
    """Bytes of this process that no file backs."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_cases_stay_in_their_files(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (160, 160, 160), dtype=np.int16)
    nodule = Sphere(np.array([80.0, 80.0, 80.0]), 9.0)
    masks = np.zeros(hu.shape, np.uint8)
    masks[78:83, 78:83, 78:83] = 1
    for number in range(8):
        save_case(tmp_path, Case(f"{number}", hu + np.int16(number), hu > -300, (1.0, 1.0, 1.0), [nodule], masks=masks))
    before = memory_of_its_own()
    cases = load_cases(tmp_path)
    places = [np.full((3, 3), 40.0)] * len(cases)
    samples = NodulePatches(cases, (20, 20, 10), WINDOW, 40, negatives=places, warp_share=0.5)
    for item in range(40):
        assert samples[item]["image"].shape == (1, 20, 20, 10)
    assert memory_of_its_own() - before < 0.3 * sum(path.stat().st_size for path in tmp_path.iterdir())
    for number, case in enumerate(cases):
        np.testing.assert_array_equal(case.hu, hu + np.int16(number))
        np.testing.assert_array_equal(case.lungs, hu > -300)
        np.testing.assert_array_equal(case.masks, masks)
    assert not any(name.endswith(".npz") for name in map(os.path.realpath, Path("/proc/self/fd").iterdir()))


def test_a_case_crosses_to_a_worker_and_its_arrays_can_be_changed_here_only(tmp_path: Path) -> None:
    save_case(tmp_path, dark_case("a", [NODULE]))
    (case,) = load_cases(tmp_path)
    again = pickle.loads(pickle.dumps(case))
    assert len(pickle.dumps(case)) < 10_000  # the arrays stay in the file
    np.testing.assert_array_equal(again.hu, case.hu)
    hu = again.hu
    hu[:] = 7
    assert not (case.hu == 7).any()
    other = replace(case, name="b", hu=hu)
    assert other.name == "b" and (other.hu == 7).all() and (other.lungs == case.lungs).all()


def test_a_case_that_is_replaced_in_use_is_refused(tmp_path: Path) -> None:
    save_case(tmp_path, dark_case("a"))
    (case,) = load_cases(tmp_path)
    save_case(tmp_path, dark_case("a", [NODULE]))
    with pytest.raises(InputError, match=r"E-CONFIG.*case a was changed"):
        _ = case.hu


def test_a_batch_is_divided_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batch_share(12) == 12
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    assert batch_share(12) == 3
    with pytest.raises(InputError, match="batch_size 6 for 4 processes"):
        batch_share(6)


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_cut_the_samples_of_the_epoch(workers: int, tmp_path: Path) -> None:
    class Epochs(RandomSamples):
        def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
            return {"image": torch.tensor([float(self.epoch)]), "label": torch.tensor([1.0])}

    seen: list[float] = []

    class Record(torch.nn.Module):
        def forward(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return ((output - label) ** 2).mean()

    network = torch.nn.Linear(1, 1)
    network.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0][:, 0].tolist()))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    make_trainer(
        device=torch.device("cpu"), network=network, loss=Record(), optimizer=optimizer, epochs=2,
        run_dir=str(tmp_path), schedule=torch.optim.lr_scheduler.StepLR(optimizer, 1),
        dataloader=torch.utils.data.DataLoader(Epochs(4, 0), batch_size=2, num_workers=workers),
    ).run()  # fmt: skip
    assert seen == [1.0] * 4 + [2.0] * 4


def test_cases_are_divided_by_lung(tmp_path: Path) -> None:
    names = ["B-1-000", "A-1-001", "LIDC-IDRI-0001-4-004", "B-1-002", "1.2.3-1", "1.2.3"]
    for name in names:
        save_case(tmp_path, dark_case(name))
    part, rest = (load_cases(tmp_path, part=text) for text in ("1 of 2", "all but 1 of 2"))  # lungs: 1.2.3 A B LIDC
    assert {case.name for case in part} == {"1.2.3", "1.2.3-1", "B-1-000", "B-1-002"}
    assert {case.name for case in rest} == {"A-1-001", "LIDC-IDRI-0001-4-004"}
    with pytest.raises(InputError, match=r"case 1\.2\.3 is among the training's cases"):
        load_cases(tmp_path, apart_from=part)
    for wrong in ("half", "3 of 2", "0 of 2", "9 of 9"):
        with pytest.raises(InputError, match="E-CONFIG"):
            load_cases(tmp_path, part=wrong)


def test_candidates_of_several_files_are_joined(tmp_path: Path) -> None:
    finding = {"center_lps_mm": [1.0, 2.0, 3.0], "diameter_mm": 5.0, "detection_score": 0.5}
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({name: [finding]}))
    paths = [str(tmp_path / f"{name}.json") for name in ("a", "b")]
    assert list(read_candidates(paths)) == ["a", "b"] and list(read_candidates(paths[0])) == ["a"]
    with pytest.raises(InputError, match="case a is in two files"):
        read_candidates([paths[0], paths[0]])


def test_candidates_of_other_cases_are_refused_wherever_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "candidates.json"
    path.write_text(json.dumps({"a": []}))
    a, b = dark_case("a", [NODULE]), dark_case("b", [NODULE])
    assert [len(places) for places in negatives_of([a], str(path)) or []] == [0]  # searched in vain
    assert negatives_of([a, b], None) is None
    assert [len(places) for places in negatives_of([a, b], str(path)) or []] == [0, 0]  # a part is enough to train on
    uses: list[Callable[[str], Any]] = [
        lambda file: negatives_of([b], file),
        lambda file: CaseDataset([a, b], candidates=file),
        lambda file: CandidatePatches([b], file, (20, 20, 20), WINDOW, 4),
        lambda file: hard_regions([b], file),
        lambda file: read_blocks(file, [b], (8, 8, 8), 8),
    ]
    for use in uses:
        with pytest.raises(InputError, match="E-CANDIDATES"):
            use(str(path))
    for content in ("", "[]", '{"a": [{"diameter_mm": 3}]}', '{"blocks": {"a": []}}', "seriesuid,coordX\n"):
        path.write_text(content)
        for use in uses:
            with pytest.raises(InputError, match="E-CANDIDATES"):
                use(str(path))
    path.unlink()
    for use in uses:
        with pytest.raises(InputError, match="E-CANDIDATES"):
            use(str(path))


def test_damaged_and_doubled_cases_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save_case(tmp_path / folder, dark_case("a"))
    with pytest.raises(InputError, match="case a is in two of the folders"):
        load_cases([tmp_path / "one", tmp_path / "two"])
    file = tmp_path / "one" / "a.npz"
    for damaged in (file.read_bytes()[:1000], b""):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"E-CONFIG.*case a cannot be read"):
            load_cases(tmp_path / "one")
    np.savez(file, other=np.zeros(3))
    with pytest.raises(InputError, match=r"E-CONFIG.*case a cannot be read: KeyError"):
        load_cases(tmp_path / "one")
