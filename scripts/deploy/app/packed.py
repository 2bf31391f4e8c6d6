# SPDX-License-Identifier: Apache-2.0
"""Where the packed chain is."""

import sys
from pathlib import Path


def packed_chain(models: Path) -> Path:
    """The packed chain in MODELS: the folder itself, or the only folder in it that is one.

    Raises:
        SystemExit: 2, there is none, or more than one.
    """
    near = [path for path in (models, *sorted(models.iterdir())) if (path / "lungcad").is_dir()]
    found = [path for path in near if (path / "configs" / "inference.json").is_file()]
    if len(found) != 1:
        text = f"error[E-BUNDLE] {len(found)} packed bundles in MODELS (expected 1). Make one with pack_bundle.py."
        print(text, file=sys.stderr)
        raise SystemExit(2)
    return found[0].resolve()
