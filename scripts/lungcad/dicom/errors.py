# SPDX-License-Identifier: Apache-2.0
"""Refusal of a DICOM series: one exception with a stable code."""

from lungcad.errors import InputError


class DicomSeriesError(InputError):
    """Refusal of a DICOM input; ``code`` is one of the table in ``docs/intake.md``."""


AGAIN = "Export or copy the series again from the archive."
"""Advice for data that are damaged or incomplete."""


def implausible(text: str) -> DicomSeriesError:
    """Refusal E-HU-RANGE of values that cannot be CT, or of a damaged slice, to be raised."""
    return DicomSeriesError("E-HU-RANGE", f"Not plausible for CT: {text}.", AGAIN)
