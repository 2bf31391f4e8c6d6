# SPDX-License-Identifier: Apache-2.0
"""Fleischner Society 2017: management of a nodule found by chance.

Sources: MacMahon 2017, Radiology 284:228 (recommendations 1 to 5, read in a public copy of the text at ynjr.net; the
table at radiopaedia.org); the solid part's longest diameter from Bankier 2017, Radiology 285:584 (as summarised by
openradx/medreporter). Texts are our own words.
"""

from dataclasses import dataclass

from lungcad.guidelines.inputs import KINDS, choice, flag, needs, number, positive, size_mm, solid_part_mm
from lungcad.guidelines.measuring import rounded

SMALL, MEDIUM, LARGE = "<6 mm", "6-8 mm", ">8 mm"
"""Classes of size."""

RISKS = ("low", "high")
"""Risks of cancer below and above 5 % by the ACCP's groups: age, smoking, size, margin, upper lobe."""

LARGEST_NODULE_MM = 30
"""Size in whole mm above which it is a mass, not a nodule (glossary of the Fleischner Society 2008, as RadLex RID39056
quotes it)."""

NONE = "no routine follow-up"
SOLID_MULTIPLE = {
    "low": "CT at 3-6 months, then consider CT at 18-24 months",
    "high": "CT at 3-6 months, then CT at 18-24 months",
}
SOLID = {
    (SMALL, False): {"low": NONE, "high": "optional CT at 12 months"},
    (SMALL, True): {"low": NONE, "high": "optional CT at 12 months"},
    (MEDIUM, False): {
        "low": "CT at 6-12 months, then consider CT at 18-24 months",
        "high": "CT at 6-12 months, then CT at 18-24 months",
    },
    (MEDIUM, True): SOLID_MULTIPLE,
    (LARGE, False): dict.fromkeys(RISKS, "consider CT at 3 months, PET/CT or tissue sampling"),
    (LARGE, True): SOLID_MULTIPLE,
}
"""Recommendations for solid nodules by (class of size, multiple), and by risk."""


@dataclass(frozen=True)
class Fleischner:
    """Recommendation for an incidental nodule.

    Attributes:
        category: class of size: ``<6 mm``, ``6-8 mm`` (both ends included) or ``>8 mm``.
        recommendation: text; begins with ``not computed`` or ``not applicable`` where there is none.
        reason: kind, rounded size, number and risk that led to it.
        measured_by: ``diameter`` or ``volume``; the two can give different classes.
    """

    category: str
    recommendation: str
    reason: str
    measured_by: str


def fleischner(
    kind: str,
    mean_mm: float,
    risk: str | None,
    multiple: bool,
    *,
    solid_mm: float | None = None,
    volume_mm3: float | None = None,
    suspicious: bool = False,
    typical_perifissural: bool = False,
    age: float | None = None,
    known_cancer: bool = False,
    immunosuppressed: bool = False,
    screening: bool = False,
) -> Fleischner:
    """Recommendation for a nodule found by chance on CT (Fleischner Society 2017).

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        mean_mm: mean of long and short axis on one image, in mm; rounded here to whole mm, half up.
        risk: ``low`` or ``high``; None where it is not known.
        multiple: more than one nodule; the sizes are then those of the most suspicious one, not always the largest
            (:func:`lungcad.guidelines.fleischner_leading` finds it).
        solid_mm: longest diameter of a part-solid nodule's solid part, in mm.
        volume_mm3: decides the class of size instead of ``mean_mm`` (limits 100 and 250 mm3).
        suspicious: part-solid with lobulated margin, cystic component or growing solid part.
        typical_perifissural: smooth, solid, triangular or lentiform, at a fissure.
        age: age in years; below 35 the guideline does not apply. None counts as 35 or more.
        known_cancer: the patient has a known cancer: the guideline does not apply.
        immunosuppressed: the patient is immunosuppressed: the guideline does not apply.
        screening: the CT is a screening CT: the guideline does not apply, Lung-RADS does.

    Raises:
        ValueError: impossible input.
    """
    choice("kind", kind, KINDS)
    mean_mm = size_mm("mean_mm", mean_mm)
    multiple, suspicious = flag("multiple", multiple), flag("suspicious", suspicious)
    typical_perifissural = flag("typical_perifissural", typical_perifissural)
    solid_mm = _checked_solid_mm(kind, mean_mm, solid_mm)
    risk = None if risk is None else choice("risk", risk, RISKS)
    category, size, measured_by = _size(mean_mm, volume_mm3)
    reason = f"{kind}, {size} ({category}), {'multiple' if multiple else 'single'}, risk {risk or 'not known'}"
    outside = _why_not_applicable(mean_mm, age, known_cancer, immunosuppressed, screening)
    if outside:
        recommendation = f"not applicable: {outside}"
    elif typical_perifissural and kind == "solid":
        recommendation = f"{NONE}: a typical perifissural nodule"
    elif kind == "solid":
        recommendation = _solid(category, multiple, risk)
    elif multiple:
        recommendation = _multiple_subsolid(category)
    elif kind == "non-solid":
        recommendation = _non_solid(category, risk)
    else:
        recommendation = _part_solid(category, solid_mm, suspicious)
    return Fleischner(category, recommendation, reason, measured_by)


