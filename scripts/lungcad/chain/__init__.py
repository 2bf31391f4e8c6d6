# SPDX-License-Identifier: Apache-2.0
"""Chains of bundles on one scan: stages, the chain itself, comparison of chains, and measurement of their speed."""
