# SPDX-License-Identifier: Apache-2.0
"""LIDC-IDRI's scales of a nodule's eight attributes, in words: what readers meant by 1, 2, 3 ..."""

import math
from dataclasses import dataclass

CATEGORY_TOLERANCE = 0.5
"""How far a mean may be from a scale's end and still name the category there.

Every other category is at least 1 away, so a mean nearer than 0.5 tells that more than half of the readers named it.
"""

UNCERTAIN = "uncertain"
"""Word for a mean of categories that names none."""


@dataclass(frozen=True)
class Scale:
    """One attribute's scale, which begins at 1.

    Attributes:
        label: for people; LIDC's own spelling is the key in :data:`SCALES`.
        steps: names of the scores 1, 2 ...
        usual: where steps are categories and not degrees, the one at an end of the scale that most nodules have;
            None where a higher score means more of the same.
    """

    label: str
    steps: tuple[str, ...]
    usual: int | None = None

    @property
    def highest(self) -> int:
        """The last score."""
        return len(self.steps)

    def nearest_step(self, score: float) -> int:
        """Return the score of the nearest step, the upper one half way; beyond the scale its end."""
        return min(max(math.floor(score + 0.5), 1), self.highest)

    def in_words(self, score: float) -> str:
        """Name a mean score: the nearest step; of categories the usual one or :data:`UNCERTAIN`.

        The mean of categories is none of them: 3 is what readers of 1 (popcorn) and 5 (central) come to, and no word.

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
"""By :data:`lungcad.finding.ATTRIBUTES`, in their order."""

SCALE_ENDS = {name: scale.highest for name, scale in SCALES.items()}
"""LIDC's scales begin at 1 and end here."""
