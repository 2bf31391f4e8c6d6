# SPDX-License-Identifier: Apache-2.0
"""Search for the packed chain."""

import sys
from pathlib import Path


def packed_chain(models: Path) -> Path:
    """Folder of the packed chain in MODELS: that folder itself, or the only packed chain in it.

    Raises:
        SystemExit: exit code 2, there is no packed chain, or more than one.
    """
    packed = [path for path in (models, *sorted(models.iterdir())) if (path / "lungcad").is_dir()]
    found = [path for path in packed if (path / "configs" / "inference.json").is_file()]
    if len(found) != 1:
        text = f"error[E-BUNDLE] {len(found)} packed bundles in MODELS (expected 1). Make one with pack_bundle.py."
        print(text, file=sys.stderr)
        raise SystemExit(2)
    return found[0].resolve()
