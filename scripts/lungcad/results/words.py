# SPDX-License-Identifier: Apache-2.0
"""Words of the report: the meaning of its numbers, and their limitations."""

from collections.abc import Mapping, Sequence
from typing import Any

from lungcad.finding import ATTRIBUTES
from lungcad.guidelines import mean_diameter_mm
from lungcad.lidc.scale import SCALES
from lungcad.results.nodules_json import reported_score

LIMITATIONS = (
    "Nodules can be missed, above all small, non-solid, pleural and hilar ones; no finding does not mean no nodule.",
    "Vessels, scars, pleural thickening and consolidation can be reported as nodules.",
    "Probabilities are outputs of neural networks on this scan alone. They know no history, no prior scan and no risk "
    "factor, and are not the patient's risk.",
)

DIAMETER_LIMITATION = (
    "A diameter without axes is that of a sphere fitted by a network. It is not a calliper measurement and must not be "
    "used for size categories or growth."
)
"""Limitation for findings that were not measured."""

MEASUREMENT_LIMITATION = (
    "Axes, volume and kind are measured on a mask that a program drew; slice distance, motion, vessels and blurred "
    "margins change them. Check the outline before you use a size or a category."
)
"""Limitation for findings that were measured."""

MALIGNANCY_LIMITATION = (
    "Malignancy probability and attributes imitate the readers of LIDC-IDRI, who saw the images alone, often disagreed "
    "and rated malignancy as if every patient were a male smoker of 60 years. They were not learnt from pathology."
)
"""Limitation for reports that show a malignancy."""

MALIGNANCY_MEANING = (
    "How probably LIDC-IDRI's readers would on average rate the nodule above rather than below 3 of 5 for suspicion of "
    "malignancy: their opinion from the images, not pathology, and not a risk for this patient."
)


def report_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Entry of the report for a finding of nodules.json: adds its ``score`` and its attributes as ``scales``."""
    attributes = entry["attributes"] or {}
    scales = [_scale(name, attributes[name]) for name in ATTRIBUTES if name in attributes]
    return {**entry, "score": reported_score(entry), "scales": scales}


def shown_mean_mm(measured: Mapping[str, Any]) -> float:
    """Mean diameter in mm of a measurement of nodules.json as Lung-RADS rounds it: the mean of the axes as shown."""
    return mean_diameter_mm(measured["long_axis_mm"], min(measured["short_axis_mm"], measured["long_axis_mm"]))


def shown_size_mm(entry: Mapping[str, Any]) -> float | None:
    """Size in mm of a finding of nodules.json: :func:`shown_mean_mm`, unmeasured the detector's diameter, or None."""
    diameter: float | None = entry["diameter_mm"]
    return diameter if entry["measurement"] is None else shown_mean_mm(entry["measurement"])


def mentions_malignancy(entries: Sequence[Mapping[str, Any]], bundles: Mapping[str, str]) -> bool:
    """Whether the report is about malignancy too, so that a finding without one is shown as not assessed.

    Args:
        entries: all findings; one with a malignancy is enough.
        bundles: versions by name of the bundle; a malignancy bundle may have run and left every finding out.
    """
    rated = any(entry["malignancy_probability"] is not None for entry in entries)
    return rated or any(task in name for name in bundles for task in ("malignancy", "joint"))


def limitations(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """Limitations that a reader must know, for the findings that the page shows."""
    graded = any(entry["malignancy_probability"] is not None or entry["attributes"] for entry in shown)
    measured = [entry["measurement"] is not None for entry in shown]
    texts = ((DIAMETER_LIMITATION, not all(measured) or not shown), (MEASUREMENT_LIMITATION, any(measured)),
             (MALIGNANCY_LIMITATION, graded))  # fmt: skip
    return [*LIMITATIONS, *(text for text, applies in texts if applies)]


def measurement_words(measurement: Mapping[str, Any]) -> str:
    """Measurement of nodules.json in words: kind, mean diameter, doubts and what made the mask."""
    kind, solid = measurement["kind"], measurement["solid_mm"]
    parts = [f"Mean diameter {shown_mean_mm(measurement):.1f} mm", *([kind] if kind else [])]
    parts += [f"solid part {solid:.1f} mm"] if solid is not None else []
    doubts = f" Doubtful: {'; '.join(measurement['doubts'])}." if measurement["doubts"] else ""
    return f"{', '.join(parts)}. Outlined by {measurement['method']}.{doubts}"


def _scale(name: str, score: float) -> dict[str, Any]:
    """Attribute for the page; ``share`` is the length of its bar, None for categories, which have no order."""
    scale = SCALES[name]
    share = None if scale.usual else min(max((score - 1) / (scale.highest - 1), 0.0), 1.0)
    return {
        "label": scale.label, "score": score, "word": scale.in_words(score), "share": share,
        "highest": scale.highest, "low": scale.steps[0], "high": scale.steps[-1],
    }  # fmt: skip
