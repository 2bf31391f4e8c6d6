# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import anchor_cubes, cube_iou, encode_offsets, shared_part
from lungcad.papers.threedag.proposals import decode_proposals, merge_models, suppress

PAPER = ((4, 6), (8, 12), (16, 24))


def cubes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def output_with(nodules: Tensor, logits: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """What a network says that is sure of some nodules, at the anchor that fits each best; and the anchors."""
    anchors, level = anchor_cubes((32, 32, 48), PAPER)
    output = torch.zeros(len(anchors), 5)
    output[:, 0] = -8.0
    best = cube_iou(anchors, nodules).argmax(dim=0)
    output[best, 0] = torch.tensor(logits)
    output[best, 1:] = encode_offsets(nodules, anchors[best])
    return output, anchors, level


def test_planted_nodules_come_back_with_their_levels_most_probable_first() -> None:
    nodules = cubes((8.3, 9.1, 20.7, 4.4), (22.0, 12.5, 30.2, 11.0), (15.0, 16.0, 25.0, 27.0))
    found, logit, level = decode_proposals(*output_with(nodules, [0.5, 3.0, 1.0]))
    torch.testing.assert_close(found, nodules[[1, 2, 0]], atol=1e-5, rtol=1e-5)
    assert logit.tolist() == [3.0, 1.0, 0.5]
    assert level.tolist() == [1, 2, 0]


def test_the_papers_threshold_is_log_odds_of_minus_one() -> None:
    nodules = cubes((8, 9, 20, 4), (22, 12, 30, 11))
    assert decode_proposals(*output_with(nodules, [-0.99, -1.01]))[1].tolist() == pytest.approx([-0.99])
    assert len(decode_proposals(*output_with(nodules, [2.0, 1.0]), max_proposals=1)[0]) == 1
    nothing, logit, level = decode_proposals(*output_with(nodules, [-5.0, -5.0]))
    assert (len(nothing), len(logit), len(level)) == (0, 0, 0)
    everything, _, _ = decode_proposals(*output_with(nodules, [2.0, 1.0]), threshold=0.0, max_proposals=10**6)
    assert len(everything) == 2 * (8 * 8 * 12 + 4 * 4 * 6 + 2 * 2 * 3)


def test_of_overlapping_cubes_the_best_stays() -> None:
    # IoU with the first: 1, 1/3, 1/15, 0; the fifth overlaps the second alone, which is gone by then
    found = cubes((0, 0, 0, 4), (2, 0, 0, 4), (2, 2, 2, 4), (20, 0, 0, 4), (5, 0, 0, 4))
    score = torch.tensor([0.9, 0.8, 0.7, 0.95, 0.6])
    assert suppress(found, score).tolist() == [3, 0, 2, 4]
    assert suppress(found, score, overlap=0.5).tolist() == [3, 0, 1, 2, 4]
    assert suppress(found[:0], score[:0]).tolist() == []


def test_a_small_cube_in_a_large_one_shares_all_of_itself_but_has_a_small_iou() -> None:
    found = cubes((0, 0, 0, 12), (4, 4, 4, 4), (6, 0, 0, 4), (6, 6, 0, 4), (30, 0, 0, 4))
    # the third lies half in the first, the fourth a quarter
    assert shared_part(found[:1], found)[0].tolist() == pytest.approx([1, 1, 1 / 2, 1 / 4, 0])
    torch.testing.assert_close(shared_part(found, found), shared_part(found, found).t())
    assert cube_iou(found[:1], found[1:2]).item() == pytest.approx(4**3 / 12**3)
    score = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    assert suppress(found, score, 0.1).tolist() == [0, 1, 2, 3, 4]
    assert suppress(found, score, 0.3, measure=shared_part).tolist() == [0, 3, 4]
    assert suppress(found, score, 1.0, measure=shared_part).tolist() == [0, 1, 2, 3, 4]


def test_what_two_windows_both_see_is_found_once() -> None:
    found = torch.cat([torch.rand(60, 3) * 64, torch.rand(60, 1) * 10 + 4], dim=1)
    score = torch.rand(60)
    windows = [(found[:, 2] >= first) & (found[:, 2] < first + 40) for first in (0, 24)]
    every, scores = torch.cat([found[seen] for seen in windows]), torch.cat([score[seen] for seen in windows])
    assert len(every) > len(found)
    torch.testing.assert_close(every[suppress(every, scores)], found[suppress(found, score)])


def rows(*detections: tuple[float, ...]) -> Tensor:
    return torch.tensor(detections).reshape(-1, 6)


ONE = rows((10, 10, 10, 6, 0.8, 0.4), (40, 40, 40, 8, 0.3, 0.2))
OTHER = rows((60, 10, 10, 5, 0.9, 0.6), (11, 10, 10, 8, 0.4, 0.6))
PAIR, ALONE = rows((10.5, 10, 10, 7, 0.6, 0.5)), torch.cat([ONE[1:], OTHER[:1]])


def test_union_keeps_what_is_alone_and_averages_what_overlaps() -> None:
    torch.testing.assert_close(merge_models(ONE, OTHER, "union"), torch.cat([PAIR, ALONE]))


def test_what_is_alone_can_count_half() -> None:
    halved = ALONE * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    torch.testing.assert_close(merge_models(ONE, OTHER, "union", alone=0.5), torch.cat([PAIR, halved]))


def test_intersection_keeps_only_what_both_found() -> None:
    torch.testing.assert_close(merge_models(ONE, OTHER, "intersection"), PAIR)


@pytest.mark.parametrize("keep", ["union", "intersection"])
def test_merging_does_not_depend_on_the_order_and_a_model_merged_with_itself_is_itself(keep: str) -> None:
    there, back = (sorted(merge_models(*pair, keep).tolist()) for pair in ((ONE, OTHER), (OTHER, ONE)))
    assert there == back
    torch.testing.assert_close(merge_models(ONE, ONE, keep), ONE)


def test_a_detection_is_paired_once_with_what_it_overlaps_most() -> None:
    two, one = rows((0, 0, 0, 6, 0.5, 0.5), (3, 0, 0, 6, 0.7, 0.7)), rows((1, 0, 0, 6, 0.9, 0.9))
    expected = rows((0.5, 0, 0, 6, 0.7, 0.7), (3, 0, 0, 6, 0.7, 0.7))
    torch.testing.assert_close(merge_models(two, one, "union"), expected)


@pytest.mark.parametrize(("keep", "count"), [("union", 2), ("intersection", 0)])
def test_a_model_that_found_nothing(keep: str, count: int) -> None:
    nothing = torch.zeros(0, 6)
    assert len(merge_models(ONE, nothing, keep)) == count
    assert len(merge_models(nothing, ONE, keep)) == count


def test_unknown_merge_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown merge: mean .expected union or intersection"):
        merge_models(ONE, OTHER, "mean")
