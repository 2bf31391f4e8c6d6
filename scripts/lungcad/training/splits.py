# SPDX-License-Identifier: Apache-2.0
"""Lungs that the bundles are trained on, and those held out, by their names in ``lungs.csv``.

Recipes are compared by networks trained in :data:`TRAINING_LUNGS` and scored in :data:`HELD_OUT_LUNGS`. Shipped weights
may go on from there in :data:`FINAL_LUNGS`, and are scored in :data:`LIDC_LUNGS`, which no network ever sees.
"""

LIDC_LUNGS = ("LIDC-IDRI-0001", "LIDC-IDRI-0314")
_OTHER_HELD_OUT_LUNGS = ("CMB-CRC-MSB-01068", "ACRIN-NSCLC-FDG-PET-042")
HELD_OUT_LUNGS = (*LIDC_LUNGS, *_OTHER_HELD_OUT_LUNGS)
TRAINING_LUNGS = (
    "TCGA-DE-A4MA", "LCTSC-Test-S1-101", "TotalSegmentator-aorta", "LungFCP-01-0001", "4D-Lung-113_HM10395"
)  # fmt: skip
FINAL_LUNGS = (*TRAINING_LUNGS, *_OTHER_HELD_OUT_LUNGS)
