# SPDX-License-Identifier: Apache-2.0
"""Labels, benign or malignant, by the rules of the papers, for ratings and for nodules.

Readers' opinions, not pathology. MTMR-Net labels by the mean malignancy of the readers, JNSC by the median.
"""

from lungcad.lidc.nodules import LidcNodule

INDETERMINATE = 3
"""Mean (MTMR-Net, section III.A) or median (JNSC, section III) malignancy that is neither benign nor malignant."""


def benign_or_malignant(score: float) -> int | None:
    """Class of a mean or median malignancy: below 3 benign (0), above 3 malignant (1), at 3 neither (None)."""
    return None if score == INDETERMINATE else int(score > INDETERMINATE)


def soft_label(median: float) -> float:
    """Soft label of a median malignancy in [0, 1]: 0.25 (median - 1) (JNSC, equation 3)."""
    return 0.25 * (median - 1)


def is_marginal(readers: int, median: float) -> bool:
    """Whether a nodule is marginal: one or two readers and a median malignancy of 2 to 4 (JNSC, section III).

    Both ends and the uncertain 3 are included.
    """
    return 0 < readers <= 2 and 2 <= median <= 4


def mtmrnet_label(nodule: LidcNodule) -> int | None:
    """Label of a nodule by its mean malignancy: benign 0, malignant 1, left out None (MTMR-Net, section III.A)."""
    return benign_or_malignant(nodule.mean["malignancy"])


def jnsc_label(nodule: LidcNodule) -> int | None:
    """Label of a nodule by its median malignancy: benign 0, malignant 1, uncertain None (JNSC, section III).

    Uncertain nodules are used for training, by their soft label, and left out in testing.
    """
    return benign_or_malignant(nodule.median["malignancy"])


def jnsc_soft_label(nodule: LidcNodule) -> float:
    """Soft label of a nodule by its median malignancy, see :func:`soft_label`."""
    return soft_label(nodule.median["malignancy"])


def jnsc_marginal(nodule: LidcNodule) -> bool:
    """Whether a nodule is marginal, see :func:`is_marginal`."""
    return is_marginal(nodule.n_readers, nodule.median["malignancy"])
