# SPDX-License-Identifier: Apache-2.0
"""Random flips and turns."""

import numpy as np

from lungcad.training.views import PlaneTurn, Turn


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