def _checked_solid_mm(kind: str, mean_mm: float, solid_mm: float | None) -> float | None:
    """Check the longest diameter of the solid part in mm.

    It may exceed the mean of both axes of the whole nodule, but not its long axis, which is below twice that mean.
    """
    if kind != "part-solid" or solid_mm is None:
        return solid_part_mm(kind, mean_mm, solid_mm)
    found = number("solid_mm", solid_mm, lowest=0)
    if found >= 2 * mean_mm:
        raise ValueError(f"solid_mm ({found:g}) must not be larger than the whole nodule (mean_mm {mean_mm:g})")
    return found


def _size(mean_mm: float, volume_mm3: float | None) -> tuple[str, str, str]:
    """Class of size, size in words as compared, and kind of measurement."""
    if volume_mm3 is None:
        diameter = rounded(mean_mm, 0)
        return SMALL if diameter < 6 else MEDIUM if diameter <= 8 else LARGE, f"{diameter:.0f} mm", "diameter"
    volume = rounded(positive("volume_mm3", volume_mm3), 0)
    return SMALL if volume < 100 else MEDIUM if volume <= 250 else LARGE, f"{volume:.0f} mm3", "volume"


def _why_not_applicable(
    mean_mm: float, age: float | None, known_cancer: bool, immunosuppressed: bool, screening: bool
) -> str:
    """Reasons why the guideline does not apply; empty where it does."""
    reasons = [
        ("larger than 30 mm, a mass, outside the guideline", rounded(mean_mm, 0) > LARGEST_NODULE_MM),
        ("younger than 35 years", age is not None and number("age", age, lowest=0, highest=120) < 35),
        ("known cancer", flag("known_cancer", known_cancer)),
        ("immunosuppressed", flag("immunosuppressed", immunosuppressed)),
        ("a screening CT, for which Lung-RADS is made", flag("screening", screening)),
    ]
    return ", ".join(reason for reason, applies in reasons if applies)


def _solid(category: str, multiple: bool, risk: str | None) -> str:
    """Recommendation for a solid nodule; the risk must be known only where the table depends on it."""
    row = SOLID[category, multiple]
    if risk is None:
        return row["low"] if row["low"] == row["high"] else needs("risk")
    return row[risk]


def _non_solid(category: str, risk: str | None) -> str:
    """Recommendation for a single ground-glass nodule."""
    if category != SMALL:
        return "CT at 6-12 months to confirm that it persists, then CT every 2 years until 5 years"
    if risk is None:
        return needs("risk")
    return f"{NONE}; in selected cases consider CT at 2 and 4 years" if risk == "high" else NONE


def _part_solid(category: str, solid_mm: float | None, suspicious: bool) -> str:
    """Recommendation for a single part-solid nodule: CT first shows whether it persists, whatever its solid part."""
    if category == SMALL:
        return NONE
    first = "CT at 3-6 months to confirm that it persists"
    yearly = "if unchanged and its solid part below 6 mm, CT every year for 5 years"
    large = "if it persists with a solid part of 6 mm or more, highly suspicious"
    invasive = "PET/CT, biopsy or resection"
    if solid_mm is None:
        later = f"{yearly}; {large}; {needs('solid_mm')} to say which"
    elif rounded(solid_mm, 0) > 8:
        later = f"{large}; {invasive}, as the solid part is larger than 8 mm"
    elif rounded(solid_mm, 0) >= 6:
        later = large
    else:
        later = yearly
    return f"{first}; {later}" + (f"; {invasive}, as its form or growth is suspicious" if suspicious else "")


def _multiple_subsolid(category: str) -> str:
    """Recommendation for several part-solid or ground-glass nodules."""
    if category == SMALL:
        return "CT at 3-6 months; if stable, consider CT at 2 and 4 years"
    return "CT at 3-6 months; if they persist, the most suspicious nodule decides what follows"
