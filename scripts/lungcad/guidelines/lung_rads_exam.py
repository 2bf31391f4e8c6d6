# SPDX-License-Identifier: Apache-2.0
"""Lung-RADS v2022: category of the exam, of a nodule in an airway, and of an atypical cyst.

Sources: see ``lung_rads``; cysts that are not scored (notes 12a, 12g, 12h) and airway notes (11b to 11d) from
wiki.krxiang.com and a public implementation that cites the notes by number.
"""

from collections.abc import Sequence
from dataclasses import replace

from lungcad.guidelines.growth import whole_months
from lungcad.guidelines.inputs import choice, flag, needs, whole_number
from lungcad.guidelines.lung_rads_input import STATUSES
from lungcad.guidelines.lung_rads_result import CATEGORIES, LungRads

AIRWAYS = ("subsegmental", "segmental or more proximal")
WALLS = ("thin", "thick")
"""Walls of a cyst: below 2 mm, and 2 mm or more."""

MANY_NEW_NODULES = 6
"""Number of new nodules above which an infection is suspected."""


def lung_rads_exam(
    findings: Sequence[LungRads],
    *,
    priors_pending: bool = False,
    lungs_evaluable: bool = True,
    inflammatory: bool = False,
    new_nodules: int = 0,
    significant_other: bool = False,
) -> LungRads:
    """Proposed category of a screening CT: the highest of its findings.

    Args:
        findings: results for all nodules, airway nodules and cysts; category 1 where there are none.
        priors_pending: a prior CT is being obtained (category 0 until then).
        lungs_evaluable: False where part of the lungs cannot be judged (category 0).
        inflammatory: signs of infection or inflammation that ask for a CT in 1-3 months: consolidation of a segment or
            lobe, a solid nodule of 8 mm or more within a short interval, new nodules in an immunocompromised patient.
        new_nodules: number of new nodules; more than six count as such a sign.
        significant_other: a significant finding other than lung cancer; adds the modifier S, never a category.

    Raises:
        ValueError: impossible input.
    """
    if isinstance(findings, LungRads) or not all(isinstance(finding, LungRads) for finding in findings):
        raise ValueError("findings must be a list of results of lung_rads, lung_rads_airway and lung_rads_cyst")
    incomplete = [
        ("a prior CT is being obtained", flag("priors_pending", priors_pending)),
        ("part of the lungs cannot be judged", not flag("lungs_evaluable", lungs_evaluable)),
        ("suspected infection or inflammation", flag("inflammatory", inflammatory)),
        (f"{new_nodules} new nodules", whole_number("new_nodules", new_nodules, lowest=0) > MANY_NEW_NODULES),
        ("an airway finding that suggests infection", any(finding.category == "0" for finding in findings)),
    ]
    result = _highest([finding for finding in findings if finding.category != "0"])
    causes = [cause for cause, applies in incomplete if applies]
    if causes:
        reason = f"{', '.join(causes)}; highest of the findings so far: {result.label}"
        result = replace(result, category="0", reason=reason)
    return replace(result, significant_other=flag("significant_other", significant_other))


def _highest(findings: Sequence[LungRads]) -> LungRads:
    """Highest category of the findings; not computed while a finding without a category could still be higher."""
    assumed = tuple(dict.fromkeys(text for finding in findings for text in finding.assumed))
    questions = tuple(dict.fromkeys(text for finding in findings for text in finding.not_computed))
    scored = [finding for finding in findings if finding.category is not None]
    unscored = [finding.reason for finding in findings if finding.category is None]
    missing = [reason for reason in unscored if reason.startswith("not computed")]
    if not scored and not missing:
        return LungRads("1", "no nodule that is scored", assumed, questions)
    if not scored:
        return LungRads(None, "; ".join(missing), assumed, questions)
    top = max(scored, key=lambda finding: CATEGORIES.index(str(finding.category)))
    if missing and top.category != CATEGORIES[-1]:
        return LungRads(None, f"{'; '.join(missing)}; at least {top.category}", assumed, questions)
    return LungRads(top.category, f"highest of {len(findings)}: {top.reason}", assumed, questions)


