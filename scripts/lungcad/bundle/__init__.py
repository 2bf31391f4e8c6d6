# SPDX-License-Identifier: Apache-2.0
"""Bundles as files: the registry of bundles, how one is started, its checksums and its weights."""
