# SPDX-License-Identifier: Apache-2.0
"""Scan as the stages see it: working grids, the lung mask, and blanking of tissue far from the lungs."""
