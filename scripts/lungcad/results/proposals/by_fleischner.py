# SPDX-License-Identifier: Apache-2.0
"""Assessment by Fleischner 2017 of a scan with nodules found by chance."""

import re
from collections.abc import Mapping, Sequence

from lungcad.guidelines import Leading, fleischner, fleischner_leading
from lungcad.guidelines.fleischner import LARGE, RISKS, Fleischner
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement
from lungcad.results.proposals.plain_words import plain_words
from lungcad.results.proposals.proposal import (
    ALL_MARKS,
    BY_CHANCE,
    FLEISCHNER,
    Assessment,
    Numbered,
    doubtful,
    said_once,
    shows_whole_lungs,
)
from lungcad.results.result import Result

OUTSIDE = "not applicable"
"""Beginning of a recommendation for what the guideline is not made for, such as a mass."""


def assess_by_fleischner(result: Result, numbered: Numbered, missing: Mapping[int, str]) -> Assessment:
    """Assessment by Fleischner 2017 of the leading finding, for all that is not known: risk, and number of nodules.

    A finding without a measurement could be the leading one: the class then stays open, except above 8 mm and solid,
    where no other finding could ask for more.

    Args:
        result: result, for its warnings.
        numbered: reported findings with their ids.
        missing: reason why a finding cannot be judged by its id; empty if it can.
    """
    sizes, left_out = _judged(numbered, missing)
    if not sizes:
        return _open(None, "; ".join(left_out), ())
    ids = list(sizes)
    leads = fleischner_leading([_arguments(size) for size in sizes.values()])
    masses = [number for number, size in sizes.items() if _of(size, None, False).recommendation.startswith(OUTSIDE)]
    leading = max(masses, key=lambda number: sizes[number].mean_diameter_mm) if masses else ids[leads.index]
    several = leads.multiple or bool(left_out)
    found = _of(sizes[leading], None, several)
    assumptions = _assumptions(result, numbered, leading, sizes[leading], sure=not left_out and not masses)
    reason = f"finding {leading}, {found.reason}"
    if masses:
        return _open(leading, f"{found.recommendation} ({reason})", assumptions)
    if left_out and not (found.category == LARGE and sizes[leading].kind == "solid"):
        return _open(leading, f"{'; '.join(left_out)}; at least {found.category} ({reason})", assumptions)
    recommendation = plain_words(_recommendation(sizes[leading], several))
    return Assessment(
        FLEISCHNER, found.category, leading, reason, recommendation, assumptions, (*left_out, *_questions(leads, ids))
    )


def _judged(numbered: Numbered, missing: Mapping[int, str]) -> tuple[dict[int, Measurement], list[str]]:
    """Measurements by the ids of the findings that can be judged, and why the others cannot."""
    sizes, left_out = dict[int, Measurement](), dict[int, list[str]]()
    for number, finding in numbered:
        if missing[number] or finding.measurement is None:
            left_out[number] = [missing[number]]
            continue
        try:
            _of(finding.measurement, None, False)
            sizes[number] = finding.measurement
        except ValueError as error:
            left_out[number] = [plain_words(f"{needs(f'possible sizes of finding {number}')} ({error})")]
    return sizes, said_once(left_out)


def _open(leading: int | None, reason: str, assumptions: tuple[str, ...]) -> Assessment:
    """Assessment without a category."""
    recommendation = reason if reason.startswith(OUTSIDE) else needs("the category")
    return Assessment(FLEISCHNER, None, leading, reason, recommendation, assumptions)


def _assumptions(
    result: Result, numbered: Numbered, leading: int, size: Measurement, sure: bool
) -> tuple[str, ...]:  # fmt: skip
    """Circumstances taken for granted; ``sure``: the leading finding was chosen among all."""
    further = (
        (f"finding {leading} is the most suspicious one", sure and len(numbered) > 1),
        ("the mean diameter of the solid part stands for its longest one", _arguments(size)[2] is not None),
        ("no nodule in the part of the lungs that is not shown", not shows_whole_lungs(result.warnings)),
    )
    return (
        BY_CHANCE, "35 years or older, no known cancer, no immunosuppression", "the risk of cancer is not known",
        *(text for text, applies in further if applies), *doubtful(numbered, (leading,)), ALL_MARKS,
    )  # fmt: skip


def _questions(leads: Leading, ids: Sequence[int]) -> list[str]:
    """Missing sizes that could change the leading nodule, with the ids of the findings."""
    return [
        plain_words(re.sub(r"nodule (\d+)", lambda found: f"finding {ids[int(found[1]) - 1]}", text))
        for text in leads.not_computed
    ]


def _arguments(size: Measurement) -> tuple[str, float, float | None]:
    """Kind, mean diameter, and the mean diameter of a part-solid nodule's solid part."""
    assert size.kind is not None  # missing_for_category says so
    return size.kind, size.mean_diameter_mm, size.solid_mm if size.kind == "part-solid" else None


def _of(size: Measurement, risk: str | None, multiple: bool) -> Fleischner:
    """Class and recommendation of a nodule; raises ValueError for impossible sizes."""
    kind, mean_mm, solid_mm = _arguments(size)
    return fleischner(kind, mean_mm, risk, multiple, solid_mm=solid_mm)


def _recommendation(size: Measurement, several: bool) -> str:
    """Recommendation for a nodule; where other marks could be no nodules, for it alone too."""
    alone = _for_all_risks(size, multiple=False)
    if not several or (together := _for_all_risks(size, multiple=True)) == alone:
        return alone
    return f"if other marks are nodules too: {together}; if it is the only nodule: {alone}"


def _for_all_risks(size: Measurement, multiple: bool) -> str:
    """Recommendation for a nodule; for both risks where they differ."""
    found = _of(size, None, multiple).recommendation
    if not found.startswith(needs("risk")):
        return found
    return "; ".join(f"at {risk} risk {_of(size, risk, multiple).recommendation}" for risk in RISKS)
