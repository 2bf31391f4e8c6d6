# SPDX-License-Identifier: Apache-2.0
"""Which of several usable series of a study suits nodule detection best: whole lungs, thin, soft to lung, native.

Thin slices show small nodules (the Fleischner Society asks for 1.5 mm or less, MacMahon et al. 2017); bone and edge
kernels add noise; contrast agent changes vessels and nodules alike.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

from lungcad.dicom.discover import find_objects
from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.header import Header
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.pixels import check_duplicates
from lungcad.dicom.plan import make_plan
from lungcad.dicom.quiet import quiet
from lungcad.dicom.select import check_damaged, group

WHOLE_LUNGS_MM = 240.0
"""Length that holds most adults' lungs."""
WHOLE_WIDTH_MM = 250.0
SAME_SHARE = 0.85
"""Share of the longest and widest series' size from which on a smaller one counts as whole too."""
THIN_MM, MEDIUM_MM = 1.5, 2.5
SHARP = re.compile(r"BONE|EDGE|INNER|SHARP|UHR|^[YJ][DE]|^FC(3\d|8\d)|^[BIQH][A-Z]?(7|8|9)\d|^[EV]$")
SOFT_TO_LUNG = re.compile(
    r"STANDARD|STND|LUNG|CHEST|DETAIL|MEDIUM|SOFT|^[BIQH][A-Z]?(2|3|4|5|6)\d|^FC(0|1|5)\d|^[A-DL]$|^Y[ABC]$"
)


@dataclass(frozen=True)
class Ranked:
    """One usable series.

    Attributes:
        uid: SeriesInstanceUID.
        key: what is smaller is better.
        reason: what speaks for and against it, in words.
    """

    uid: str
    key: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class _Usable:
    uid: str
    header: Header
    spacing_mm: float
    length_mm: float
    width_mm: float
    slices: int
    derived: bool


def rank_series(path: str | os.PathLike[str], **leniency: Any) -> list[Ranked]:
    """Rank the usable CT series under a path, the best first.

    Args:
        path: as for :func:`lungcad.dicom.read_series`.
        **leniency: as there.

    Raises:
        DicomSeriesError: E-NO-DICOM, E-ARCHIVE; E-IDENTITY, the series are of several patients; E-MULTI-SERIES, they
            are of several studies.
    """
    usable = _usable(path, Leniency.of(leniency))
    for keyword, code in (("PatientID", "E-IDENTITY"), ("StudyInstanceUID", "E-MULTI-SERIES")):
        if len(kinds := {one.header.text(keyword) for one in usable}) > 1:
            text = f"The folder holds usable series of {len(kinds)} different {keyword}s: none is the best."
            raise DicomSeriesError(code, text, "Choose one with series_uid (on the command line --series_uid UID).")
    length = min(WHOLE_LUNGS_MM, SAME_SHARE * max((one.length_mm for one in usable), default=0.0))
    width = min(WHOLE_WIDTH_MM, SAME_SHARE * max((one.width_mm for one in usable), default=0.0))
    return sorted((_ranked(one, length, width) for one in usable), key=lambda one: (one.key, one.uid))


def choose_best(path: str | os.PathLike[str], **leniency: Any) -> Ranked:
    """Best usable series under a path; its reason also tells what the others have; raises as :func:`rank_series`.

    Raises:
        DicomSeriesError: E-NOT-CT, no series is usable.
    """
    ranked = rank_series(path, **leniency)
    if not ranked:
        text = "No series in the folder can be used."
        raise DicomSeriesError("E-NOT-CT", text, "See why with lungcad inspect FOLDER.")
    best, *others = ranked
    beside = "; ".join(f"{one.uid}: {one.reason}" for one in others[:5])
    told = f"not chosen: {beside}" if beside else "the only usable one"
    return Ranked(best.uid, best.key, f"{best.reason} ({told})")


def _usable(path: str | os.PathLike[str], leniency: Leniency) -> list[_Usable]:
    found = find_objects(path)
    usable = []
    with quiet():
        for series in group(found):
            try:
                check_damaged(found, series.uid)
                stack = make_plan(series, leniency).stack
                check_duplicates(stack.groups)
            except DicomSeriesError:
                continue
            x, y, z = (float((column @ column) ** 0.5) for column in stack.affine[:3, :3].T)
            first, slices = stack.groups[0][0], len(stack.groups)
            width = min(x * first.format.columns, y * first.format.rows)
            usable.append(_Usable(series.uid, first.header, z, z * slices, width, slices, not series.images))
    return usable


def _ranked(one: _Usable, length_mm: float, width_mm: float) -> Ranked:
    whole = one.length_mm >= length_mm and one.width_mm >= width_mm
    thickness = 0 if one.spacing_mm <= THIN_MM + 0.01 else 1 if one.spacing_mm <= MEDIUM_MM + 0.01 else 2
    kernel, words = kernel_class(one.header.text("ConvolutionKernel"))
    agent = one.header.text("ContrastBolusAgent").upper()
    native = not agent or agent in ("NONE", "NO", "N")
    reason = [
        f"{one.spacing_mm:.2f} mm apart",
        words,
        f"{'whole' if whole else 'part of the'} length ({one.length_mm:.0f} x {one.width_mm:.0f} mm)",
        "no contrast agent named" if native else "contrast agent",
    ] + (["derived"] if one.derived else [])
    key = (not whole, one.derived, thickness, kernel, not native, one.spacing_mm, -one.slices)
    return Ranked(one.uid, tuple(map(float, key)), ", ".join(reason))


def kernel_class(text: str) -> tuple[int, str]:
    """Class of a reconstruction kernel (0 soft to lung, 1 unknown, 2 bone or edge) and words for it."""
    first = re.split(r"[\\\[\],' ]+", text.strip("[]' "))[0].upper()
    shown = first if re.fullmatch(r"[A-Z0-9+_.-]{1,16}", first) else "unknown"
    if SHARP.search(first):
        return 2, f"sharp kernel {shown}"
    return (0, f"soft to lung kernel {shown}") if SOFT_TO_LUNG.search(first) else (1, f"kernel {shown}")
