# SPDX-License-Identifier: Apache-2.0
"""Results of a run: the result and its writers (nodules.json, nodules.csv, report.html, run.json, DICOM objects)."""
