# SPDX-License-Identifier: Apache-2.0
"""Brock (PanCan) models 2a and 2b: probability that a nodule of a baseline screening CT is cancer.

Sources: McWilliams 2013, N Engl J Med 369:910; coefficients of 2b from Eur Radiol 2019 (PMC6717521, table 2), of 2a
from medicalalgorithms.com; the diameter is the longest on transverse slices (Eur Radiol 2017, PMC5579178).
"""

import math
from dataclasses import dataclass

from lungcad.guidelines.inputs import KINDS, choice, flag, number, size_mm, whole_number

SIZE_CENTRE = 1.58113883
"""Centre of the size term, ``(4 / 10) ** -0.5`` for 4 mm; the diameter itself is not centred as well."""


@dataclass(frozen=True)
class _Model:
    """Coefficients of a full model, in log odds per unit of the input."""

    intercept: float
    age: float
    female: float
    family_history: float
    emphysema: float
    size: float
    kinds: dict[str, float]
    upper_lobe: float
    count: float
    spiculated: float


MODEL_2A = _Model(
    intercept=-6.8071, age=0.0321, female=0.5635, family_history=0.3013, emphysema=0.3462, size=-5.6693,
    kinds={"solid": 0.0, "part-solid": 0.3395, "non-solid": -0.3055}, upper_lobe=0.7116, count=-0.0803, spiculated=0.0,
)  # fmt: skip
"""Full model without spiculation."""

MODEL_2B = _Model(
    intercept=-6.7892, age=0.0287, female=0.6011, family_history=0.2961, emphysema=0.2953, size=-5.3854,
    kinds={"solid": 0.0, "part-solid": 0.3770, "non-solid": -0.1276}, upper_lobe=0.6581, count=-0.0824,
    spiculated=0.7729,
)  # fmt: skip
"""Full model with spiculation; the published intercept 0.2761 becomes -6.7892 when centred at 62 years, 4 mm and 4
nodules."""


def brock(
    diameter_mm: float,
    age: float,
    female: bool,
    family_history: bool,
    emphysema: bool,
    kind: str,
    upper_lobe: bool,
    count: int,
    spiculated: bool | None = None,
) -> float:
    """Probability of cancer of a nodule found on a baseline screening CT (Brock, full models).

    It is a calculator, not this program's opinion: radiologists did better on size-matched nodules of NLST (areas under
    the curve 0.85 and 0.77; MacMahon, Chest). The model does not include growth: it is not for follow-up, nor for
    patients with cancer.

    Args:
        diameter_mm: longest diameter on a transverse slice, in mm, not centred.
        age: age in years.
        female: True for a woman.
        family_history: lung cancer in the family.
        emphysema: emphysema on the CT.
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        upper_lobe: the nodule lies in an upper lobe.
        count: number of nodules on the CT, this one included.
        spiculated: the margin has spicules (model 2b); None for model 2a, which does not include it.

    Returns:
        Probability of cancer, 0 to 1.

    Raises:
        ValueError: impossible input; an input that is None ("not computed: needs family_history").
    """
    model = MODEL_2A if spiculated is None else MODEL_2B
    odds = (
        model.intercept
        + model.age * (number("age", age, lowest=0, highest=120) - 62)
        + model.female * flag("female", female)
        + model.family_history * flag("family_history", family_history)
        + model.emphysema * flag("emphysema", emphysema)
        + model.size * ((size_mm("diameter_mm", diameter_mm) / 10) ** -0.5 - SIZE_CENTRE)
        + model.kinds[choice("kind", kind, KINDS)]
        + model.upper_lobe * flag("upper_lobe", upper_lobe)
        + model.count * (whole_number("count", count, lowest=1) - 4)
        + (0.0 if spiculated is None else model.spiculated * flag("spiculated", spiculated))
    )
    return logistic(odds)


def logistic(odds: float) -> float:
    """Probability from log odds; 0 where it would underflow, as for nodules of a few micrometres."""
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
