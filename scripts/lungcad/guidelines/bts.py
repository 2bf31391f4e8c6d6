# SPDX-License-Identifier: Apache-2.0
"""British Thoracic Society 2015: management of a nodule found by chance or by screening.

Sources: Callister 2015, Thorax 70 (suppl. 2):ii1, in the summaries of Loverdos 2019 (PMC6784443, table 4), jesse.tg
(NGC archive 10793), Thorax (table "Fleischner 2017 and BTS 2015"), Radiology Assistant (Mets and Smithuis), PMC7177089
(table 2, subsolid nodules). Risks of 10 % (Brock) and of 10 and 70 % (Herder) agree in two public implementations.
Texts are our own words. A rule that no source confirmed is left out, and the result says so.
"""

from dataclasses import dataclass

from lungcad.guidelines.growth import bts_growth, volume_doubling_days, whole_months
from lungcad.guidelines.inputs import KINDS, benign_calcification, choice, flag, needs, number, positive, size_mm
from lungcad.guidelines.measuring import NOISE_DECIMALS, rounded

DISCHARGE = "no follow-up"
SURVEILLANCE = "CT surveillance"
NEW_AND_SMALL = "follow-up, as it is new; not computed: needs BTS's interval for it, which no source confirmed"

LOW_RISK, HIGH_RISK = 0.10, 0.70
"""Probabilities of cancer that separate surveillance, further work-up and treatment."""


@dataclass(frozen=True)
class Bts:
    """Recommendation by BTS 2015.

    Attributes:
        recommendation: text; begins with ``not computed`` where an input is missing.
        reason: kind, size and class of size that led to it.
        measured_by: ``volume`` (preferred), ``diameter``, or ``nothing`` where size did not matter.
    """

    recommendation: str
    reason: str
    measured_by: str = "nothing"


def bts(
    kind: str,
    max_mm: float | None = None,
    volume_mm3: float | None = None,
    *,
    brock: float | None = None,
    herder: float | None = None,
    calcification: str | None = None,
    fat: bool = False,
    typical_perifissural: bool = False,
    new: bool = False,
) -> Bts:
    """Recommendation for a nodule at its first CT (BTS 2015).

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        max_mm: longest diameter in mm; used where no volume is given, without rounding.
        volume_mm3: volume in mm3, preferred over the diameter.
        brock: probability (0 to 1) of Brock's model with spiculation; needed from 8 mm or 300 mm3.
        herder: probability (0 to 1) of Herder's model, which needs FDG uptake on PET-CT and is not computed here.
        calcification: pattern, one of ``CALCIFICATIONS``; None for a nodule without calcification.
        fat: the nodule contains macroscopic fat.
        typical_perifissural: the nodule is homogeneous, smooth, solid, lentiform or triangular, at a fissure or pleura.
        new: the nodule was definitely absent from a CT of the last 1 to 2 years.

    Raises:
        ValueError: impossible input, or neither diameter nor volume.
    """
    choice("kind", kind, KINDS)
    small, middle, large, size, measured_by = _sizes(max_mm, volume_mm3)
    for name, probability in (("brock", brock), ("herder", herder)):
        if probability is not None:
            number(name, probability, lowest=0, highest=1)
    perifissural = flag("typical_perifissural", typical_perifissural) and kind == "solid"
    new, fat = flag("new", new), flag("fat", fat)
    if benign_calcification(calcification):
        return Bts(DISCHARGE, f"benign: {calcification} calcification")
    if fat:
        return Bts(DISCHARGE, "benign: macroscopic fat")
    if perifissural and max_mm is not None and max_mm < 10:
        return Bts(DISCHARGE, f"typical perifissural nodule of {max_mm:g} mm, below 10 mm", "diameter")
    if small:
        action = NEW_AND_SMALL if new else DISCHARGE
        return Bts(action, f"{kind}, {size}: below 5 mm or 80 mm3", measured_by)
    if perifissural and max_mm is None:
        return Bts(needs("max_mm"), "a typical perifissural nodule below 10 mm needs no follow-up")
    if kind != "solid":
        return Bts("thin-section CT at 3 months", f"{kind}, {size}: 5 mm (80 mm3) or more", measured_by)
    if large:
        return Bts(_by_risk(brock, herder), f"solid, {size}: 8 mm or 300 mm3, or more", measured_by)
    if middle:
        return Bts("CT at 3 months", f"solid, {size}: 6 to below 8 mm, or 80 to below 300 mm3", measured_by)
    return Bts("CT at 12 months", f"solid, {size}: 5 to below 6 mm", measured_by)


