# SPDX-License-Identifier: Apache-2.0
"""Lungs that the bundles were trained on, and those held out of every training, by their names in ``lungs.csv``."""

LIDC_LUNGS = ("LIDC-IDRI-0001", "LIDC-IDRI-0314")
HELD_OUT_LUNGS = (*LIDC_LUNGS, "CMB-CRC-MSB-01068", "ACRIN-NSCLC-FDG-PET-042")
TRAINING_LUNGS = (
    "TCGA-DE-A4MA", "LCTSC-Test-S1-101", "TotalSegmentator-aorta", "LungFCP-01-0001", "4D-Lung-113_HM10395"
)  # fmt: skip
FINAL_LUNGS = (*TRAINING_LUNGS, *HELD_OUT_LUNGS[2:])
