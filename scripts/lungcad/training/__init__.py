# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation, for all papers: cases with known nodules, patches cut from them, trainer, scores."""
