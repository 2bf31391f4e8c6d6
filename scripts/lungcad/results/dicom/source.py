# SPDX-License-Identifier: Apache-2.0
"""Series that the results are about: its patient and study, its instances, and where its pixels lie.

The intake reads no more of a header than it needs, and no names into a volume. Here one header is read whole, for the
patient and study; places come from the intake's own plan, so that results point to the pixels that were looked at.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.config import RAISE, disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, DS, TM, PersonName, validate_value

from lungcad.dicom.discover import find_objects
from lungcad.dicom.enhanced import is_enhanced
from lungcad.dicom.frames import Slice
from lungcad.dicom.header import Header, read_header
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.plan import make_plan
from lungcad.dicom.select import choose_series
from lungcad.errors import InputError
from lungcad.geometry import to_index
from lungcad.results.dicom.uids import derived_uid

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that every object must have, if only empty (PS3.3 C.7.1.1, C.7.2.1)."""
SEXES = ("M", "F", "O")
GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
"""Groups of patient, study, series and equipment; odd groups are private."""
OWN = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SliceThickness", "SpacingBetweenSlices",
    "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
"""Attributes that each instance has for itself: not taken from the first."""
KEPT_AS_IS = (*TYPE_2, "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SpecificCharacterSet")
"""Attributes that identify patient and study: filed as the series is, whatever their form."""
TEXT_KINDS = ("AE", "AS", "CS", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "UI")
"""Value representations that are text with a form or a length."""
_TIMES = {"DA": DA, "TM": TM}


