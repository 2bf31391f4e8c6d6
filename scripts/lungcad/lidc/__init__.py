# SPDX-License-Identifier: Apache-2.0
"""LIDC-IDRI: from the readers' outlines and ratings to one record per nodule, with labels, sizes and counts."""
