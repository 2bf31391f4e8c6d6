# SPDX-License-Identifier: Apache-2.0
"""What the report says in words: what its numbers mean, and what they do not."""

from collections.abc import Mapping, Sequence
from typing import Any

from lungcad.finding import ATTRIBUTES
from lungcad.lidc.scale import SCALES
from lungcad.results.nodules_json import reported_score

LIMITATIONS = (
    "Nodules can be missed, above all small, non-solid, pleural and hilar ones; no finding does not mean no nodule.",
    "Vessels, scars, pleural thickening and consolidation can be reported as nodules.",
    "Probabilities are outputs of neural networks on this scan alone. They know no history, no prior scan and no risk "
    "factor, and are not the patient's risk.",
    "A diameter is that of a sphere fitted by a network. It is not a calliper measurement and must not be used for "
    "size categories or growth.",
)

MALIGNANCY_LIMITATION = (
    "Malignancy probability and attributes imitate the readers of LIDC-IDRI, who saw the images alone, often disagreed "
    "and rated malignancy as if every patient were a male smoker of 60 years. They were not learnt from pathology."
)
"""Only where a malignancy is shown."""

MALIGNANCY_MEANING = (
    "How probably LIDC-IDRI's readers would on average rate the nodule above rather than below 3 of 5 for suspicion of "
    "malignancy: their opinion from the images, not pathology, and not a risk for this patient."
)


def described(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a finding (as a dict) the score that it is reported with, and its attributes as the page shows them."""
    attributes = entry["attributes"] or {}
    scales = [_scale(name, attributes[name]) for name in ATTRIBUTES if name in attributes]
    return {**entry, "score": reported_score(entry), "scales": scales}


def characterised(entries: Sequence[Mapping[str, Any]], bundles: Mapping[str, str]) -> bool:
    """Tell whether the report has malignancy as a subject, so that a finding without it is one not assessed.

    Args:
        entries: all findings; one with a malignancy is enough.
        bundles: name to version; one that judges malignancy may have run and left every finding out.
    """
    known = any(one["malignancy_probability"] is not None for one in entries)
    return known or any(task in name for name in bundles for task in ("malignancy", "joint"))


def limitations(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what a reader must know of the findings that the page shows."""
    graded = any(one["malignancy_probability"] is not None or one["attributes"] for one in shown)
    return [*LIMITATIONS, *([MALIGNANCY_LIMITATION] if graded else [])]


def _scale(name: str, score: float) -> dict[str, Any]:
    """An attribute for the page; ``share`` is the bar's, None of categories, which have no more and less."""
    scale = SCALES[name]
    share = None if scale.usual else min(max((score - 1) / (scale.highest - 1), 0.0), 1.0)
    return {
        "label": scale.label, "score": score, "word": scale.in_words(score), "share": share,
        "highest": scale.highest, "low": scale.steps[0], "high": scale.steps[-1],
    }  # fmt: skip
