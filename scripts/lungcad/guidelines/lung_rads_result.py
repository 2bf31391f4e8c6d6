# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022: category with its reasons and its management.

Lung-RADS is a trademark of the American College of Radiology; texts are our own words. Sources: see ``lung_rads``.
"""

from dataclasses import dataclass

from lungcad.guidelines.inputs import needs

CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "4X")
"""Categories from the least to the most suspicious; 0 (incomplete) is outside that order."""

MANAGEMENT = {
    "0": "obtain the prior CT, repeat the incomplete part, or low-dose CT in 1-3 months for a suspected infection",
    "1": "screening low-dose CT in 12 months",
    "2": "screening low-dose CT in 12 months",
    "3": "low-dose CT in 6 months",
    "4A": "low-dose CT in 3 months; PET/CT may be considered where a solid nodule or part is 8 mm or larger",
    "4B": "diagnostic chest CT with or without contrast, PET/CT where a solid nodule or part is 8 mm or larger, tissue "
    "sampling, or referral",
    "4X": "as for 4B: diagnostic chest CT, PET/CT where a solid nodule or part is 8 mm or larger, tissue sampling, or "
    "referral",
}
"""Management of each category; intervals count from the exam being read."""

PROBABILITIES = {"1": "<1 %", "2": "<1 %", "3": "1-2 %", "4A": "5-15 %", "4B": ">15 %", "4X": ">15 %"}
"""Published probability of malignancy of each category among screened people: not this patient's."""


@dataclass(frozen=True)
class LungRads:
    """Proposed Lung-RADS v2022 category; the radiologist assigns it.

    Attributes:
        category: ``0``, ``1``, ``2``, ``3``, ``4A``, ``4B`` or ``4X``; None if not computed or not scored.
        reason: row of the table with the rounded sizes; begins with ``not computed`` where an input is missing.
        assumed: assumptions, for example a baseline screening CT.
        not_computed: missing inputs that could still change the category, each ``not computed: needs ...``.
        significant_other: modifier S, a significant finding other than lung cancer; it is not a category.
    """

    category: str | None
    reason: str
    assumed: tuple[str, ...] = ()
    not_computed: tuple[str, ...] = ()
    significant_other: bool = False

    @property
    def label(self) -> str:
        """Category with its modifier, such as ``4AS``."""
        return "not computed" if self.category is None else self.category + ("S" if self.significant_other else "")

    @property
    def management(self) -> str:
        """Management of the category in words."""
        return "not computed: needs the category" if self.category is None else MANAGEMENT[self.category]

    @property
    def probability(self) -> str:
        """Published probability of malignancy of the category."""
        return PROBABILITIES.get(self.category or "", needs("a category from 1 to 4X"))


def more_suspicious(first: str, second: str) -> str:
    """More suspicious one of two categories, neither of which may be 0."""
    return max(first, second, key=CATEGORIES.index)
