# SPDX-License-Identifier: Apache-2.0
"""Text of a comparison for a radiology information system: three to five plain sentences in ASCII."""

from collections.abc import Mapping
from typing import Any

MOST_NAMED = 3
"""Largest number of nodules that the text describes; it counts the others."""


def comparison_text(document: Mapping[str, Any]) -> str:
    """Sentences on a comparison, to be checked and pasted by a radiologist.

    Args:
        document: document of comparison.json.
    """
    before = "" if document["days"] is None else f" {document['days']:g} days before"
    lesions, category = document["lesions"], document["lung_rads"]
    sentences = [
        f"Computer-aided comparison (lungcad {document['software']['lungcad']}, research use only, not a medical "
        f"device) with the CT{before}: {document['summary']}."
    ]
    if lesions:
        more = f"; and {len(lesions) - MOST_NAMED} more in the comparison" if len(lesions) > MOST_NAMED else ""
        sentences.append(f"{'; '.join(_lesion_text(one) for one in lesions[:MOST_NAMED])}{more}.")
    if document["growth_refused"]:
        sentences.append(f"Growth was not computed: {'; '.join(document['growth_refused'])}.")
    if category and category["category"]:
        sentences.append(f"{category['condition']}: proposed Lung-RADS {category['category']} ({category['reason']}).")
    return " ".join([*sentences, "Marks can be vessels or scars, and nodules can be missed: the images decide."])


def _lesion_text(lesion: Mapping[str, Any]) -> str:
    """Status, sizes, change and images of a nodule."""
    sides, change = (lesion["prior"], lesion["current"]), lesion["change"]
    means = [side["measurement"] and f"{side['measurement']['mean_diameter_mm']:.1f}" for side in sides]
    shown = [mean for mean in means if mean]
    size = f"{' to '.join(shown)} mm mean diameter" if shown else "not measured"
    low, high = change["error_percent"] if change else (0, 0)
    course = f"volume {change['volume_percent']:+.0f} % (error {low:+.0f} to {high:+.0f} %)" if change else ""
    grows = change and lesion["status"] == "growing" and change["doubling_days"]
    doubling = f"doubling time {change['doubling_days']:.0f} days" if grows else ""
    image = _image(lesion["current"]) if lesion["current"]["scanned"] else ""
    return ", ".join(filter(None, (f"({lesion['id']}) {lesion['status']}", size, course, doubling, image)))


def _image(side: Mapping[str, Any]) -> str:
    """Image of the current scan by its number, or by its place in the series."""
    number = side["slice"]["instance_number"]
    return f"slice {side['slice']['index'] + 1}" if number is None else f"image {number}"
