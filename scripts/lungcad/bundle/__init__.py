# SPDX-License-Identifier: Apache-2.0
"""A bundle as files: which there are, how one is started, its checksums and weights."""
