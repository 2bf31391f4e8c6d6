# SPDX-License-Identifier: Apache-2.0
"""Scales of the eight attributes in LIDC-IDRI, with the words that readers rated by 1, 2, 3 ..."""

import math
from dataclasses import dataclass

CATEGORY_TOLERANCE = 0.5
"""Distance from a scale's end within which a mean still names the category there.

Every other category is at least 1 away, so with a mean nearer than 0.5 more than half of the readers named it.
"""

UNCERTAIN = "uncertain"
"""Word for a mean of categories that names none of them."""


@dataclass(frozen=True)
class Scale:
    """Scale of one attribute, which begins at 1.

    Attributes:
        label: name for people; LIDC's own spelling is the key in :data:`SCALES`.
        steps: names of the scores 1, 2 ...
        usual: for categories, the score, at an end of the scale, that most nodules have; None for degrees, where a
            higher score means more of the same.
    """

    label: str
    steps: tuple[str, ...]
    usual: int | None = None

    @property
    def highest(self) -> int:
        """Highest score of the scale."""
        return len(self.steps)

    def nearest_step(self, score: float) -> int:
        """Score of the nearest step; the upper one half way, the scale's end beyond the scale."""
        return min(max(math.floor(score + 0.5), 1), self.highest)

    def in_words(self, score: float) -> str:
        """Word for a mean score: the nearest step of degrees; the usual category or :data:`UNCERTAIN` of categories.

        A mean of categories is no category: 1 (popcorn) and 5 (central) have the mean 3, which means nothing.

        Example:
            >>> SCALES["margin"].in_words(4.2), SCALES["calcification"].in_words(5.4)
            ('near sharp', 'uncertain')
        """
        if self.usual is None:
            return self.steps[self.nearest_step(score) - 1]
        return self.steps[self.usual - 1] if abs(score - self.usual) < CATEGORY_TOLERANCE else UNCERTAIN


_DEGREES = ("none", "nearly none", "medium", "near marked", "marked")

SCALES = {
    "subtlety": Scale(
        "Subtlety", ("extremely subtle", "moderately subtle", "fairly subtle", "moderately obvious", "obvious")
    ),
    "internalStructure": Scale("Internal structure", ("soft tissue", "fluid", "fat", "air"), usual=1),
    "calcification": Scale(
        "Calcification", ("popcorn", "laminated", "solid", "non-central", "central", "absent"), usual=6
    ),
    "sphericity": Scale("Sphericity", ("linear", "ovoid/linear", "ovoid", "ovoid/round", "round")),
    "margin": Scale("Margin", ("poorly defined", "near poorly defined", "medium", "near sharp", "sharp")),
    "lobulation": Scale("Lobulation", _DEGREES),
    "spiculation": Scale("Spiculation", _DEGREES),
    "texture": Scale(
        "Texture", ("non-solid/ground glass", "non-solid/mixed", "part solid/mixed", "solid/mixed", "solid")
    ),
}
"""Scales by name of the attribute, in the order of :data:`lungcad.finding.ATTRIBUTES`."""

SCALE_ENDS = {name: scale.highest for name, scale in SCALES.items()}
"""Highest scores by name of the attribute; all scales begin at 1."""
