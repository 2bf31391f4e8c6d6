# SPDX-License-Identifier: Apache-2.0
"""Mayo model: probability that a solitary nodule is cancer.

Sources: Swensen 1997, Arch Intern Med 157:849; coefficients from Eur Radiol 2019 (PMC6717521, table 2); the intercept
-6.8272 and the limits of use from medicalalgorithms.com. That table prints the intercept as -6.872, another public
calculator as -6.8238; the original is taken.
"""

from lungcad.guidelines.brock import logistic
from lungcad.guidelines.inputs import flag, number, positive

INTERCEPT = -6.8272

SMALLEST_MM, LARGEST_MM = 4.0, 30.0
"""Smallest and largest diameter for which the model was made."""


def mayo(
    age: float,
    smoker: bool,
    cancer_history: bool,
    diameter_mm: float,
    spiculated: bool,
    upper_lobe: bool,
    cancer_within_5_years: bool = False,
) -> float:
    """Probability of cancer of a solitary nodule (Mayo Clinic).

    Args:
        age: age in years.
        smoker: the patient smokes or has smoked.
        cancer_history: the patient had a cancer outside the chest, more than 5 years ago.
        diameter_mm: diameter in mm, 4 to 30.
        spiculated: the margin has spicules.
        upper_lobe: the nodule lies in an upper lobe.
        cancer_within_5_years: the patient had any cancer in the last 5 years: the model does not apply.

    Returns:
        Probability of cancer, 0 to 1.

    Raises:
        ValueError: impossible input, or a nodule or patient to which the model does not apply ("not computed: ...").
    """
    diameter_mm = positive("diameter_mm", diameter_mm)
    if not SMALLEST_MM <= diameter_mm <= LARGEST_MM:
        raise ValueError(f"not computed: needs a diameter_mm of 4 to 30 mm, the model's range, not {diameter_mm:g}")
    if flag("cancer_within_5_years", cancer_within_5_years):
        raise ValueError("not computed: needs a patient without cancer in the last 5 years")
    return logistic(
        INTERCEPT
        + 0.0391 * number("age", age, lowest=0, highest=120)
        + 0.7917 * flag("smoker", smoker)
        + 1.3388 * flag("cancer_history", cancer_history)
        + 0.1274 * diameter_mm
        + 1.0407 * flag("spiculated", spiculated)
        + 0.7838 * flag("upper_lobe", upper_lobe)
    )
