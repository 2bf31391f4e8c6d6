# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.papers.yao2018.classifier_training import CandidatePatches, candidates_of_nodule, prepare_candidates
from lungcad.training.cases import Case, Sphere

SIZE = (12, 12, 12)
NODULE = Sphere(np.array([20.0, 22.0, 18.0]), 8.0)


@pytest.fixture
def case() -> Case:
    hu = np.full((48, 48, 40), -1000, np.int16)
    hu[16:25, 18:27, 14:23] = 400
    hu[34:38, 34:38, 26:30] = -300
    hu[6:9, 36:39, 8:11] = 50
    return Case("c", hu, np.ones(hu.shape, bool), (1.0, 1.0, 1.0), [NODULE],
                controls=[Sphere(np.array([7.0, 37.0, 9.0]), 5.0, "control")])  # fmt: skip


def candidates(folder: Path, *found: tuple[tuple[float, float, float], float | None]) -> str:
    path = folder / "candidates.json"
    path.write_text(json.dumps({"c": [Finding(place, diameter, 0.9).as_dict() for place, diameter in found]}))
    return str(path)


HIT, FALSE, NEAR = ((21.0, 23.0, 18.0), 6.0), ((35.5, 35.5, 27.5), 4.0), ((27.0, 22.0, 18.0), 5.0)


def patches(case: Case, path: str, **options: float) -> CandidatePatches:
    still = {"jitter": 0.0, "diameter_jitter": 0.0, "warp_share": 0.0}
    return CandidatePatches([case], path, SIZE, (-1000.0, 400.0), 200, **(still | options))


def every(data: CandidatePatches) -> list[dict[str, torch.Tensor]]:
    return [data[n] for n in range(len(data))]


def test_nodules_come_with_their_own_and_with_estimated_diameters_negatives_with_estimated_ones(
    case: Case, tmp_path: Path
) -> None:
    data = patches(case, candidates(tmp_path, HIT, FALSE, NEAR), control_share=0.25)
    drawn = [(int(item["label"]), round(float(item["diameter"]), 3)) for item in every(data)]
    assert set(drawn) == {(1, 8.0), (1, 6.0), (0, 4.0), (0, 5.0)}
    assert 75 <= sum(label for label, _ in drawn) <= 125
    brightness = {key: [] for key in set(drawn)}
    for item, key in zip(every(data), drawn, strict=True):
        brightness[key].append(float(item["image"][:, 5:7, 5:7, 5:7].mean()))
    assert min(brightness[(1, 8.0)]) == 1
    assert max(brightness[(0, 4.0)]) == pytest.approx(0.5)  # -300 HU
    assert max(brightness[(0, 5.0)]) == pytest.approx(0.75)  # the control


def test_what_is_near_a_nodule_without_hitting_it_is_neither(case: Case) -> None:
    near, hit = Sphere(np.array([27.0, 22, 18]), 5.0), Sphere(np.array([23.9, 22, 18]), 5.0)
    assert candidates_of_nodule(case, NODULE, [near, hit]) == [hit]
    assert candidates_of_nodule(case, NODULE, []) == []


def test_jitter_moves_place_and_diameter(case: Case, tmp_path: Path) -> None:
    path = candidates(tmp_path, FALSE)
    data = patches(case, path, diameter_jitter=0.15, positive_share=1.0)
    diameters = torch.stack([item["diameter"] for item in every(data)])
    assert 6.8 <= diameters.min() < 7.1
    assert 8.9 < diameters.max() <= 9.2
    scaled = patches(case, path, warp_share=1.0, positive_share=1.0)
    diameters = torch.stack([item["diameter"] for item in every(scaled)])
    assert 8 / 1.1 - 0.01 <= diameters.min() < 7.5  # a larger patch shows a smaller nodule
    assert 8.6 < diameters.max() <= 8 / 0.9 + 0.01


def test_patches_of_another_scanner_have_values_of_their_own(case: Case, tmp_path: Path) -> None:
    path = candidates(tmp_path, HIT, FALSE)
    plain, changed = (patches(case, path, scanner_share=share)[0]["image"] for share in (0.0, 1.0))
    assert len(plain.unique()) < 5
    assert len(changed.unique()) > 100  # noise


def test_samples_repeat_with_seed_epoch_and_index(case: Case, tmp_path: Path) -> None:
    path = candidates(tmp_path, HIT, FALSE)
    one, other = (patches(case, path, warp_share=0.5, jitter=0.3) for _ in range(2))
    assert all(torch.equal(one[n]["image"], other[n]["image"]) for n in range(10))
    other.set_epoch(1)
    assert not all(torch.equal(one[n]["image"], other[n]["image"]) for n in range(10))


def test_the_network_gets_the_diameters_beside_the_image(case: Case, tmp_path: Path) -> None:
    data = patches(case, candidates(tmp_path, FALSE))
    batch = torch.utils.data.default_collate([data[n] for n in range(3)])
    image, label, args, kwargs = prepare_candidates(batch, torch.device("cpu"), non_blocking=False)
    assert image.shape == (3, 1, *SIZE)
    assert label.shape == args[0].shape == (3,)
    assert kwargs == {}


def test_without_false_candidates_there_is_nothing_to_learn(case: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 nodules and 0 false candidates"):
        patches(case, candidates(tmp_path, HIT, ((35.5, 35.5, 27.5), None)))
