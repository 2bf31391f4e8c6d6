# SPDX-License-Identifier: Apache-2.0
"""Folds by patient that are the same on every machine and do not move when patients are added."""

import zlib


def patient_fold(patient_id: str, folds: int) -> int:
    """Fold of a patient, 0 to ``folds - 1``: CRC-32 of the id followed by ``cv``, modulo the number of folds.

    Example:
        >>> patient_fold("LIDC-IDRI-0001", 5), patient_fold("LIDC-IDRI-0001", 10)
        (4, 4)
    """
    return zlib.crc32(f"{patient_id}cv".encode()) % folds
