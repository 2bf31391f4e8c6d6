# SPDX-License-Identifier: Apache-2.0
"""Scores: detection by LUNA16's rules and malignancy classification, with intervals, tables and plots."""
