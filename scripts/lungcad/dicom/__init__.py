# SPDX-License-Identifier: Apache-2.0
"""DICOM intake: one validated CT series as a volume in HU, or a refusal with a code.

Importing this package imports neither torch nor monai.
"""

from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.series import SeriesSummary, list_series, read_series

__all__ = ["DicomSeriesError", "Leniency", "SeriesSummary", "list_series", "read_series"]
