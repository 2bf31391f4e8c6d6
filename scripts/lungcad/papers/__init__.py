# SPDX-License-Identifier: Apache-2.0
"""Five papers and a U-Net, a folder each, and what they share: layers, inferers, transforms, peaks of score volumes."""
