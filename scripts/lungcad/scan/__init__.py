# SPDX-License-Identifier: Apache-2.0
"""A scan as the stages see it: working grids, the lung mask, blanking of what is far from the lungs."""
