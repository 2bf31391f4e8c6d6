# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from lungcad.errors import InputError
from lungcad.papers.jnsc.blocks import IGNORED, ScanBlocks, prepare_blocks
from lungcad.papers.jnsc.labels import malignancy_labels
from lungcad.training.cases import Case, Sphere

SIZE, WINDOW, INTENSITY = (16, 16, 16), (-1000.0, 400.0), (-1.0, 3.0)


def ball_case(name: str, *nodules: Sphere, ignored: tuple[Sphere, ...] = (), drawn: bool = True) -> Case:
    """Dark lungs at 1 mm with balls of 400 HU and their masks."""
    hu = np.full((64, 60, 56), -1000, np.int16)
    case = Case(name, hu, np.ones(hu.shape, bool), (1.0, 1.0, 1.0), list(nodules), list(ignored),
                masks=np.zeros(hu.shape, np.uint8) if drawn else None)  # fmt: skip
    place = np.moveaxis(np.indices(hu.shape), 0, -1)
    for number, sphere in enumerate((*nodules, *ignored), start=1):
        inside = np.linalg.norm(place - sphere.index, axis=-1) <= sphere.diameter_mm / 2
        hu[inside] = 400
        if case.masks is not None and number <= len(nodules):
            case.masks[inside] = number
    return case


FIRST = Sphere(np.array([20.0, 22.0, 24.0]), 7.0, "a", (4.0, 5.0, 5.0))
SECOND = Sphere(np.array([44.0, 40.0, 34.0]), 6.0, "b", (2.0, 1.0))


def blocks(*cases: Case, **options: float) -> ScanBlocks:
    options = {"margin": 4} | options
    return ScanBlocks(cases, malignancy_labels(cases), SIZE, WINDOW, INTENSITY, **options)


def with_nodules(data: ScanBlocks) -> list[dict[str, torch.Tensor]]:
    """Blocks that hold a whole nodule, not only a corner of one."""
    return [item for item in (data[n] for n in range(len(data))) if (item["label"] > 0).sum() > 60]


def test_labels_are_equation_3_of_the_median_and_marginal_as_section_iii_has_it() -> None:
    cases = [ball_case("c", *(Sphere(FIRST.index, 7.0, f"n{scores}", scores) for scores in (
        (4.0, 5.0, 5.0), (2.0, 3.0), (4.0,), (1.0, 2.0), (3.0, 3.0, 3.0), (5.0,), ())))]  # fmt: skip
    labels = malignancy_labels(cases)
    # medians 5, 2.5, 4, 1.5, 3, 5; the last was never rated
    assert labels.soft.tolist() == pytest.approx([1.0, 0.375, 0.75, 0.125, 0.5, 1.0, np.nan], nan_ok=True)
    assert labels.marginal.tolist() == [False, True, True, False, False, False, False]


def test_a_nodule_of_several_cases_has_one_label_and_unrated_ones_have_each_their_own() -> None:
    unrated = Sphere(SECOND.index, 6.0, "annotations")
    labels = malignancy_labels([ball_case("c", FIRST, unrated), ball_case("d", unrated, FIRST)])
    assert len(labels.soft) == 3
    assert labels.rows_of(ball_case("d", unrated, FIRST)) == [2, 0]


def test_few_readers_make_labels_marginal_for_a_share_and_the_same_ones_every_time() -> None:
    scores = (2.0, 3.0, 4.0, 3.0)
    case = ball_case("c", *(Sphere(FIRST.index, 7.0, f"n{n}", scores) for n in range(200)))
    labels, again = (malignancy_labels([case], few_readers=0.4) for _ in range(2))
    assert 55 < labels.marginal.sum() < 105  # all that lost readers are: none said 1 or 5
    assert torch.equal(labels.soft, again.soft)
    assert (labels.soft[~labels.marginal] == 0.5).all()


