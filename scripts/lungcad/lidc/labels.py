# SPDX-License-Identifier: Apache-2.0
"""Benign or malignant, by the rule of each paper. Readers' opinions, not pathology."""

from lungcad.lidc.nodules import LidcNodule
from lungcad.malignancy_rules import benign_or_malignant, is_marginal, soft_label


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
