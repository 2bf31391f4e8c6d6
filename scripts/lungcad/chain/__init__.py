# SPDX-License-Identifier: Apache-2.0
"""Chains of bundles on one scan: stages, the chain itself, its settings, and comparison of chains."""