@pytest.mark.parametrize("warp_share", [0.0, 1.0])
def test_masks_lie_on_the_nodules_however_a_block_is_turned(warp_share: float) -> None:
    data = blocks(ball_case("c", FIRST, SECOND), repeats=12, warp_share=warp_share)
    seen = set()
    for item in with_nodules(data):
        bright, marked = item["image"] > 1, item["label"] > 0
        assert marked.any()
        assert (bright ^ marked).sum() <= 0.3 * marked.sum() + 2
        seen |= set(item["label"].unique().tolist())
    assert seen == {0, 1, 2}


def test_every_scan_gives_a_block_with_and_one_without_a_nodule_each_epoch() -> None:
    data = blocks(ball_case("c", FIRST), ball_case("d", SECOND), ball_case("e", FIRST, SECOND))
    assert len(data) == 6
    orders, first = [], set()
    for epoch in range(4):
        data.set_epoch(epoch)
        found = [bool((data[n]["label"] > 0).any()) for n in range(6)]
        assert [a + b for a, b in zip(found[::2], found[1::2], strict=True)] == [1, 1, 1]
        first |= set(found[::2])
        orders.append(tuple(data._order(n) for n in range(3)))
        assert sorted(orders[-1]) == [0, 1, 2]
    assert len(set(orders)) > 1
    assert first == {False, True}  # which one comes first is chance


def test_nodules_wander_in_the_block_and_stay_inside() -> None:
    data = blocks(ball_case("c", FIRST), repeats=40)
    centers = torch.stack([(item["label"][0] > 0).nonzero().float().mean(dim=0) for item in with_nodules(data)])
    assert len(centers) == 40
    assert centers.std(dim=0).min() > 1
    assert centers.min() > 2
    assert centers.max() < 13


def test_ignored_lesions_and_nodules_that_nobody_outlined_take_no_part() -> None:
    nodule = Sphere(FIRST.index, 7.0, "bare", (3.0,))
    case = ball_case("c", nodule, ignored=(Sphere(FIRST.index + np.array([6, 0, 0]), 5.0),))
    case.masks[:] = 0
    label = max(
        (item["label"] for item in (blocks(case, margin=8)[n] for n in range(2))), key=lambda one: (one < 0).sum()
    )
    assert set(label.unique().tolist()) == {IGNORED, 0}
    assert (label == IGNORED).sum() > 200  # a ball of 7 voxels alone has 180


def test_images_are_scaled_to_the_intensity_that_is_asked_for() -> None:
    (item,) = with_nodules(blocks(ball_case("c", FIRST)))
    image = item["image"]
    assert (image.min().item(), image.max().item()) == INTENSITY
    assert image.dtype == torch.float32


def test_blocks_of_another_scanner_have_values_of_their_own() -> None:
    plain, changed = (blocks(ball_case("c", FIRST), scanner_share=share)[0]["image"] for share in (0.0, 1.0))
    assert len(plain.unique()) < 5
    assert len(changed.unique()) > 100  # noise


def test_blocks_repeat_with_seed_epoch_and_index() -> None:
    first, again = (blocks(ball_case("c", FIRST), warp_share=0.5) for _ in range(2))
    again[1]
    assert torch.equal(first[0]["image"], again[0]["image"])
    again.set_epoch(1)
    assert not torch.equal(first[0]["image"], again[0]["image"])


def test_the_network_in_training_gets_the_label_beside_the_image() -> None:
    batch = torch.utils.data.default_collate([blocks(ball_case("c", FIRST))[n] for n in range(2)])
    image, label, args, kwargs = prepare_blocks(batch, torch.device("cpu"), non_blocking=False)
    assert image.shape == label.shape == (2, 1, *SIZE)
    assert args == (label,)
    assert kwargs == {}


def test_refuses_cases_without_masks_and_blocks_that_cannot_be_turned() -> None:
    bare = ball_case("c", FIRST, drawn=False)
    with pytest.raises(InputError, match=r"1 cases without masks.*make_cases"):
        blocks(bare)
    with pytest.raises(InputError, match="expected a cube"):
        ScanBlocks([ball_case("c", FIRST)], malignancy_labels([bare]), (16, 16, 8), WINDOW, INTENSITY)
    assert (blocks(ball_case("none", drawn=False))[0]["label"] == 0).all()
