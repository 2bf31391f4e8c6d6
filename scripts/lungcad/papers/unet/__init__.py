# SPDX-License-Identifier: Apache-2.0
"""U-Net that outlines one nodule (Ronneberger et al. 2015; MONAI's BasicUNet), trained on LIDC-IDRI's outlines."""
