# SPDX-License-Identifier: Apache-2.0
"""Benign or malignant, by the rule of each paper. Readers' opinions, not pathology."""

from lungcad.lidc.nodules import LidcNodule

INDETERMINATE = 3
"""Of LIDC's scale 1 to 5; both papers take it as neither."""


def mtmrnet_label(nodule: LidcNodule) -> int | None:
    """MTMR-Net, section III.A: mean malignancy below 3 is benign (0), above malignant (1), 3 is left out (None)."""
    return _side(nodule.mean["malignancy"])


def jnsc_label(nodule: LidcNodule) -> int | None:
    """JNSC, section III: median malignancy below 3 is benign (0), above malignant (1), 3 is uncertain (None).

    Uncertain nodules are trained on, by their soft label, and left out in testing.
    """
    return _side(nodule.median["malignancy"])


def jnsc_soft_label(nodule: LidcNodule) -> float:
    """JNSC, equation 3: 0.25 (median malignancy - 1), in [0, 1]."""
    return 0.25 * (nodule.median["malignancy"] - 1)


def jnsc_marginal(nodule: LidcNodule) -> bool:
    """JNSC, section III: one or two readers and a median of 2 to 4, the ends and the uncertain 3 included."""
    return nodule.n_readers <= 2 and 2 <= nodule.median["malignancy"] <= 4


def _side(malignancy: float) -> int | None:
    return None if malignancy == INDETERMINATE else int(malignancy > INDETERMINATE)
