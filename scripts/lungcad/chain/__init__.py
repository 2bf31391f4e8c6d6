# SPDX-License-Identifier: Apache-2.0
"""Chains of bundles on one scan: the stages, the chain itself, its comparison and its cost."""
