# SPDX-License-Identifier: Apache-2.0
"""Assessment by Fleischner 2017 of a scan with nodules found by chance."""

from collections.abc import Mapping

from lungcad.guidelines import fleischner
from lungcad.guidelines.fleischner import LARGE, RISKS, Fleischner
from lungcad.guidelines.inputs import needs
from lungcad.measurement import Measurement
from lungcad.results.plain_words import plain_words
from lungcad.results.proposal import (
    ALL_MARKS,
    BY_CHANCE,
    FLEISCHNER,
    Assessment,
    Numbered,
    doubtful,
    shows_whole_lungs,
)
from lungcad.results.result import Result


def assess_by_fleischner(result: Result, numbered: Numbered, missing: Mapping[int, str]) -> Assessment:
    """Assessment by Fleischner 2017 of the leading finding, for all that is not known: risks, and number of nodules.

    A finding without a measurement could be the leading one: the class then stays open, except above 8 mm and solid,
    where no other finding could ask for more.

    Args:
        result: result, for its warnings.
        numbered: reported findings with their ids.
        missing: reason why a finding cannot be judged by its id; empty if it can.
    """
    sizes = {number: finding.measurement for number, finding in numbered
             if finding.measurement and not missing[number]}  # fmt: skip
    left_out = tuple(filter(None, missing.values()))
    if not sizes:
        return Assessment(FLEISCHNER, None, None, "; ".join(left_out), needs("the category"), ())
    leading = _leading(sizes)
    try:
        found = _of(sizes[leading], None, len(numbered) > 1)
        recommendation = _recommendation(sizes[leading], len(numbered) > 1)
    except ValueError as error:
        reason = plain_words(f"{needs(f'possible sizes of finding {leading}')} ({error})")
        return Assessment(FLEISCHNER, None, leading, "; ".join((reason, *left_out)), needs("the category"), ())
    most = f"finding {leading} is the most suspicious one"
    assumptions = (
        BY_CHANCE, "35 years or older, no known cancer, no immunosuppression", "the risk of cancer is not known",
        *([most] if len(numbered) > 1 and not left_out else []), *doubtful(numbered, (leading,)),
        *([] if shows_whole_lungs(result.warnings) else ["no nodule in the part of the lungs that is not shown"]),
        ALL_MARKS,
    )  # fmt: skip
    reason = plain_words(f"finding {leading}, {found.reason}")
    if left_out and not (found.category == LARGE and sizes[leading].kind == "solid"):
        reason = f"{'; '.join(left_out)}; at least {found.category} ({reason})"
        return Assessment(FLEISCHNER, None, leading, reason, needs("the category"), assumptions)
    return Assessment(
        FLEISCHNER, found.category, leading, reason, plain_words(recommendation), assumptions, left_out
    )


def _leading(sizes: Mapping[int, Measurement]) -> int:
    """Id of the finding that decides: the largest."""
    return max(sizes, key=lambda number: sizes[number].mean_diameter_mm)


def _of(size: Measurement, risk: str | None, multiple: bool) -> Fleischner:
    """Class and recommendation of a nodule."""
    assert size.kind is not None  # missing_for_category says so
    core = size.solid_mm if size.kind == "part-solid" else None
    return fleischner(size.kind, size.mean_diameter_mm, risk, multiple, solid_mm=core)


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
