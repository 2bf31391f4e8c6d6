# SPDX-License-Identifier: Apache-2.0
"""Findings as DICOM objects for the archive: a structured report, and a segmentation where there are masks."""

from lungcad.results.dicom.write import REPORT_FILE, SEGMENTATION_FILE, write_dicom, write_dicom_results

__all__ = ["REPORT_FILE", "SEGMENTATION_FILE", "write_dicom", "write_dicom_results"]
