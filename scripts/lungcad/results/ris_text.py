# SPDX-License-Identifier: Apache-2.0
"""Text of a result for a radiology information system: three to five plain sentences in ASCII."""

from collections.abc import Mapping, Sequence
from typing import Any

from lungcad.results.nodules_json import reported_score
from lungcad.results.proposals.plain_words import open_questions
from lungcad.results.proposals.proposal import IN_THE_CONDITION
from lungcad.results.words import shown_mean_mm

MAX_NAMED = 3
"""Largest number of findings that the text describes; it counts the others."""


def ris_text(document: Mapping[str, Any], reported: Sequence[Mapping[str, Any]]) -> str:
    """Sentences on a result, to be checked and pasted by a radiologist.

    Args:
        document: document of nodules.json.
        reported: its reported findings, each with its ``side`` of the body.
    """
    series, software = document["series"], document["software"]
    threshold = document["thresholds"][document["operating_point"]]
    count, distance = series["size_vox"][2], series["spacing_mm"][2]
    sentences = [
        f"Computer-aided nodule detection (lungcad {software['lungcad']}, research use only, not a medical device) on "
        f"{count} CT slices {distance:.1f} mm apart."
    ]
    if reported:
        marks = "1 mark" if len(reported) == 1 else f"{len(reported)} marks"
        first = _deciding_first(reported, document["assessment"])[:MAX_NAMED]
        named = "; ".join(finding_text(entry) for entry in first)
        unknown = ", or an unknown one" if any(reported_score(entry) is None for entry in reported) else ""
        unnamed = f"; and {len(reported) - MAX_NAMED} more in the report" if len(reported) > MAX_NAMED else ""
        sentences += [
            f"{marks} with a nodule probability of {threshold:g} or more{unknown}: {named}{unnamed}.",
            *assessment_sentences(document["assessment"]),
            "Marks can be vessels or scars, and nodules can be missed: the images decide.",
        ]
    else:
        sentences += [f"No mark with a nodule probability of {threshold:g} or more.",
                      "That does not exclude a nodule."]  # fmt: skip
    if any(warning["code"] == "W-COVERAGE" for warning in document["warnings"]):
        sentences.append("The scan does not show the whole of the lungs.")
    return " ".join(sentences)


def _deciding_first(
    reported: Sequence[Mapping[str, Any]], assessment: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """Findings in the order of the text: the one that decides the category, unsure sizes, the others."""
    if assessment is None:
        return list(reported)
    return sorted(reported, key=lambda entry: (entry["id"] != assessment["finding"], _is_sure(entry["measurement"])))


def _is_sure(measured: Mapping[str, Any] | None) -> bool:
    """Whether a size can be relied on."""
    return bool(measured and measured["kind"] and not measured["doubts"])


def finding_text(entry: Mapping[str, Any]) -> str:
    """Description of a finding: kind, size, volume, place and image."""
    image = entry["slice"]["instance_number"]
    where = f"slice {entry['slice']['index'] + 1}" if image is None else f"image {image}"
    return ", ".join(filter(None, (f"({entry['id']}) {_size(entry)}", place_text(entry), where)))


def place_text(entry: Mapping[str, Any]) -> str:
    """Place of a finding in words, such as ``upper third of the right lung, at the pleura``; empty if not known."""
    location = entry["location"] or {}
    side, zone = location.get("side") or entry.get("side"), location.get("zone")
    place = f"{side} lung" if side else ""
    if zone:
        place = f"{zone} third of the {side} lung" if side else f"{zone} third of the lungs"
    return ", ".join(filter(None, (place, "at the pleura" if location.get("juxtapleural") else "")))


def _size(entry: Mapping[str, Any]) -> str:
    measured = entry["measurement"]
    if measured is None:
        diameter = entry["diameter_mm"]
        return "size unknown" if diameter is None else f"about {diameter:.0f} mm (not measured)"
    core = f", solid part {measured['solid_mm']:.1f} mm" if measured["solid_mm"] else ""
    doubt = ", measurement in doubt" if measured["doubts"] else ""
    return (
        f"{measured['kind'] or 'nodule'} {measured['long_axis_mm']:.1f} x {measured['short_axis_mm']:.1f} mm, mean "
        f"{shown_mean_mm(measured):.1f} mm{core}, {measured['volume_mm3']:.0f} mm3{doubt}"
    )


def assessment_sentences(assessment: Mapping[str, Any] | None) -> list[str]:
    """Sentence on the category: its condition, reason, open questions, and what it takes for granted beside.

    Without an assessment there is none.
    """
    if assessment is None:
        return []
    guideline, category, reason = (assessment[key] for key in ("guideline", "category", "reason"))
    if category is None:
        said = f"{guideline}: {reason}"
    elif guideline.startswith("Lung-RADS"):
        said = f"{condition(assessment)}: proposed Lung-RADS {category} ({reason})"
    else:
        said = f"{condition(assessment)}, {guideline} proposes: {assessment['recommendation']} ({reason})"
    return [f"{said}{reservations(assessment['not_computed'], assessment['assumptions'])}."]


def reservations(not_computed: Sequence[str], assumptions: Sequence[str]) -> str:
    """End of a sentence on a category: open questions, and assumptions that the sentence does not make itself."""
    granted = [text for text in assumptions if text not in IN_THE_CONDITION]
    asked = f"; open: {open_questions(not_computed)}" if not_computed else ""
    return asked + (f"; taken for granted: {'; '.join(granted)}" if granted else "")


def finding_categories(assessment: Mapping[str, Any] | None) -> dict[int, str]:
    """Lung-RADS categories by the findings' ids; only of findings that have one."""
    findings = assessment["findings"] if assessment else ()
    return {finding["id"]: finding["category"] for finding in findings if finding["category"] is not None}


def condition(assessment: Mapping[str, Any]) -> str:
    """Condition under which the category holds, in the words of a sentence's beginning."""
    if not assessment["guideline"].startswith("Lung-RADS"):
        return "For a nodule found by chance"
    told = "as told" in assessment["assumptions"][0]
    return "If this is the baseline screening CT" if told else "If this were a baseline screening CT"
