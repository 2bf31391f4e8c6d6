# SPDX-License-Identifier: Apache-2.0
"""Lungs that the bundles were trained on, and those held out of every training, by their names in ``lungs.csv``."""

HELD_OUT_LUNGS = ("LIDC-IDRI-0001", "LIDC-IDRI-0314", "CMB-CRC-MSB-01068", "ACRIN-NSCLC-FDG-PET-042")
TRAINING_LUNGS = (
    "TCGA-DE-A4MA", "LCTSC-Test-S1-101", "TotalSegmentator-aorta", "LungFCP-01-0001", "4D-Lung-113_HM10395"
)  # fmt: skip
