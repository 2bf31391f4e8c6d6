# SPDX-License-Identifier: Apache-2.0
"""Ranking of the usable series of a study for nodule detection: whole lungs, thin slices, soft to lung kernel, native.

Thin slices show small nodules (the Fleischner Society asks for 1.5 mm or less, MacMahon et al. 2017); bone and edge
kernels add noise; contrast agent changes vessels and nodules alike.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lungcad.dicom.damaged import check_damaged
from lungcad.dicom.discover import Found, find_objects
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.grouped import group_by_series
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.pixels import check_duplicates
from lungcad.dicom.plan import make_plan
from lungcad.dicom.quiet import quiet
from lungcad.printable import names_person

BEST = "best"
"""Value of ``series_uid`` for the best of several series."""
WHOLE_LUNGS_MM = 240.0
"""Length that holds the lungs of most adults."""
WHOLE_WIDTH_MM = 250.0
"""Width that holds the lungs of most adults."""
SAME_SHARE = 0.85
"""Share of the length and width of the largest series from which a smaller series also counts as whole."""
THIN_MM, MEDIUM_MM = 1.5, 2.5
"""Largest slice distances of the classes thin and medium."""
SHARP = re.compile(r"BONE|EDGE|INNER|SHARP|UHR|^[YJ][DE]|^FC(3\d|8\d)|^[BIQH][A-Z]?(7|8|9)\d|^[EV]$")
SOFT_TO_LUNG = re.compile(
    r"STANDARD|STND|LUNG|CHEST|DETAIL|MEDIUM|SOFT|^[BIQH][A-Z]?(2|3|4|5|6)\d|^FC(0|1|5)\d|^[A-DL]$|^Y[ABC]$"
)

_TAGS = ("StudyInstanceUID", "PatientName", "PatientID", "ConvolutionKernel", "ContrastBolusAgent")


@dataclass(frozen=True)
class Ranked:
    """Usable series with its rank.

    Attributes:
        uid: SeriesInstanceUID.
        key: sort key; the smallest is the best series.
        reason: properties for and against it, in words.
    """

    uid: str
    key: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class Usable:
    """Usable series: tags of its first slice, and the size of its stack."""

    uid: str
    study_uid: str
    patient_name: str
    patient_id: str
    kernel: str
    contrast_agent: str
    spacing_mm: float
    length_mm: float
    width_mm: float
    slices: int
    derived: bool


def rank_series(path: str | os.PathLike[str], **leniency: Any) -> list[Ranked]:
    """Rank the usable CT series under a path, the best first.

    Args:
        path: as for :func:`lungcad.dicom.read_series`.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        DicomSeriesError: E-NO-DICOM, E-ARCHIVE; E-IDENTITY (series of several patients); E-MULTI-SERIES (series of
            several studies).
    """
    usable = find_usable(find_objects(path), Leniency.from_options(leniency))
    patients, studies = {series.patient_id for series in usable}, {series.study_uid for series in usable}
    for keyword, kinds, code in (
        ("PatientID", patients, "E-IDENTITY"), ("StudyInstanceUID", studies, "E-MULTI-SERIES"),
    ):  # fmt: skip
        if len(kinds) > 1:
            text = f"The folder holds usable series of {len(kinds)} different {keyword}s: none is the best."
            raise DicomSeriesError(code, text, "Choose one with series_uid (on the command line --series_uid UID).")
    return rank_usable(usable)


def rank_usable(usable: Sequence[Usable]) -> list[Ranked]:
    """Rank the usable series of one study, the best first."""
    length = min(WHOLE_LUNGS_MM, SAME_SHARE * max((series.length_mm for series in usable), default=0.0))
    width = min(WHOLE_WIDTH_MM, SAME_SHARE * max((series.width_mm for series in usable), default=0.0))
    return sorted((_rank(series, length, width) for series in usable), key=lambda series: (series.key, series.uid))


def choose_best(path: str | os.PathLike[str], **leniency: Any) -> Ranked:
    """Choose the best usable series under a path; its reason also lists the other series.

    Raises:
        DicomSeriesError: as :func:`rank_series`; E-NOT-CT (no series is usable).
    """
    ranked = rank_series(path, **leniency)
    if not ranked:
        text = "No series in the folder can be used."
        raise DicomSeriesError("E-NOT-CT", text, "See why with lungcad inspect FOLDER.")
    best, *others = ranked
    beside = "; ".join(f"{series.uid}: {series.reason}" for series in others[:5])
    others_text = f"not chosen: {beside}" if beside else "the only usable one"
    return Ranked(best.uid, best.key, f"{best.reason} ({others_text})")


def find_usable(found: Found, leniency: Leniency) -> list[Usable]:
    """Find the series among objects that pass every check of their headers."""
    usable = []
    with quiet():
        for series in group_by_series(found):
            try:
                check_damaged(found, series.uid)
                stack = make_plan(series, leniency).stack
                check_duplicates(stack.groups)
            except DicomSeriesError:
                continue
            x, y, z = (float((column @ column) ** 0.5) for column in stack.affine[:3, :3].T)
            first, slices = stack.groups[0][0], len(stack.groups)
            width = min(x * first.format.columns, y * first.format.rows)
            study, name, patient, kernel, agent = map(first.header.text, _TAGS)
            size = (z, z * slices, width, slices)
            usable.append(Usable(series.uid, study, name, patient, kernel, agent, *size, not series.images))
    return usable


def _rank(series: Usable, length_mm: float, width_mm: float) -> Ranked:
    """Rank one series; from ``length_mm`` and ``width_mm`` on it counts as whole lungs."""
    whole = series.length_mm >= length_mm and series.width_mm >= width_mm
    thickness = 0 if series.spacing_mm <= THIN_MM + 0.01 else 1 if series.spacing_mm <= MEDIUM_MM + 0.01 else 2
    kernel, words = kernel_class(series.kernel)
    if names_person(words, [series.patient_name], [series.patient_id]):
        words = "kernel not shown"
    agent = series.contrast_agent.upper()
    native = not agent or agent in ("NONE", "NO", "N")
    reason = [
        f"{series.spacing_mm:.2f} mm apart",
        words,
        f"{'whole' if whole else 'part of the'} length ({series.length_mm:.0f} x {series.width_mm:.0f} mm)",
        "no contrast agent named" if native else "contrast agent",
    ] + (["derived"] if series.derived else [])
    key = (not whole, series.derived, thickness, kernel, not native, series.spacing_mm, -series.slices)
    return Ranked(series.uid, tuple(map(float, key)), ", ".join(reason))


def kernel_class(text: str) -> tuple[int, str]:
    """Class of a reconstruction kernel (0 soft to lung, 1 unknown, 2 bone or edge), and its name in words."""
    first = re.split(r"[\\\[\],' ]+", text.strip("[]' "))[0].upper()
    shown = first if re.fullmatch(r"[A-Z0-9+_.-]{1,16}", first) else "unknown"
    if SHARP.search(first):
        return 2, f"sharp kernel {shown}"
    return (0, f"soft to lung kernel {shown}") if SOFT_TO_LUNG.search(first) else (1, f"kernel {shown}")
