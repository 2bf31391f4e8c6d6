# SPDX-License-Identifier: Apache-2.0
"""``python -m lungcad``, the same as ``lungcad``."""

from lungcad.cli import main

main()