def _sizes(max_mm: float | None, volume_mm3: float | None) -> tuple[bool, bool, bool, str, str]:
    """Flags small (no follow-up), middle (CT at 3 months), large (risk model); size in words, and what was measured.

    A diameter of 5 to below 6 mm is none of the three; a volume is always one of them.
    """
    diameter = None if max_mm is None else rounded(size_mm("max_mm", max_mm), NOISE_DECIMALS)
    if volume_mm3 is not None:
        volume = positive("volume_mm3", volume_mm3)
        return volume < 80, 80 <= volume < 300, volume >= 300, f"{volume:g} mm3", "volume"
    if diameter is None:
        raise ValueError(needs("volume_mm3 or max_mm"))
    return diameter < 5, 6 <= diameter < 8, diameter >= 8, f"{diameter:g} mm", "diameter"


def _by_risk(brock: float | None, herder: float | None) -> str:
    """Recommendation for a large solid nodule by Brock's risk, then Herder's."""
    if brock is None:
        return needs("brock")
    if brock < LOW_RISK:
        return f"{SURVEILLANCE} (Brock {brock:.1%}, below 10 %)"
    if herder is None:
        return f"PET-CT, then Herder's risk (Brock {brock:.1%}, 10 % or more); {needs('herder')}"
    if herder < LOW_RISK:
        return f"{SURVEILLANCE} (Herder {herder:.1%}, below 10 %)"
    if herder <= HIGH_RISK:
        return f"consider biopsy; excision or {SURVEILLANCE} are alternatives (Herder {herder:.1%}, 10 to 70 %)"
    return f"consider excision or non-surgical treatment (Herder {herder:.1%}, above 70 %)"


def bts_follow_up(
    kind: str,
    volume_1: float | None,
    volume_2: float | None,
    days: float,
    *,
    months_since_baseline: float,
    brock: float | None = None,
    stable_by_diameter: bool = False,
    altered: bool = False,
) -> Bts:
    """Recommendation for a nodule under surveillance (BTS 2015).

    Args:
        kind: ``solid``, ``part-solid`` or ``non-solid``.
        volume_1: earlier volume in mm3; None without volumetry.
        volume_2: volume now in mm3; None without volumetry.
        days: days between the two measurements.
        months_since_baseline: months from the baseline to this CT; whole months count.
        brock: probability (0 to 1), needed for a stable subsolid nodule.
        stable_by_diameter: the reader calls the diameter stable; counts without volumetry.
        altered: the form of a subsolid nodule changed, for example by a new solid part.

    Raises:
        ValueError: impossible input, or a single volume.
    """
    choice("kind", kind, KINDS)
    days, month = positive("days", days), whole_months(months_since_baseline)
    if (volume_1 is None) != (volume_2 is None):
        raise ValueError("volume_1 and volume_2 must both be given, or neither")
    altered = flag("altered", altered) and kind != "solid"
    if volume_1 is None or volume_2 is None:
        if not flag("stable_by_diameter", stable_by_diameter) and not altered:
            return Bts(needs("volume_1, volume_2"), "growth is 25 % or more in volume")
        growing, reason, doubling, measured_by = False, "stable by diameter", None, "diameter"
    else:
        growth = bts_growth(volume_1, volume_2)
        growing, reason, measured_by = bool(growth.growing), growth.reason, "volume"
        doubling = volume_doubling_days(volume_1, volume_2, days) if growing else None
    if kind != "solid":
        return Bts(_subsolid(growing or altered, brock), reason + (", form altered" if altered else ""), measured_by)
    if doubling is not None:
        return Bts(_growing(doubling, month), f"{reason}, doubling in {doubling:.0f} days", measured_by)
    return Bts(_stable(measured_by, month), f"{reason}, {month} months after baseline", measured_by)


def _growing(doubling: float, month: int) -> str:
    """Recommendation for a solid nodule whose volume grew by 25 % or more; ``doubling`` in days."""
    if doubling <= 400:
        return "further work-up: doubling within 400 days"
    if month < 12:
        return "CT at 12 months: doubling in more than 400 days"
    if doubling > 600:
        return "consider discharge: doubling in more than 600 days by volumetry"
    return "not computed: needs BTS's rule for 400 to 600 days at one year, on which our sources disagree"


def _stable(measured_by: str, month: int) -> str:
    """Recommendation for a solid nodule without significant growth."""
    enough = 12 if measured_by == "volume" else 24
    if month >= enough:
        return f"discharge: stable for {enough // 12} year{'s' if enough > 12 else ''} by {measured_by}"
    return f"CT at {12 if month < 12 else 24} months"


def _subsolid(changed: bool, brock: float | None) -> str:
    """Recommendation for a part-solid or non-solid nodule at its CT after 3 months or later."""
    if changed:
        return "growth or altered form favours resection"
    if brock is None:
        return needs("brock")
    if number("brock", brock, lowest=0, highest=1) < LOW_RISK:
        return f"CT at 1, 2 and 4 years from baseline (Brock {brock:.1%}, below 10 %)"
    return f"discuss {SURVEILLANCE}, biopsy or resection (Brock {brock:.1%}, 10 % or more)"
