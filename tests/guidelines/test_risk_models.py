# SPDX-License-Identifier: Apache-2.0
"""Brock 2a and 2b, and Mayo: published coefficients by hand, monotonicity, impossible input."""

import math
from itertools import pairwise

import pytest

from lungcad.guidelines import brock, mayo

CASE = dict(
    diameter_mm=8, age=62, female=False, family_history=False, emphysema=False, kind="solid", upper_lobe=False, count=1
)


@pytest.mark.parametrize(
    ("values", "spiculated", "with_spiculation", "without"),
    [
        ((4, 62, 0, 0, 0, "solid", 0, 4), False, 0.001125, 0.001105),
        ((8, 62, 0, 0, 0, "solid", 0, 1), False, 0.017158, 0.019064),
        ((8, 62, 1, 0, 1, "solid", 1, 1), True, 0.151795, 0.089527),
        ((15, 70, 1, 1, 1, "part-solid", 1, 1), True, 0.691257, 0.571430),
        ((6, 55, 0, 0, 0, "non-solid", 1, 2), False, 0.008730, 0.008001),
        ((20, 70, 0, 0, 0, "solid", 1, 1), True, 0.456513, 0.344648),
    ],
)
def test_brock_vectors(values: tuple, spiculated: bool, with_spiculation: float, without: float) -> None:
    assert brock(*values, spiculated=spiculated) == pytest.approx(with_spiculation, abs=1e-6)
    assert brock(*values) == pytest.approx(without, abs=1e-6)


def test_brock_at_its_centre_is_the_intercept_alone() -> None:
    # 4 mm, 62 years, 4 nodules: the size term is zero without anything being subtracted from the diameter.
    centre = brock(4, 62, False, False, False, "solid", False, 4, False)
    assert math.log(centre / (1 - centre)) == pytest.approx(-6.7892, abs=1e-6)


def test_brock_by_hand_in_the_uncentred_form() -> None:
    # Eur Radiol 2019 (PMC6717521, table 2) prints 0.2761 for age, size and count as they are.
    odds = 0.2761 + 0.0287 * 70 - 5.3854 * (12 / 10) ** -0.5 + 0.6581 - 0.0824 * 2 + 0.7729
    expected = 1 / (1 + math.exp(-odds))
    assert brock(12, 70, False, False, False, "solid", True, 2, True) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("spiculated", [None, False, True])
def test_brock_rises_with_every_risk_and_stays_a_probability(spiculated: bool | None) -> None:
    def risk(**more: object) -> float:
        return brock(**{**CASE, **more}, spiculated=spiculated)  # type: ignore[arg-type]

    risks = [risk(diameter_mm=tenth / 10) for tenth in range(1, 400)]
    assert all(0 <= one <= 1 for one in risks) and risks == sorted(risks)
    assert all(before < after for before, after in pairwise(risk(age=age) for age in range(40, 90)))
    assert all(before > after for before, after in pairwise(risk(count=count) for count in range(1, 30)))
    for name in ("female", "family_history", "emphysema", "upper_lobe"):
        assert risk(**{name: True}) > risk()
    assert risk(kind="part-solid") > risk(kind="solid") > risk(kind="non-solid")


def test_spiculation_raises_brock() -> None:
    assert brock(**CASE, spiculated=True) > brock(**CASE, spiculated=False)


@pytest.mark.parametrize(
    "arguments",
    [
        {"diameter_mm": 0}, {"diameter_mm": -4}, {"diameter_mm": math.nan}, {"diameter_mm": True}, {"age": -1},
        {"age": 130}, {"age": "62"}, {"female": "female"}, {"female": 2}, {"kind": "GGO"}, {"count": 0}, {"count": 1.5},
        {"count": True}, {"spiculated": "no"}, {"upper_lobe": math.nan}, {"emphysema": [1]},
    ],
)  # fmt: skip
def test_impossible_input_of_brock_is_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        brock(**{**CASE, **arguments})


@pytest.mark.parametrize("name", list(CASE))
def test_what_brock_lacks_it_names(name: str) -> None:
    with pytest.raises(ValueError, match=f"not computed: needs {name}"):
        brock(**{**CASE, name: None})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((62, False, False, 10, False, False), 0.041927),
        ((62, True, False, 10, False, True), 0.174581),
        ((70, True, True, 20, True, True), 0.917798),
    ],
)
def test_mayo_vectors(values: tuple, expected: float) -> None:
    assert mayo(*values) == pytest.approx(expected, abs=1e-6)


def test_mayo_has_the_original_intercept() -> None:
    # The misprinted -6.872 would give 0.0402.
    assert mayo(62, False, False, 10, False, False) == pytest.approx(0.0419, abs=5e-5)


def test_mayo_rises_with_every_risk() -> None:
    risks = [mayo(62, False, False, size, False, False) for size in range(4, 31)]
    assert all(before < after for before, after in pairwise(risks))
    base = [62, False, False, 10, False, False]
    for place in (1, 2, 4, 5):
        assert mayo(*[True if index == place else value for index, value in enumerate(base)]) > mayo(*base)


@pytest.mark.parametrize("diameter_mm", [3.9, 30.1])
def test_mayo_is_not_computed_outside_its_range(diameter_mm: float) -> None:
    with pytest.raises(ValueError, match="not computed: needs a diameter_mm of 4 to 30 mm"):
        mayo(62, False, False, diameter_mm, False, False)


def test_mayo_is_not_computed_soon_after_a_cancer() -> None:
    with pytest.raises(ValueError, match="not computed: needs a patient without cancer"):
        mayo(62, False, False, 10, False, False, cancer_within_5_years=True)


@pytest.mark.parametrize(
    "values",
    [
        (-1, False, False, 10, False, False), (62, "yes", False, 10, False, False), (62, False, None, 10, False, False),
        (62, False, False, math.nan, False, False), (62, False, False, True, False, False),
        (62, False, False, -10, False, False), (True, False, False, 10, False, False),
    ],
)  # fmt: skip
def test_impossible_input_of_mayo_is_refused(values: tuple) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        mayo(*values)
