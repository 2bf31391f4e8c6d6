# SPDX-License-Identifier: Apache-2.0
"""Liu and Chan 2020: JNSC (joint nodule segmentation and classification), one network that also detects nodules."""
