# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from small_cases import dark_case

from lungcad.geometry import scaled_affine
from lungcad.papers.peaks import IndexMap
from lungcad.papers.yao2018.training import IGNORED, HardBlockMiner, NoduleBlocks, nodule_free_blocks, read_blocks
from lungcad.training.cases import Case, Sphere
from lungcad.training.sampling import cells_within

SIZE = (16, 16, 16)
WINDOW = (-1000.0, 400.0)


def ball_case(*nodules: Sphere, ignored: tuple[Sphere, ...] = ()) -> Case:
    """Dark lungs at 1 mm with bright balls."""
    case = Case("balls", np.full((64, 60, 56), -1000, np.int16), np.ones((64, 60, 56), bool), (1.0, 1.0, 1.0),
                list(nodules), list(ignored))  # fmt: skip
    for sphere in (*nodules, *ignored):
        place = np.moveaxis(np.indices(case.hu.shape), 0, -1)
        case.hu[np.linalg.norm(place - sphere.index, axis=-1) <= sphere.diameter_mm / 2] = 400
    return case


def every(data: NoduleBlocks) -> list[dict[str, torch.Tensor]]:
    return [data[n] for n in range(len(data))]


NODULE = Sphere(np.array([30.0, 28.0, 26.0]), 9.0)


def test_cells_within_a_sphere_by_hand() -> None:
    # cells are centred on 0.5, 2.5, 4.5 ...; around 4.5 with a radius of 2 those at 2.5, 4.5 and 6.5 along an axis
    cells = cells_within((12, 12, 12), np.array([[4.5, 4.5, 4.5]]), np.array([4.0]), (1.0, 1.0, 1.0))
    assert sorted(map(tuple, np.argwhere(cells))) == sorted(
        [(2, 2, 2), (1, 2, 2), (3, 2, 2), (2, 1, 2), (2, 3, 2), (2, 2, 1), (2, 2, 3)]
    )


def test_the_smallest_nodule_has_the_cell_that_holds_its_centre_and_one_outside_has_none() -> None:
    places = np.array([[3.6, 5.4, 0.1], [-3.0, 2.0, 2.0]])
    cells = cells_within((8, 8, 8), places, np.array([0.5, 1.0]), (1.0, 1.0, 1.0))
    assert np.argwhere(cells).tolist() == [[2, 2, 0]]


def test_diameters_are_in_millimetres() -> None:
    cells = cells_within((16, 16, 16), np.array([[7.5, 7.5, 7.5]]), np.array([12.0]), (1.0, 1.0, 2.0))
    x, y, z = (np.unique(axis).size for axis in np.nonzero(cells))
    assert x == y == 6  # 2 mm a cell
    assert z == 2  # 4 mm a cell: 2 mm off on either side; the next ones are 6 mm off, on the surface


@pytest.mark.parametrize("warp_share", [0.0, 1.0])
def test_labels_lie_on_the_nodules_however_the_block_is_turned(warp_share: float) -> None:
    other = Sphere(np.array([38.0, 33.0, 30.0]), 6.0)
    blocks = NoduleBlocks([ball_case(NODULE, other)], SIZE, WINDOW, 40, shift=4.0, warp_share=warp_share)
    for item in every(blocks):
        bright = torch.nn.functional.avg_pool3d(item["image"], 2) > 0.5
        marked = item["label"] == 1
        assert marked.any()
        assert (bright ^ marked).sum() <= 0.35 * bright.sum() + 3  # cells on the surface alone


def test_blocks_repeat_with_seed_epoch_and_index() -> None:
    first, again = (NoduleBlocks([ball_case(NODULE)], SIZE, WINDOW, 8) for _ in range(2))
    for blocks in (first, again):
        blocks.set_epoch(2)
    assert torch.equal(first[5]["image"], again[5]["image"])
    again.set_epoch(3)
    assert not torch.equal(first[5]["image"], again[5]["image"])
    assert first[0]["image"].shape == (1, 16, 16, 16)
    assert first[0]["label"].shape == (1, 8, 8, 8)


def test_negatives_come_one_to_one_and_hold_nothing() -> None:
    corner = {"balls": np.array([[7.5, 7.5, 7.5]])}
    blocks = NoduleBlocks([ball_case(NODULE)], SIZE, WINDOW, 200, negatives=corner, shift=2.0)
    empty = [bool((item["label"] == 0).all()) for item in every(blocks)]
    assert 75 <= sum(empty) <= 125
    assert all(item["image"].max() == 0 for item, none in zip(every(blocks), empty, strict=True) if none)
    without = NoduleBlocks([ball_case(NODULE)], SIZE, WINDOW, 20, shift=2.0)
    assert all((item["label"] == 1).any() for item in every(without))


