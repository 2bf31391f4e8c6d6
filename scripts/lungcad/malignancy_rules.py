# SPDX-License-Identifier: Apache-2.0
"""What the papers make of readers' malignancy scores, 1 to 5. Opinions, not pathology."""

INDETERMINATE = 3
"""Mean (MTMR-Net, section III.A) or median (JNSC, section III) that is neither benign nor malignant."""


def benign_or_malignant(score: float) -> int | None:
    """Below 3 is benign (0), above malignant (1), 3 neither (None)."""
    return None if score == INDETERMINATE else int(score > INDETERMINATE)


def soft_label(median: float) -> float:
    """JNSC, equation 3: 0.25 (median - 1), in [0, 1]."""
    return 0.25 * (median - 1)


def is_marginal(readers: int, median: float) -> bool:
    """JNSC, section III: one or two readers and a median of 2 to 4, the ends and the uncertain 3 included."""
    return 0 < readers <= 2 and 2 <= median <= 4
