# SPDX-License-Identifier: Apache-2.0
"""Manifest of an archive: a CSV table with a row for each series. It names folders, so it stays with the archive."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lungcad.atomic import whole_file
from lungcad.errors import InputError

COLUMNS = ("series_uid", "study_uid", "folder", "slices", "verdict", "code", "rank")
"""Columns that ``lungcad index`` writes; ``series_uid`` and ``folder`` are enough for a table made by other means."""
MADE_UP = "folder-"
"""Beginning of the name of a series, or of a whole folder, that has no usable SeriesInstanceUID."""


@dataclass(frozen=True, slots=True)
class Item:
    """Series of a manifest.

    Attributes:
        series_uid: SeriesInstanceUID, or another unique name of the results.
        folder: DICOM folder or volume file.
        study_uid: StudyInstanceUID, empty where unknown.
        slices: number of slices, or of objects where the series is refused; 0 where unknown.
        code: code of the refusal, empty where the series is usable.
        rank: place among the usable series of its study, from 1; 0 where it is not known.
    """

    series_uid: str
    folder: Path
    study_uid: str = ""
    slices: int = 0
    code: str = ""
    rank: int = 0

    @property
    def own_uid(self) -> str | None:
        """SeriesInstanceUID to read; None where the name was made up."""
        return None if self.series_uid.startswith(MADE_UP) else self.series_uid


def read_manifest(path: str | Path, best: bool = False) -> Iterator[Item]:
    """Read a manifest row by row; folders are relative to its own.

    Args:
        path: CSV file.
        best: only the first series of each study.

    Raises:
        InputError: E-TABLE, with the line: no such file, no CSV, a column or a name that is missing, a name twice, or
            ``best`` where no series has a rank.
    """
    path, seen, ranked = Path(path), set[str](), False
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            if missing := {"series_uid", "folder"} - set(reader.fieldnames or ()):
                text = f"{path.name}: column {', '.join(sorted(missing))} missing."
                raise InputError("E-TABLE", text, "Make it with `lungcad index`.")
            for cells in reader:
                item = _item(cells, path, reader.line_num)
                if item.series_uid in seen:
                    raise _refusal(path, reader.line_num, f"series {item.series_uid} stands there twice")
                seen.add(item.series_uid)
                ranked = ranked or item.rank > 0
                if not best or item.rank == 1:
                    yield item
    except OSError as error:
        raise InputError("E-TABLE", f"{path.name}: not readable: {error.strerror}.", "Check the path.") from error
    except csv.Error as error:
        raise InputError("E-TABLE", f"{path.name}: no table: {error}.", "Make it with `lungcad index`.") from error
    if best and not ranked:
        raise InputError("E-TABLE", f"{path.name}: no series has a rank.", "Make it with `lungcad index`.")


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Write a manifest as a whole."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for item in items:
            verdict = "refused" if item.code else "usable"
            name = (item.series_uid, item.study_uid, str(item.folder))
            rows.writerow([*name, item.slices or "", verdict, item.code, item.rank or ""])


def _item(cells: dict[str, str], path: Path, line: int) -> Item:
    """Series of one row."""
    uid, folder = cells["series_uid"].strip(), cells["folder"]
    if not uid or not folder:
        raise _refusal(path, line, "series_uid or folder is empty")
    code = cells.get("code", "").strip()
    if cells.get("verdict", "").strip() == "refused" and not code:
        raise _refusal(path, line, "refused without a code")
    try:
        slices, rank = (int(cells.get(column) or 0) for column in ("slices", "rank"))
    except ValueError as error:
        raise _refusal(path, line, "slices or rank is no number") from error
    return Item(uid, path.parent.absolute() / folder, cells.get("study_uid", "").strip(), slices, code, rank)


def _refusal(path: Path, line: int, what: str) -> InputError:
    return InputError("E-TABLE", f"{path.name}, line {line}: {what}.")
