# SPDX-License-Identifier: Apache-2.0
"""The refusal of a DICOM series: one exception with a stable code."""

from lungcad.errors import InputError


class DicomSeriesError(InputError):
    """A DICOM input that is not turned into a volume; ``code`` is one of the table in ``docs/intake.md``."""


AGAIN = "Export or copy the series again from the archive."
"""Advice where the data themselves are damaged or incomplete."""
