# SPDX-License-Identifier: Apache-2.0
"""Command ``python -m app -i IN -o OUT -m MODELS``; in the container ``python app`` runs the same folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # started as a package, its folder is not on the path

from nodule_app import main

main()
