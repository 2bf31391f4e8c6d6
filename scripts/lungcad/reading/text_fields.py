# SPDX-License-Identifier: Apache-2.0
"""Lines and fields of text headers, for MetaImage and NRRD."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.printable import file_label
from lungcad.reading.header import missing_field, wrong_field

HEADER_BYTES = 1 << 20
"""Size of the largest text header."""

Fields = Mapping[str, str]
"""Values by name of the field."""


def header_lines(file: Path, last: str) -> tuple[list[str], int]:
    """Lines of a header, stripped, and their size in bytes.

    Args:
        file: volume file.
        last: pattern of the line that ends the header, if the file does not end before.

    Raises:
        InputError: E-CORRUPT, the header does not end within HEADER_BYTES.
    """
    lines: list[str] = []
    with file.open("rb") as opened:
        while line := opened.readline(HEADER_BYTES):
            if opened.tell() > HEADER_BYTES:
                text = f"The header of {file_label(file.name)} does not end."
                raise InputError("E-CORRUPT", text, "Copy the file again.")
            lines.append(line.decode("utf-8", "surrogateescape").strip())
            if re.match(last, lines[-1]):
                break
        return lines, opened.tell()


def fields_of(file: Path, pairs: Iterable[tuple[str, str]], known: Iterable[str]) -> dict[str, str]:
    """Values of fields by name; refuses a field in ``known`` that is stated twice, since readers could take either.

    Raises:
        InputError: E-TAG-VALUE (a known field is stated twice, in any case of letters).
    """
    fields: dict[str, str] = {}
    matters, seen = {name.casefold() for name in known}, set()
    for name, value in pairs:
        if (folded := name.casefold()) in matters and folded in seen:
            raise wrong_field(file, f"{name} is stated twice")
        seen.add(folded)
        fields[name] = value
    return fields


def data_file(file: Path, name: str) -> Path:
    """File with the pixels; a name that begins with LIST or holds a % means several files in ITK.

    Raises:
        InputError: E-ARCHIVE, several files, or one outside the header's folder.
    """
    if name.upper() == "LOCAL":
        return file
    if name.startswith("LIST") or "%" in name or "\0" in name:
        raise _elsewhere_refusal(file)
    return checked_beside(file, file.parent / name)


def checked_beside(file: Path, data: Path) -> Path:
    """File with the pixels, checked to lie in the header's folder, links followed; raises InputError E-ARCHIVE."""
    if not Path(os.path.realpath(data)).is_relative_to(os.path.realpath(file.parent)):
        raise _elsewhere_refusal(file)
    return data


def _elsewhere_refusal(file: Path) -> InputError:
    """Refusal E-ARCHIVE of pixels in several files or another folder, to be raised."""
    text = f"{file_label(file.name)} takes its pixels from several files or another folder."
    return InputError("E-ARCHIVE", text, "Write the volume as one file, or as a header and one file beside it.")


def required_field(file: Path, fields: Fields, names: Sequence[str]) -> str:
    """Value of a field that has several names; raises InputError E-TAG-MISSING where it is absent."""
    for name in names:
        if name in fields:
            return fields[name]
    raise missing_field(file, " or ".join(names))


def numbers_of(file: Path, fields: Fields, names: Sequence[str], count: int) -> np.ndarray:
    """Finite numbers (count,) of a field that has several names.

    Raises:
        InputError: E-TAG-MISSING (the field is absent), E-TAG-VALUE (not such numbers, or two names disagree).
    """
    found = [fields[name] for name in names if name in fields] or [required_field(file, fields, names)]
    try:
        values = np.array([[float(word) for word in words.split()] for words in found])
    except ValueError:
        values = np.zeros((1, 0))
    if values.shape[1] != count or not np.isfinite(values).all() or (values != values[0]).any():
        shown = " and ".join(found)[:80]
        raise wrong_field(file, f"{' or '.join(names)} is '{shown}' (expected {count} finite number(s))")
    return values[0]


def whole_numbers_of(file: Path, fields: Fields, name: str, count: int | None = None) -> list[int]:
    """Whole numbers of a field, of nine digits at most; raises as :func:`numbers_of`."""
    words = required_field(file, fields, [name])
    parts = words.split()
    if not parts or count not in (None, len(parts)) or not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
        raise wrong_field(file, f"{name} is '{words[:80]}' (expected {count or 'some'} whole number(s))")
    return [int(part) for part in parts]


def vectors_of(file: Path, words: str, count: int) -> np.ndarray:
    """Vectors (count, 3) from ``(1,0,0) (0,1,0) ...``; the word ``none``, for an axis not in space, is skipped."""
    rows = [part.split(",") for part in re.findall(r"\(([^()]*)\)", words)]
    try:
        found = np.array([[float(word) for word in row] for row in rows])
    except ValueError:
        found = np.zeros(0)
    if found.shape != (count, 3) or not np.isfinite(found).all():
        raise wrong_field(file, f"'{words[:80]}' is no place in space (expected {count} vector(s) of 3 numbers)")
    return found
