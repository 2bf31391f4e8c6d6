# SPDX-License-Identifier: Apache-2.0
"""Yao and Zhang 2018: candidates by a small U-Net, false positive reduction by a two-branch residual network."""
