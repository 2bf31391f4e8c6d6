# SPDX-License-Identifier: Apache-2.0
"""Results of a run: nodules.json, nodules.csv, report.html, run.json and DICOM objects."""
