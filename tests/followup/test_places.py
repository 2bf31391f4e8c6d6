# SPDX-License-Identifier: Apache-2.0
"""Registration, search for a nodule, and matching."""

import functools

import numpy as np
import pytest
from made_pair import PLACES, make_pair, middle, to_current

from lungcad import Volume
from lungcad.followup.matching import FARTHEST_MM, GATE_MM, match_findings
from lungcad.followup.registration import Registration, is_scanned, register
from lungcad.followup.search import correlation, find_again
from lungcad.scan.scan import Scan


@functools.cache
def registered() -> Registration:
    prior, current = make_pair([])
    return register(Scan(current.volume), Scan(prior.volume))


def test_breath_and_tilt_are_undone_within_2_mm() -> None:
    prior = np.array(PLACES) + middle()
    current = to_current(prior)
    assert np.linalg.norm(current - prior, axis=1).min() > 3  # what there is to undo
    assert np.linalg.norm(registered().to_prior(current) - prior, axis=1).max() < 2
    assert np.linalg.norm(registered().to_current(prior) - current, axis=1).max() < 2
    assert registered().reliable


def test_to_current_is_the_inverse_of_to_prior() -> None:
    points = np.array(PLACES) + middle()
    np.testing.assert_allclose(registered().to_prior(registered().to_current(points)), points, atol=0.1)
    assert registered().to_current(np.empty((0, 3))).shape == (0, 3)


def test_a_place_near_the_edge_of_a_volume_is_not_covered() -> None:
    volume = Volume(np.full((20, 20, 10), -800.0), np.diag([1.0, 1.0, 2.5, 1.0]), "a")
    scan = Scan(volume)
    assert is_scanned(scan, np.array([10.0, 10.0, 11.0]))
    assert not is_scanned(scan, np.array([10.0, 10.0, 2.0]))
    assert not is_scanned(scan, np.array([10.0, 25.0, 11.0]))


def test_correlation_is_1_at_the_pattern_itself_whatever_its_brightness() -> None:
    area = np.random.default_rng(0).normal(size=(12, 12, 12))
    weight = np.ones((5, 5, 5))
    found = correlation(area, 3 * area[4:9, 2:7, 6:11] + 7, weight)
    assert found.shape == (8, 8, 8)
    assert np.unravel_index(found.argmax(), found.shape) == (4, 2, 6)
    assert found.max() == pytest.approx(1)
    assert (correlation(np.zeros((8, 8, 8)), area[:5, :5, :5], weight) == 0).all()


def test_a_nodule_is_found_again_some_mm_off_and_nothing_where_it_vanished() -> None:
    prior, current = make_pair([(8.0, 8.0), (8.0, None)])
    scans = Scan(prior.volume), Scan(current.volume)
    (center, _), (gone, _) = prior.nodules
    wrong = current.nodules[0][0] + (3, -4, 3)
    again = find_again(scans[0], center, 8.0, scans[1], wrong)
    assert np.linalg.norm(np.array(again.center_lps_mm) - current.nodules[0][0]) < 2
    nothing = find_again(scans[0], gone, 8.0, scans[1], current.nodules[1][0])
    assert again.likeness > 0.75 > 0.6 > nothing.likeness


def test_matching_takes_the_pairs_that_are_best_together() -> None:
    # the nearest pair first would be 0 with 1 (4 mm), and leave 1 with 0, too far apart
    places, others = np.array([[0.0, 0, 0], [6, 0, 0]]), np.array([[-5.0, 0, 0], [4, 0, 0]])
    assert match_findings(places, [6, 6], others, [6, 6]) == [(0, 0), (1, 1)]


def test_large_nodules_may_lie_farther_apart() -> None:
    place, other = np.zeros((1, 3)), np.array([[GATE_MM + 6, 0, 0]])
    assert match_findings(place, [8], other, [8]) == []
    assert match_findings(place, [14], other, [8]) == [(0, 0)]
    assert match_findings(place, [None], np.array([[GATE_MM + 2.5, 0, 0]]), [None]) == [(0, 0)]
    assert match_findings(place, [80], np.array([[FARTHEST_MM + 1, 0, 0]]), [80]) == []
    assert match_findings(np.empty((0, 3)), [], other, [8]) == []


def test_of_two_in_reach_the_one_of_its_size_is_taken() -> None:
    assert match_findings(np.zeros((1, 3)), [12], np.array([[2.0, 0, 0], [0, 4, 0]]), [4, 12]) == [(0, 1)]
