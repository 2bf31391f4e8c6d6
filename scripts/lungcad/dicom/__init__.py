# SPDX-License-Identifier: Apache-2.0
"""DICOM intake: one validated CT series as a volume in HU, or a refusal with a code.

Importing this package imports neither torch nor monai.
"""

from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.rank import choose_best, rank_series
from lungcad.dicom.series import AcquisitionSummary, SeriesSummary, list_series, read_series

__all__ = [
    "AcquisitionSummary", "DicomSeriesError", "Leniency", "SeriesSummary", "choose_best", "list_series", "rank_series",
    "read_series",
]  # fmt: skip
