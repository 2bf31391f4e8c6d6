# SPDX-License-Identifier: Apache-2.0
"""Plain words for what a guideline lacks: its functions name missing inputs by their arguments, a reader must not.

Every clinical text passes here where it is made, so that files, pages, reports and texts say the same.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from lungcad.guidelines import LungRads

ARGUMENTS = {
    "solid_mm": "the diameter of the solid part",
    "prior_solid_mm": "the diameter of the solid part at the prior CT",
    "mean_mm": "the mean diameter",
    "prior_mm": "the mean diameter at the prior CT",
    "long_mm": "the long axis",
    "short_mm": "the short axis",
    "prior_kind": "the kind at the prior CT",
    "prior_category": "the category at the prior CT",
}
"""Words for arguments of the guidelines' functions; others lose their underscores."""

SINGLE_WORDS = {
    r"needs months(?: between the exams)?": "needs the months between the exams",
    r"needs risk\b": "needs the risk of cancer",
}
"""Patterns of missing inputs that are words of plain text too, and what is written in their place."""


def plain_words(text: str) -> str:
    """Text of a guideline's function without names of arguments.

    Example:
        >>> plain_words("not computed: needs solid_mm, prior_category")
        'not computed: needs the diameter of the solid part, the category at the prior CT'
    """
    for pattern, words in SINGLE_WORDS.items():
        text = re.sub(pattern, words, text)
    return re.sub(r"\b[a-z]+(?:_[a-z0-9]+)+\b", lambda found: _words(found[0]), text)


def _words(argument: str) -> str:
    return ARGUMENTS.get(argument, argument.replace("_", " "))


def in_plain_words(found: LungRads) -> LungRads:
    """Lung-RADS category with all its texts in plain words."""
    assumed, questions = (tuple(map(plain_words, texts)) for texts in (found.assumed, found.not_computed))
    return replace(found, reason=plain_words(found.reason), assumed=assumed, not_computed=questions)


def open_questions(not_computed: Sequence[str]) -> str:
    """Missing inputs as one text for a reader, without the words ``not computed: needs``."""
    return "; ".join(plain_words(text).removeprefix("not computed: ").removeprefix("needs ") for text in not_computed)
