# SPDX-License-Identifier: Apache-2.0
"""Liu and Chan 2020: JNSC, one network that segments, detects and classifies nodules."""
