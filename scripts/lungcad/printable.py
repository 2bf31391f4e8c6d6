# SPDX-License-Identifier: Apache-2.0
"""Printable text from foreign text: tags and file names come from anywhere, also from an attacker.

Escape sequences would steer the terminal, line breaks forge lines of a log, and invisible characters reverse what a
reader sees. Every refusal, notice and tag that the intake hands on passes through here.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_CHARACTERS = 2000
"""Longest printable text."""


def printable(text: object, limit: int = MAX_CHARACTERS) -> str:
    """Convert foreign text to one line of printable characters.

    Args:
        text: any object; its ``str`` is used.
        limit: largest number of characters kept.

    Returns:
        Text with every control, format, private and surrogate character and every kind of white space replaced
        by one space; ends stripped.
    """
    start = str(text)[: 4 * limit]
    if not start.isprintable():
        start = "".join(c if c.isprintable() else " " for c in start)
    return " ".join(start.split())[:limit]


def names_person(text: str, names: Iterable[str], ids: Iterable[str]) -> bool:
    """Whether a text holds a part of a person's name or of an identifier.

    Args:
        text: foreign text, such as a SeriesDescription.
        names: values of PatientName; parts of three letters or more are searched anywhere in the text, shorter parts
            and beginnings of four letters or more as whole words.
        ids: identifiers such as PatientID; searched without punctuation, and by their runs of four digits or more.
    """
    words = _words(text)
    joined = "".join(words)
    parts = {part for name in names for part in _words(name)}
    if any(part in joined if len(part) > 2 else part in words for part in parts if len(part) > 1):
        return True
    if any(len(word) > 3 and part.startswith(word) for word in words for part in parts if not word.isdigit()):
        return True
    for identifier in ids:
        flat = "".join(_words(identifier))
        runs = [run for run in re.findall(r"\d+", identifier) if len(run) > 3]
        if (len(flat) > 2 and flat in joined) or any(run in text for run in runs):
            return True
    return False


def short_label(text: str, names: Iterable[str], ids: Iterable[str]) -> str:
    """Value of a tag as a label: numbers, times, UIDs and short words as they are, other texts as a checksum.

    A tag that should hold a number or a kernel can hold a person's name, or any text.

    Args:
        text: value of the tag.
        names: values of PatientName.
        ids: identifiers such as PatientID.

    Example:
        >>> short_label("B30f", ["Doe^Jane"], []), short_label("Doe, Jane", ["Doe^Jane"], [])
        ('B30f', 'value-17a6fb0c')
    """
    plain = re.sub(r"[\[\]' ]", "", text).replace(",", "\\") if text.startswith("['") else text
    if not re.search(r"[^\W\d_]", plain) and re.fullmatch(r"[0-9+_.:\\-]{0,64}", plain):
        return plain
    if re.fullmatch(r"[A-Za-z0-9+_.\\-]{1,16}", plain) and not names_person(plain, names, ids):
        return plain
    return f"value-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _words(text: str) -> list[str]:
    """Words of a text, of letters and digits, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))


HARMLESS = frozenset(
    "a b c ct cta copy d dat data dcm dicom e export f file frame i im ima image images img instance link mr n no part "
    "raw s scan se ser series sl slice st study t tmp v vol x z".split()
)
"""Words in file names that cannot be part of a person's name."""


def file_label(name: str) -> str:
    """Name of a file if it holds only numbers and HARMLESS words, else ``a file (name not shown)``.

    Folders and files are often named after patients.
    """
    words = re.findall(r"[^\W\d_]+", printable(name).casefold())
    return printable(name, 80) if all(word in HARMLESS for word in words) else "a file (name not shown)"
