# SPDX-License-Identifier: Apache-2.0
"""Liu et al., IEEE TMI 2020: MTMR-Net, malignancy and eight attributes of a nodule."""
