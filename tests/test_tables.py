# SPDX-License-Identifier: Apache-2.0
import gzip
from pathlib import Path

import pytest

from lungcad.errors import InputError
from lungcad.tables import each_row, read_names, read_table


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "name,value\na,1.5\nb,2\n",
        "name,value\r\na,1.5\r\nb,2",
        "name\tvalue\na\t1.5\nb\t2\n",
        "\ufeffname, value\n\n a ,1.5\n\nb,2\n\n",
        gzip.compress(b"name,value\na,1.5\nb,2\n"),
        gzip.compress(b"name\tvalue\r\na\t1.5\r\nb\t2\r\n"),
        '"name","value"\n"a","1.5"\n"b","2"\n',
    ],
    ids=["comma", "crlf", "tab", "blanks and byte order mark", "gzip", "gzip with tabs", "quoted"],
)
def test_the_same_table_in_all_its_forms(content: str | bytes, tmp_path: Path) -> None:
    table = read_table(written(tmp_path, content), ["value"])
    assert table.columns == ("name", "value")
    assert [(row.text("name"), row.number("value")) for row in table.rows] == [("a", 1.5), ("b", 2.0)]


def test_rows_one_by_one_are_those_of_the_table_up_to_the_fault(tmp_path: Path) -> None:
    path = written(tmp_path, "name,value\r\na,1\r\n\r\nb,2\r\n")
    assert tuple(each_row(path, ["value"])) == read_table(path).rows
    rows = each_row(written(tmp_path, "name,value\na,1\nb\n"))
    assert next(rows).text("name") == "a"
    with pytest.raises(InputError, match="line 3: 1 cells"):
        next(rows)
    with pytest.raises(InputError, match="column value missing"):
        next(each_row(written(tmp_path, "name,size\na,1\n"), ["value"]))


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, "name,value\n")).rows == ()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"name,value\na,1\n")[:-4], "not a table"),
        (gzip.compress(b"name,value\na,1\n")[:-8] + bytes(8), "not readable: CRC check failed"),
        (b"name,value\n\xff\xfe,1\n", "not a table"),
        ("name,value,name\na,1,2\n", "column name stands there more than once"),
        ("name,size\na,1\n", "column value missing: got name, size"),
        ("name,value\na,1\nb\n", "line 3: 1 cells (expected 2"),
        ("name,value\n\na,1,7\n", "line 3: 3 cells (expected 2"),
    ],
)
def test_refuses_what_is_no_such_table(content: str | bytes, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_table(written(tmp_path, content), ["name", "value"])
    assert refused.value.code == "E-TABLE"
    assert error in str(refused.value) and "table.csv" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)  # folders are often named after patients


def test_refuses_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: none\.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not readable: Is a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "", "1,5", "one", "0x10"])
def test_a_number_is_finite_and_in_decimal(text: str, tmp_path: Path) -> None:
    row = read_table(written(tmp_path, f'name,value\na,1\nb,"{text}"\n')).rows[1]
    with pytest.raises(InputError, match=r"line 3: value is .* \(expected a finite number\)"):
        row.number("value")


def test_names_with_and_without_a_header(tmp_path: Path) -> None:
    for content in ("1.2\n1.3\n", "id\n1.2\n1.3\n", "place,id\n0,1.2\n0,1.3\n"):
        assert [row.cells["id"] for row in read_names(written(tmp_path, content), "id")] == ["1.2", "1.3"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("1.2\n1.3\n1.2\n", "line 3: id 1.2 stands in line 1 already"),
        ("place,id\n0,1.2\n0,\n", "line 3: id is empty"),
        ("place,name\n0,1.2\n", "column id missing: got place, name"),
        ("1.2\n1.3,1.4\n", "line 2: 2 cells"),
    ],
)
def test_refuses_lists_of_names(content: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-TABLE") as refused:
        read_names(written(tmp_path, content), "id")
    assert error in str(refused.value)
