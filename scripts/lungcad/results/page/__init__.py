# SPDX-License-Identifier: Apache-2.0
"""Offline page of a result: the report with its words, pictures, slices and viewer."""
