# SPDX-License-Identifier: Apache-2.0
"""Benign or malignant, by the rule of each paper. Readers' opinions, not pathology."""

from lungcad.lidc.nodules import LidcNodule


def mtmrnet_label(nodule: LidcNodule) -> int | None:
    """MTMR-Net, section III.A: mean malignancy below 3 is benign (0), above malignant (1), 3 is left out (None)."""
    return benign_or_malignant(nodule.mean["malignancy"])


def jnsc_label(nodule: LidcNodule) -> int | None:
    """JNSC, section III: median malignancy below 3 is benign (0), above malignant (1), 3 is uncertain (None).

    Uncertain nodules are trained on, by their soft label, and left out in testing.
    """
    return benign_or_malignant(nodule.median["malignancy"])


def jnsc_soft_label(nodule: LidcNodule) -> float:
    """JNSC, equation 3: 0.25 (median malignancy - 1), in [0, 1]."""
    return soft_label(nodule.median["malignancy"])


def jnsc_marginal(nodule: LidcNodule) -> bool:
    """JNSC, section III: one or two readers and a median of 2 to 4, the ends and the uncertain 3 included."""
    return is_marginal(nodule.n_readers, nodule.median["malignancy"])

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
