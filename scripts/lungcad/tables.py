# SPDX-License-Identifier: Apache-2.0
"""Tables: read CSV files that people made, reporting faults with their line, and write Markdown tables.

A CSV file has a header, is separated by commas or tabs, and may be gzipped.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungcad.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Row:
    """Row of a table.

    Attributes:
        table: name of the file.
        line: number of the row's last line in the file, from 1.
        cells: text by column, without blanks around it.
    """

    table: str
    line: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """Text of a cell; raises InputError E-TABLE if it is empty."""
        if not self.cells[column]:
            raise self.refusal(f"{column} is empty")
        return self.cells[column]

    def number(self, column: str) -> float:
        """Finite number in a cell; raises InputError E-TABLE for anything else."""
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.refusal(f"{column} is {self.cells[column]!r} (expected a finite number)")
        return value

    def refusal(self, what: str, advice: str = "") -> InputError:
        """Error InputError E-TABLE that refuses this row, with its file and line."""
        return InputError("E-TABLE", f"{self.table}, line {self.line}: {what}.", advice)


@dataclass(frozen=True)
class Table:
    """Table read from a file.

    Attributes:
        name: name of the file.
        columns: names of the columns, in the file's order.
        rows: rows in the file's order; a header alone is a table without rows.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: str | Path, required: Sequence[str] = ()) -> Table:
    """Read a table; empty lines are skipped, further columns are kept.

    Args:
        path: path of a CSV file; tab separated if the header holds a tab; gzipped or not.
        required: names of columns that must be present.

    Raises:
        InputError: E-TABLE, there is no such file, it is empty or not text, a column is missing or appears twice, or a
            row has more or fewer cells than the header.
    """
    name = Path(path).name
    lines = _lines(path, name)
    _, columns = next(lines)
    _check_columns(name, columns, required)
    return Table(name, tuple(columns), tuple(_rows(name, columns, lines)))


def each_row(path: str | Path, required: Sequence[str] = ()) -> Iterator[Row]:
    """Read a table row by row, for tables of millions of rows; arguments and errors as for :func:`read_table`."""
    name = Path(path).name
    lines = _lines(path, name)
    _, columns = next(lines)
    _check_columns(name, columns, required)
    yield from _rows(name, columns, lines)


def read_names(path: str | Path, column: str) -> tuple[Row, ...]:
    """Read a list of names: a table with that column, or one name per line without a header.

    Raises:
        InputError: E-TABLE, the file cannot be read, is empty, or a name is empty or appears twice.
    """
    name = Path(path).name
    (_, header), *_ = lines = list(_lines(path, name))
    if column in header:
        rows = read_table(path, [column]).rows
    elif len(header) == 1:
        rows = tuple(_rows(name, [column], lines))
    else:
        raise InputError("E-TABLE", f"{name}: column {column} missing: got {', '.join(header)}.",
                         "Give a table with that column, or one name per line.")  # fmt: skip
    refuse_duplicates(rows, column)
    return rows


def refuse_duplicates(rows: Sequence[Row], column: str) -> None:
    """Raise InputError E-TABLE if two rows have the same name in ``column``, or a row has none."""
    first: dict[str, int] = {}
    for row in rows:
        text = row.text(column)
        if text in first:
            raise row.refusal(f"{column} {text} stands in line {first[text]} already", "Keep one of the two lines.")
        first[text] = row.line


def _rows(name: str, columns: Sequence[str], lines: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    """Rows from numbered lines of cells; raises InputError E-TABLE if their number is not that of the columns."""
    for number, cells in lines:
        if len(cells) != len(columns):
            text = f"{name}, line {number}: {len(cells)} cells (expected {len(columns)})."
            raise InputError("E-TABLE", text, "Separate cells by commas or by tabs throughout.")
        yield Row(name, number, dict(zip(columns, cells, strict=True)))


def _lines(path: str | Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not empty; at least one, else InputError E-TABLE."""
    empty = True
    try:
        raw = Path(path).read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw).decode("utf-8-sig")
        stream = io.StringIO(text, newline=None)
        header = next((line for line in stream if line.strip()), "")
        stream.seek(0)
        reader = csv.reader(stream, delimiter="\t" if "\t" in header else ",", strict=True)
        _refuse_semicolons(name, header)
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                empty = False
                yield reader.line_num, stripped
    except FileNotFoundError as error:
        raise InputError("E-TABLE", f"no such file: {name}.", "Check the path.") from error
    except OSError as error:  # also a folder, and a damaged gzip
        raise InputError("E-TABLE", f"{name}: not readable: {error.strerror or error}.", "Give a CSV file.") from error
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise InputError("E-TABLE", f"{name}: not a table: {error}.", "Give a CSV file in UTF-8.") from error
    if empty:
        raise InputError("E-TABLE", f"{name} is empty (expected at least a header).", "Is this the right file?")


def _refuse_semicolons(name: str, header: str) -> None:
    """Raise InputError E-TABLE if the cells of a header are separated by semicolons."""
    if ";" in header and "," not in header and "\t" not in header:
        raise InputError("E-TABLE", f"{name}: cells are separated by ; (expected commas or tabs).",
                         "Export it with commas and decimal points.")  # fmt: skip


def _check_columns(name: str, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise InputError E-TABLE if a column appears twice or a required one is missing."""
    double = sorted({column for column in columns if columns.count(column) > 1})
    if double:
        text = f"{name}: column {', '.join(double)} stands there more than once."
        raise InputError("E-TABLE", text, "Keep one of them.")
    missing = [column for column in required if column not in columns]
    if missing:
        raise InputError("E-TABLE", f"{name}: column {', '.join(missing)} missing: got {', '.join(columns)}.",
                         f"Expected the columns {', '.join(required)}.")  # fmt: skip


def markdown_row(*cells: Any) -> str:
    """Row of a Markdown table, with its line end."""
    return f"| {' | '.join(map(str, cells))} |\n"


def with_interval(value: float | None, interval: Sequence[float] | None, form: str, unit: str = "") -> str:
    """Figure with its interval, such as ``0.812 (0.780 to 0.840)``; a dash if unknown.

    Args:
        value: the figure.
        interval: lower and upper end.
        form: format of the three numbers, such as ``.3f``.
        unit: unit, written behind the figure.
    """
    if value is None or interval is None:
        return "-"
    low, high = interval
    return f"{value:{form}}{unit} ({low:{form}} to {high:{form}})"
