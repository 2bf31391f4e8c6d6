# SPDX-License-Identifier: Apache-2.0
"""Suppression of pydicom's warnings and log lines: they quote tags, with names and escape sequences in them."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from pydicom.config import disable_value_validation


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Read DICOM values without pydicom's validation, warnings and log lines; every value is checked by the intake."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with disable_value_validation(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    finally:
        logger.setLevel(level)
