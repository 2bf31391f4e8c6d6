# SPDX-License-Identifier: Apache-2.0
"""Zhang et al. 2020: 3D Aggregated Faster R-CNN (3D-AG), with and without Local Magnification."""
