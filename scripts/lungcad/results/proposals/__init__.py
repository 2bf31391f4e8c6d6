# SPDX-License-Identifier: Apache-2.0
"""Proposals that guidelines make for a result, Lung-RADS and Fleischner, and their words."""
