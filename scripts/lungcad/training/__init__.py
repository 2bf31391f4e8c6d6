# SPDX-License-Identifier: Apache-2.0
"""What only training and evaluation need: cases with known nodules, patches cut from them, scores."""
