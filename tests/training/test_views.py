# SPDX-License-Identifier: Apache-2.0
"""Random flips and turns."""

import numpy as np
from small_cases import dark_case

from lungcad.training.views import PlaneTurn, Turn, other_scanner, rescanned, view


def test_every_flip_and_turn_occurs_and_loses_nothing() -> None:
    values = np.arange(6**3).reshape(6, 6, 6)
    seen = set()
    for seed in range(60):
        turned = Turn(np.random.default_rng(seed)).volume(values)
        assert sorted(turned.ravel()) == sorted(values.ravel())
        seen.add(turned.tobytes())
    assert len(seen) == 16  # eight in the plane, times up and down


def test_a_step_turns_with_the_volume() -> None:
    place = np.array([4, 1, 5])
    volume = np.zeros((7, 7, 7))
    volume[tuple(place)] = 1
    for seed in range(30):
        turn = Turn(np.random.default_rng(seed))
        there = np.argwhere(turn.volume(volume))[0]
        assert (turn.step(place - 3.0) == there - 3.0).all()
        assert (turn.step(np.array([place - 3.0] * 2)) == there - 3.0).all()


def test_plane_turns_are_the_ten_by_right_angles_about_one_axis() -> None:
    values, seen = np.arange(4**3).reshape(4, 4, 4), set()
    for seed in range(80):
        turned = PlaneTurn(np.random.default_rng(seed)).volume(values)
        assert sorted(turned.ravel()) == sorted(values.ravel())
        assert any(
            (np.diff(turned, axis=axis) == 1).all() or (np.diff(turned, axis=axis) == -1).all() for axis in range(3)
        )
        seen.add(turned.tobytes())
    assert len(seen) == 10  # none, and three angles in each of three planes


def test_another_scanner_changes_values_within_its_limits_and_no_places() -> None:
    hu = np.full((24, 24, 24), -1000.0, np.float32)
    hu[8:16, 8:16, 8:16] = 0.0
    means, spreads = [], []
    for seed in range(60):
        seen = other_scanner(hu, np.random.default_rng(seed))
        assert seen.shape == hu.shape
        inside, outside = seen[10:14, 10:14, 10:14], seen[:5]
        means.append((outside.mean() + 1000, inside.mean()))
        spreads.append(outside.std())
        assert (seen == other_scanner(hu, np.random.default_rng(seed))).all()
    offset, inner = np.array(means).T
    assert np.abs(offset).max() < 25 + 2  # the offset alone, but for noise
    assert (np.abs(inner - offset) < 50 + 30).all()  # contrast of 5 %, and what a blur takes from the middle
    assert min(spreads) < 3
    assert 25 < max(spreads) < 45


def test_a_case_is_rescanned_the_same_way_each_time() -> None:
    first, second = dark_case("a"), dark_case("b")
    changed = rescanned(first)
    assert changed.hu.dtype == np.int16
    assert (changed.hu != first.hu).any()
    assert (rescanned(first).hu == changed.hu).all()
    assert (rescanned(second).hu != changed.hu).any()
    assert (changed.name, changed.nodules, changed.lungs is first.lungs) == (first.name, first.nodules, True)


def test_the_share_of_views_of_another_scanner_and_their_places() -> None:
    case, place = dark_case("a"), np.array([9.0, 9.0, 9.0])
    plain = view(case, place, (8, 8, 8), np.random.default_rng(0))
    changed = 0
    for seed in range(60):
        seen = view(case, place, (8, 8, 8), np.random.default_rng(seed), scanner_share=0.5)
        changed += bool((seen.hu != plain.hu).any())
        assert (seen.place == plain.place).all()
        assert (seen.matrix == plain.matrix).all()
    assert 18 < changed < 42
    warped = view(case, place, (8, 8, 8), np.random.default_rng(1), warp_share=1.0, scanner_share=1.0)
    assert (warped.matrix != np.eye(3)).any()
