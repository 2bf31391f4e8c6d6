# SPDX-License-Identifier: Apache-2.0
"""Any input to one validated volume: DICOM folders, volume files and their headers, the reader for MONAI."""
