# SPDX-License-Identifier: Apache-2.0
"""Dou et al. 2017: candidates by a fully convolutional network, false positive reduction by a residual network."""
