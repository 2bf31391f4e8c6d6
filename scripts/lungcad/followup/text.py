# SPDX-License-Identifier: Apache-2.0
"""Text of a comparison for a radiology information system: three to five plain sentences in ASCII."""

from collections.abc import Mapping, Sequence
from typing import Any

from lungcad.followup.documents import is_known
from lungcad.guidelines.lung_rads_result import CATEGORIES
from lungcad.results.ris_text import place_text, reservations
from lungcad.results.words import shown_mean_mm

MAX_NAMED = 3
"""Largest number of nodules that the text describes; it counts the others."""
SAID = frozenset({"W-PAIR-PATIENT", "W-PAIR-REGISTRATION", "W-PAIR-PROTOCOL", "W-COVERAGE"})
"""Codes of warnings that the text repeats; the page has all."""
NOT_COMPUTED = "growth not computed"
"""Beginning of a nodule's reason that holds for all nodules, and has a sentence of its own."""


def comparison_text(document: Mapping[str, Any]) -> str:
    """Sentences on a comparison, to be checked and pasted by a radiologist.

    Args:
        document: document of comparison.json.
    """
    days, lesions = document["days"], document["lesions"]
    before = ", the interval not known" if days is None else f" {days:g} days before"
    sentences = [
        f"Computer-aided comparison (lungcad {document['software']['lungcad']}, research use only, not a medical "
        f"device) with the CT{before}: {document['summary']}."
    ]
    if lesions:
        unnamed = f"; and {len(lesions) - MAX_NAMED} more in the comparison" if len(lesions) > MAX_NAMED else ""
        named = "; ".join(_lesion_text(item) for item in _deciding_first(lesions)[:MAX_NAMED])
        sentences.append(f"{named}{unnamed}.")
    refused = document["growth_refused"]
    limits = [f"growth was not computed: {', '.join(refused)}"] if refused else []
    limits += [_clause(item["text"]) for item in document["warnings"] if item["code"] in SAID]
    if limits:
        text = "; ".join(limits)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    if (category := document["lung_rads"]) is not None:
        sentences.append(_category_text(category))
    return " ".join([*sentences, "Marks can be vessels or scars, and nodules can be missed: the images decide."])


def _clause(text: str) -> str:
    """Text of a warning as a part of a sentence."""
    return text.rstrip(".").replace(". ", "; ")


def _category_text(category: Mapping[str, Any]) -> str:
    """Sentence on the category of the scan, or on what it lacks."""
    said = f"Lung-RADS: {category['reason']}"
    if category["category"] is not None:
        said = f"{category['condition']}: proposed Lung-RADS {category['category']} ({category['reason']})"
    return f"{said}{reservations(category['not_computed'], category['assumed'])}."


def _deciding_first(lesions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Nodules in the order of the text: the one of the highest category, then as in the document."""
    categories = [(lesion["lung_rads"] or {}).get("category") for lesion in lesions]
    ranks = [-1 if category is None else CATEGORIES.index(category) for category in categories]
    first = ranks.index(max(ranks))
    return [lesions[first], *lesions[:first], *lesions[first + 1 :]]


def _lesion_text(lesion: Mapping[str, Any]) -> str:
    """Status, sizes, change, kind, place, doubts and images of a nodule."""
    change = lesion["change"]
    low, high = change["error_percent"] if change else (0, 0)
    course = f"volume {change['volume_percent']:+.0f} % (error {low:+.0f} to {high:+.0f} %)" if change else ""
    doubling = f"doubling time {change['doubling_days']:.0f} days" if change and change["doubling_days"] else ""
    doubt = "measurement in doubt" if lesion["doubts"] else ""
    parts = (f"({lesion['id']}) {lesion['status']}", _why(lesion), _sizes(lesion), course, doubling, _kinds(lesion),
             _place(lesion), doubt, _images(lesion))  # fmt: skip
    return ", ".join(filter(None, parts))


def _why(lesion: Mapping[str, Any]) -> str:
    """Reason why a nodule is not comparable, unless it holds for all and is said for all."""
    has_own_reason = lesion["status"] == "not comparable" and not lesion["reason"].startswith(NOT_COMPUTED)
    return f"because {lesion['reason']}" if has_own_reason else ""


def _measured(lesion: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Measurements of a nodule, prior first."""
    return [side["measurement"] for side in (lesion["prior"], lesion["current"]) if side["measurement"]]


def _sizes(lesion: Mapping[str, Any]) -> str:
    """Mean diameters, and those of a solid part."""
    sizes = _measured(lesion)
    cores = [f"{size['solid_mm']:.1f}" for size in sizes if size.get("solid_mm")]
    core = f", solid part {' to '.join(cores)} mm" if cores else ""
    means = " to ".join(f"{shown_mean_mm(size):.1f}" for size in sizes)
    return f"{means} mm mean diameter{core}" if means else "not measured"


def _kinds(lesion: Mapping[str, Any]) -> str:
    """Kind of a nodule, or both where it changed."""
    kinds = list(dict.fromkeys(size.get("kind") or "kind unknown" for size in _measured(lesion)))
    return " before, now ".join(kinds)


def _place(lesion: Mapping[str, Any]) -> str:
    """Place in the current scan if that shows the nodule, else in the prior."""
    return place_text(lesion["current"] if lesion["current"]["present"] else lesion["prior"])


def _images(lesion: Mapping[str, Any]) -> str:
    """Image of the current scan, and of the prior one where that alone shows the nodule; none of an unsure place."""
    current, prior = lesion["current"], lesion["prior"]
    if current["present"]:
        return _image(current)
    looked = f", looked for at {_image(current)}" if is_known(current) else ""
    return f"prior {_image(prior)}{looked}"


def _image(side: Mapping[str, Any]) -> str:
    """Image of a scan by its number, or by its place in the series."""
    number = side["slice"]["instance_number"]
    return f"slice {side['slice']['index'] + 1}" if number is None else f"image {number}"
