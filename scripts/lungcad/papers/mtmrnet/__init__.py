# SPDX-License-Identifier: Apache-2.0
"""Liu et al. 2019: MTMR-Net, malignancy and eight attributes of a nodule."""