@pytest.mark.parametrize("negative_share", [0.0, 1.0])
def test_blocks_of_another_scanner_have_values_of_their_own(negative_share: float) -> None:
    case = ball_case(NODULE)
    options = {"negatives": {case.name: np.array([[20.0, 20.0, 20.0]])}, "negative_share": negative_share}
    plain, changed = (
        NoduleBlocks([case], SIZE, WINDOW, 1, warp_share=0.0, scanner_share=share, **options)[0]["image"]
        for share in (0.0, 1.0)
    )
    assert len(plain.unique()) < 5
    assert len(changed.unique()) > 100  # noise


def test_other_lesions_are_ignored() -> None:
    case = ball_case(NODULE, ignored=(Sphere(np.array([38.0, 28.0, 26.0]), 6.0),))
    label = NoduleBlocks([case], SIZE, WINDOW, 4, shift=0.0, warp_share=0.0)[0]["label"]
    assert set(label.unique().tolist()) == {IGNORED, 0, 1}


def test_blocks_without_nodules_are_in_the_lungs_and_clear_of_lesions() -> None:
    case = ball_case(NODULE, ignored=(Sphere(np.array([50.0, 50.0, 45.0]), 6.0),))
    case.lungs[:, :, :20] = False
    firsts = list(nodule_free_blocks(case, SIZE, step=10))
    assert firsts
    for first in firsts:
        assert case.lungs[tuple(first + 8)]
        for lesion in (*case.nodules, *case.ignored):
            nearest = np.clip(lesion.index, first, np.array(first) + 15)
            assert np.linalg.norm(nearest - lesion.index) >= lesion.diameter_mm / 2 - 1
    everywhere = {tuple(place) for place in np.argwhere(case.lungs[::10, ::10, ::10]) * 10 - 8}
    touching = everywhere - {tuple(first) for first in firsts}
    assert all(
        any((lesion.index + lesion.diameter_mm / 2 > first).all()
            and (lesion.index - lesion.diameter_mm / 2 < np.array(first) + 16).all()
            for lesion in (*case.nodules, *case.ignored))
        for first in touching
    )  # fmt: skip


def mined(case: Case, logit: torch.Tensor, folder: Path, threshold: float = 0.8) -> dict:
    miner = HardBlockMiner(str(folder), "a test", [16, 16, 16], 8, threshold, IndexMap((2, 2, 2), (2, 2, 2)))
    engine = Engine(lambda engine, batch: None)
    miner.attach(engine)

    def process(engine: Engine, batch: dict) -> dict:
        return {"pred": logit}

    engine._process_function = process
    affine = scaled_affine(case.to_mm, [-4, -4, -4], (1, 1, 1))
    engine.run([{"case": case, "grid_affine": affine}])
    return json.loads((folder / "hard_blocks.json").read_text())


def test_blocks_with_a_voxel_above_the_threshold_are_hard(tmp_path: Path) -> None:
    case = ball_case(NODULE)
    logit = torch.full((1, 1, 36, 34, 32), -5.0)
    place = np.array([10, 12, 40])  # a voxel of the case; the padded volume begins 4 voxels before
    logit[(0, 0, *((place + 4) // 2))] = 3.0
    document = mined(case, logit, tmp_path)
    free = [first.tolist() for first in nodule_free_blocks(case, SIZE, 8)]
    hard = [first for first in free if all(f <= p < f + 16 for f, p in zip(first, place, strict=True))]
    assert document["blocks"] == {"balls": hard}
    assert hard
    assert (document["nodule_free_blocks"], document["hard_blocks"]) == (len(free), len(hard))
    assert document["hard_share"] == pytest.approx(len(hard) / len(free))
    assert mined(case, logit, tmp_path / "strict", 0.96)["hard_blocks"] == 0  # sigmoid(3) = 0.953


def test_voxels_outside_the_lungs_make_no_block_hard(tmp_path: Path) -> None:
    case = ball_case(NODULE)
    case.lungs[:12] = False
    logit = torch.full((1, 1, 36, 34, 32), -5.0)
    logit[0, 0, 7, 8, 22] = 9.0
    assert mined(case, logit, tmp_path)["hard_blocks"] == 0


def test_mined_blocks_are_read_back_as_centres(tmp_path: Path) -> None:
    case = ball_case(NODULE)
    path = tmp_path / "hard_blocks.json"
    path.write_text(json.dumps({"blocks": {"balls": [[0, 8, 16]]}}))
    np.testing.assert_array_equal(read_blocks(path, [case], SIZE, 8)["balls"], [[7.5, 15.5, 23.5]])
    assert len(read_blocks("all", [case], SIZE, 8)["balls"]) == len(list(nodule_free_blocks(case, SIZE, 8)))
    assert read_blocks(None, [case], SIZE, 8) == {}
    assert read_blocks("all", [dark_case("none")], SIZE, 8)["none"].shape[1] == 3
