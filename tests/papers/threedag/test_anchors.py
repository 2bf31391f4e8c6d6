# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from lungcad.errors import InputError
from lungcad.papers.threedag.anchors import IGNORED, anchor_cubes, assign_anchors, decode_offsets, rpn_target

PAPER = ((4, 6), (8, 12), (16, 24))
NONE = torch.zeros(0, 4)


def spheres(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_anchors_of_the_papers_cube() -> None:
    cubes, level = anchor_cubes((128, 128, 128), PAPER)
    assert level.bincount().tolist() == [2 * 32**3, 2 * 16**3, 2 * 8**3]
    assert cubes[level == 1, 3].unique().tolist() == [8, 12]
    torch.testing.assert_close(cubes[:, :3].double().mean(dim=0), torch.full((3,), 63.5, dtype=torch.float64))


def test_anchors_come_level_by_level_cell_by_cell_z_fastest() -> None:
    cubes, level = anchor_cubes((16, 32, 32), PAPER)
    # the first cells of stride 4 are centred on 1.5, 5.5, ...
    assert cubes[:3].tolist() == [[1.5, 1.5, 1.5, 4], [1.5, 1.5, 1.5, 6], [1.5, 1.5, 5.5, 4]]
    assert cubes[2 * 8].tolist() == [1.5, 5.5, 1.5, 4]
    assert cubes[2 * 8 * 8].tolist() == [5.5, 1.5, 1.5, 4]
    assert cubes[level == 1][0].tolist() == [3.5, 3.5, 3.5, 8]
    assert cubes[-1].tolist() == [7.5, 23.5, 23.5, 24]


def test_a_level_may_have_no_anchors() -> None:
    cubes, level = anchor_cubes((32, 16, 16), ((4, 6, 8, 12, 16, 24), (), ()))
    assert len(cubes) == 6 * 8 * 4 * 4
    assert (level == 0).all()


@pytest.mark.parametrize("anchors", [((4, 6), (8,)), ((), (), ()), ((4,), (0,), (8,)), ((4,), (8,), (-16,))])
def test_unusable_anchors_are_refused(anchors: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*unusable anchors"):
        anchor_cubes((16, 16, 16), anchors)


def test_sides_that_the_coarsest_level_cannot_divide_are_refused() -> None:
    with pytest.raises(InputError, match=r"E-SIZE.*\(16, 24, 16\)"):
        anchor_cubes((16, 24, 16), PAPER)


def test_labels_by_hand() -> None:
    # IoU with the nodule: 1, 2.5/5.5 = 0.45, 3/5 = 0.6, 64/4096 = 0.016, 0
    anchors = spheres((0, 0, 0, 4), (1.5, 0, 0, 4), (0, -1, 0, 4), (0, 0, 0, 16), (9, 9, 9, 4))
    label, nodule = assign_anchors(anchors, spheres((50, 50, 50, 4), (0, 0, 0, 4)), NONE)
    assert label.tolist() == [1, IGNORED, 1, 0, 0]
    assert nodule[label == 1].tolist() == [1, 1]
    strict, _ = assign_anchors(anchors, spheres((0, 0, 0, 4)), NONE, positive=0.7, negative=0.01)
    assert strict.tolist() == [1, IGNORED, IGNORED, IGNORED, 0]


def test_a_nodule_that_no_anchor_fits_gets_its_best_one() -> None:
    anchors = spheres((0, 0, 0, 4), (4, 0, 0, 4), (8, 0, 0, 4))
    label, _ = assign_anchors(anchors, spheres((1.8, 0, 0, 3)), NONE)  # between two cells
    assert label.tolist() == [1, IGNORED, 0]


def test_nodules_that_want_the_same_anchor_get_one_each() -> None:
    anchors = spheres((0, 0, 0, 4), (4, 0, 0, 4), (40, 0, 0, 4))
    label, nodule = assign_anchors(anchors, spheres((1.4, 0, 0, 3), (0, 0, 0, 4)), NONE)
    assert label.tolist() == [1, 1, 0]
    assert nodule[:2].tolist() == [1, 0]


def test_every_nodule_of_a_cube_has_an_anchor_that_decodes_to_it() -> None:
    anchors, _ = anchor_cubes((48, 48, 48), PAPER)
    nodules = torch.cat([torch.rand(12, 3) * 40 + 4, torch.rand(12, 1) * 37 + 3], dim=1)
    target = rpn_target(anchors, nodules, NONE)
    found = target[:, 0] == 1
    decoded = decode_offsets(target[found, 1:], anchors[found])
    distance = (decoded[:, None] - nodules).abs().amax(dim=-1)
    assert (distance.amin(dim=0) < 1e-4).all()  # every nodule
    assert (distance.amin(dim=1) < 1e-4).all()  # and nothing else
    assert (target[~found, 1:] == 0).all()
    assert set(target[:, 0].unique().tolist()) == {IGNORED, 0, 1}


def test_ignored_lesions_make_nothing_negative_and_take_nothing_from_nodules() -> None:
    anchors = spheres((0, 0, 0, 4), (2, 0, 0, 4), (20, 0, 0, 4))
    label, _ = assign_anchors(anchors, spheres((0, 0, 0, 4)), spheres((0, 0, 0, 4), (20, 0, 0, 4)))
    assert label.tolist() == [1, IGNORED, IGNORED]


def test_without_nodules_all_is_background_and_a_nodule_outside_gets_nothing() -> None:
    anchors, _ = anchor_cubes((16, 16, 16), PAPER)
    assert (rpn_target(anchors, NONE, NONE) == 0).all()
    assert (rpn_target(anchors, spheres((90, 90, 90, 5)), NONE) == 0).all()
