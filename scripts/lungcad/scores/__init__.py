# SPDX-License-Identifier: Apache-2.0
"""Scores by LUNA16's rules and of malignancy predictions, with intervals, tables and plots."""
