# SPDX-License-Identifier: Apache-2.0
"""Lung-nodule CAD as MONAI Bundles: detection, false positive reduction and malignancy on chest CT.

Importing this package does not import torch.
"""

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.volume import Notice, Volume

__version__ = "0.1.0"

__all__ = ["Finding", "InputError", "Notice", "Volume", "__version__"]