def lung_rads_airway(
    location: str, status: str = "baseline", *, contains_air: bool = False, several_tubular: bool = False
) -> LungRads:
    """Proposed category of a nodule in an airway.

    Args:
        location: ``subsegmental`` or ``segmental or more proximal``.
        status: one of ``STATUSES``; stable includes one that persists at 3 months.
        contains_air: it contains air, without a nodule of soft tissue underneath, which suggests secretions.
        several_tubular: there are several tubular subsegmental findings, which suggest an infection.

    Raises:
        ValueError: impossible input.
    """
    choice("location", location, AIRWAYS)
    choice("status", status, STATUSES)
    said = f"airway, {location}, {status}"
    if location == "subsegmental":
        if flag("several_tubular", several_tubular):
            return LungRads("0", f"{said}: several tubular findings suggest an infection")
        if status == "growing":
            return LungRads(None, f"{needs('a reader')}: the table has no row for {said}")
        return LungRads("2", said)
    if flag("contains_air", contains_air):
        return LungRads("2", f"{said}: air suggests secretions")
    if status == "new":
        return LungRads(None, f"{needs('a reader')}: the table has no row for {said}")
    return LungRads("4A" if status == "baseline" else "4B", said)


def lung_rads_cyst(
    wall: str,
    multilocular: bool,
    status: str = "baseline",
    *,
    wall_growing: bool = False,
    became_multilocular: bool = False,
    denser: bool = False,
    prior_category: str | None = None,
    months: float | None = None,
) -> LungRads:
    """Proposed category of an atypical cyst; a nodule beside it is scored as a nodule, and the higher counts.

    Cysts with fluid and several cysts in both lungs suggest other diseases and are not scored: leave them out.

    Args:
        wall: ``thin`` (below 2 mm) or ``thick``.
        multilocular: the cyst has more than one compartment.
        status: one of ``STATUSES``; ``growing`` refers to the mean diameter of the cystic part.
        wall_growing: the wall became thicker, or a nodule of the wall is new or grew.
        became_multilocular: the cyst had one compartment at the prior exam.
        denser: the cyst has new or increased opacity, or one with several compartments has more than before.
        prior_category: category at the prior exam; a stable 4A steps down to 3 after 3 months, a stable 3 to 2 after 6.
        months: months since the prior exam.

    Raises:
        ValueError: impossible input.
    """
    thick = choice("wall", wall, WALLS) == "thick"
    choice("status", status, STATUSES)
    wall_growing, denser = flag("wall_growing", wall_growing), flag("denser", denser)
    became_multilocular = flag("became_multilocular", became_multilocular)
    multilocular = flag("multilocular", multilocular) or became_multilocular
    changed = wall_growing or denser or became_multilocular
    said = f"cyst, {wall} wall, {'multilocular' if multilocular else 'one compartment'}, {status}"
    if changed and status in ("baseline", "new"):
        raise ValueError(f"a change needs an earlier exam: status is 'stable' or 'growing', not {status!r}")
    if thick and wall_growing:
        return LungRads("4B", f"{said}: its wall grows")
    if multilocular and denser:
        return LungRads("4B", f"{said}: has more compartments or is denser")
    if became_multilocular:
        return LungRads("4A", f"{said}: it had one compartment before")
    if multilocular and status == "growing":
        return LungRads("4B", f"{said}: grows")
    if thick and status == "growing":
        return LungRads("3", f"{said}: its cystic part grows")
    if not thick and not multilocular:
        return LungRads(None, f"{needs('a reader')}: no row for {said}, changed" if changed else f"not scored: {said}")
    return _stepped_down(said, status, prior_category, months)


def _stepped_down(said: str, status: str, prior_category: str | None, months: float | None) -> LungRads:
    """Category of a cyst of category 4A that is not growing, with the step down of a stable one."""
    if status != "stable" or prior_category is None:
        return LungRads("4A", said)
    choice("prior_category", prior_category, CATEGORIES)
    passed = 0 if months is None else whole_months(months)
    if prior_category == "2" or (prior_category == "3" and passed >= 6):
        return LungRads("2", f"{said}: category {prior_category} before")
    if prior_category == "3" or (prior_category == "4A" and passed >= 3):
        return LungRads("3", f"{said}: category {prior_category} before")
    return LungRads("4A" if prior_category in ("0", "1", "4A") else "4B", f"{said}: category {prior_category} before")