@dataclass(frozen=True)
class Source:
    """Series without its pixels.

    Attributes:
        instances: one data set per object, in the order of their first slices: patient and study, UIDs, places.
        slices: by index along the stack, the instance and, for a multi-frame object, the frame number from 1.
        affine: (4, 4) index (column, row, slice) to LPS mm, sheared under a tilted gantry.
        columns, rows: of the matrix.
        frame_of_reference_uid: that all instances name; empty where they name none or several, as anonymisers leave
            them. Then points in the patient cannot be told, only places on images; the instances here have a new one,
            since a segmentation must.
    """

    instances: list[Dataset]
    slices: list[tuple[Dataset, int | None]]
    affine: np.ndarray
    columns: int
    rows: int
    frame_of_reference_uid: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between columns, rows and slices; the last along the normal."""
        x, y = np.linalg.norm(self.affine[:3, :2], axis=0)
        normal = np.cross(self.affine[:3, 0], self.affine[:3, 1]) / (x * y)
        return float(x), float(y), float(abs(self.affine[:3, 2] @ normal))

    def place(self, center_lps_mm: Any) -> tuple[float, float, int]:
        """Column and row, continuous from the first pixel's centre, on the nearest slice, and that slice's index."""
        column, row, level = to_index(self.affine, center_lps_mm)
        return float(column), float(row), int(np.clip(np.rint(level), 0, len(self.slices) - 1))


def read_source(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> Source:
    """Read the headers of a series that :func:`lungcad.dicom.read_series` read; arguments as there.

    Raises:
        DicomSeriesError: the series would be refused.
        InputError: E-TAG-MISSING, E-TAG-VALUE, where study or instances have no UID or instances share one, so that
            nothing could refer to them.
    """
    options = Leniency.of(leniency)
    found = find_objects(path)
    with disable_value_validation():
        series = choose_series(found, series_uid, options)
        stack = make_plan(series, options, acquisition).stack
        pieces = [group[0] for group in stack.groups]
        patient = patient_and_study(pieces[0].header)
        headers = list({id(piece.header): piece.header for piece in pieces}.values())
        named = {header.text("FrameOfReferenceUID") for header in headers}
        common = named.pop() if len(named) == 1 else ""
        named_series = pieces[0].header.text("SeriesInstanceUID")
        patient.FrameOfReferenceUID = common or derived_uid("frame of reference", named_series)
        instances = {
            id(one): _instance([p for p in pieces if p.header is one], patient, stack.affine) for one in headers
        }
    if not patient.get("StudyInstanceUID") or not all(one.get("SOPInstanceUID") for one in instances.values()):
        raise InputError("E-TAG-MISSING", "the series has no StudyInstanceUID or SOPInstanceUID.")
    if len({one.SOPInstanceUID for one in instances.values()}) < len(instances):
        raise InputError("E-TAG-VALUE", "several instances of the series have the same SOPInstanceUID.")
    slices = [(instances[id(p.header)], p.frame + 1 if is_enhanced(p.header) else None) for p in pieces]
    layout = pieces[0].format
    return Source(list(instances.values()), slices, stack.affine, layout.columns, layout.rows, common)


def patient_and_study(header: Header) -> Dataset:
    """Read an object's header whole: patient, study, series and equipment, with what must be there filled up.

    A date that is none, or a sex that DICOM does not know, becomes empty: anonymisers write words there. What need not
    be there and is not of the form that DICOM prescribes (an age of "74") is left out. A patient's name with a
    backslash stays one name: in Big5, which is found undeclared, half of a character can be one.
    """
    whole = read_header(header.path, everything=True)
    assert isinstance(whole, Header)  # it was read a moment ago
    known = Dataset()
    for tag in whole.dataset.keys():  # noqa: SIM118 - iterating a data set converts all its values
        if tag.group in GROUPS:
            with contextlib.suppress(Exception):  # pydicom converts on access and raises many kinds
                element = whole.dataset[tag]
                _check_time(dictionary_VR(tag), str(element.value or ""))
                if keyword_for_tag(tag) not in KEPT_AS_IS:
                    _check_form(dictionary_VR(tag), element.value)
                known.add(element)
    for keyword in TYPE_2:
        if keyword not in known:
            setattr(known, keyword, "")
    if isinstance(known.PatientName, MultiValue):
        known.PatientName = PersonName("\\".join(map(str, known.PatientName)))
    if known.PatientSex not in SEXES:
        known.PatientSex = ""
    return known


def _check_time(kind: str, text: str) -> None:
    if kind in _TIMES and text:
        validate_value(kind, text, RAISE)  # the form
        _TIMES[kind](text)  # the calendar


def _check_form(kind: str, value: Any) -> None:
    """Raise ValueError where a value has not the form or length of its kind."""
    for part in value if isinstance(value, MultiValue) else [value]:
        if kind in TEXT_KINDS and part not in (None, ""):
            validate_value(kind, getattr(part, "original_string", str(part)), RAISE)


def _instance(pieces: list[Slice], patient: Dataset, affine: np.ndarray) -> Dataset:
    """Data set that stands for one object in references: its own UIDs, matrix and places, the patient of the first.

    Places are written as one grid for the series: headers round them, and no two may disagree in what follows.
    """
    header, layout = pieces[0].header, pieces[0].format
    one = Dataset()
    one.update({tag: patient[tag] for tag in patient.keys() if keyword_for_tag(tag) not in OWN})  # noqa: SIM118
    for keyword in OWN[:3]:
        if header.text(keyword):
            setattr(one, keyword, header.text(keyword))
    one.Modality, one.Rows, one.Columns = "CT", layout.rows, layout.columns
    axes = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    normal = np.cross(axes[:, 0], axes[:, 1])
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = decimals(axes.T.ravel().round(10))
    measures.PixelSpacing = decimals(pieces[0].pixel_spacing_mm)
    measures.SliceThickness = measures.SpacingBetweenSlices = decimals([abs(normal @ affine[:3, 2]).round(6)])[0]
    places = [decimals(piece.position_mm) for piece in sorted(pieces, key=lambda piece: piece.frame)]
    if not is_enhanced(header):
        one.update(orientation)
        one.update(measures)
        one.ImagePositionPatient = places[0]
        return one
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    one.SharedFunctionalGroupsSequence, one.PerFrameFunctionalGroupsSequence = [shared], []
    for place in places:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = place
        frame.PlanePositionSequence = [position]
        one.PerFrameFunctionalGroupsSequence.append(frame)
    one.NumberOfFrames = len(places)
    return one


def decimals(values: Iterable[float]) -> list[Any]:
    """Numbers as DICOM writes them: text of at most 16 characters."""
    return [DS(float(value), auto_format=True) for value in values]
