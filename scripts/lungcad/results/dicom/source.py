# SPDX-License-Identifier: Apache-2.0
"""Source series of the results: its patient and study, its instances, and the places of its pixels.

The intake reads only the tags that it needs, and keeps no names in a volume. Here one header is read completely, for
patient and study; places come from the intake's plan, so that results refer to the pixels that were analysed.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.config import RAISE, disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, DS, TM, PersonName, validate_value

from lungcad.dicom.enhanced import is_enhanced
from lungcad.dicom.frames import Slice
from lungcad.dicom.header import Header, read_header
from lungcad.dicom.series import BegunSeries, begin_series
from lungcad.errors import InputError
from lungcad.geometry import to_index
from lungcad.results.dicom.uids import derived_uid

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that every object must have, possibly empty (PS3.3 C.7.1.1, C.7.2.1)."""
SEXES = ("M", "F", "O")
"""Values of PatientSex that DICOM defines."""
GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
"""Groups of patient, study, series and equipment; odd groups are private."""
PER_INSTANCE = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SliceThickness", "SpacingBetweenSlices",
    "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
"""Attributes with a value of their own in each instance, which are not copied from the first."""
KEPT_AS_IS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SpecificCharacterSet",
)  # fmt: skip
"""Attributes that identify patient and study: copied unchanged, whatever their form, so that archives file the results
with the series."""
ENUMERATED = {
    "PregnancyStatus": (1, 2, 3, 4), "SmokingStatus": ("YES", "NO", "UNKNOWN"),
    "PatientSexNeutered": ("ALTERED", "UNALTERED"), "PatientIdentityRemoved": ("YES", "NO"),
}  # fmt: skip
"""Values that DICOM allows, by optional attribute of patient and study."""
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
"""Attributes of a complete code."""
ONLY_TOGETHER = ("ClinicalTrial", "PatientSpecies", "PatientBreed", "BreedRegistration", "ResponsiblePerson",
                 "ResponsibleOrganization")  # fmt: skip
"""Beginnings of the names of optional attributes that DICOM allows only together with others: trials and animals."""
TEXT_KINDS = ("AE", "AS", "CS", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "UI")
"""Value representations of text with a prescribed form or length."""
_TIMES = {"DA": DA, "TM": TM}
"""Types that check a date and a time, by value representation."""


@dataclass(frozen=True)
class Source:
    """Series without its pixels.

    Attributes:
        instances: one data set per object, in the order of their first slices: patient and study, UIDs, places.
        slices: by index along the stack, the instance and, for a multi-frame object, the frame number from 1.
        affine: (4, 4) index (column, row, slice) to LPS mm, sheared under a tilted gantry.
        columns, rows: size of the matrix.
        frame_of_reference_uid: UID that all instances share; empty where they have none or several, as anonymisers
            leave them. Then the report gives places on images only, not points in the patient; the instances here get
            a new UID, which a segmentation needs.
        reports: files beside the series that are structured reports.
    """

    instances: list[Dataset]
    slices: list[tuple[Dataset, int | None]]
    affine: np.ndarray
    columns: int
    rows: int
    frame_of_reference_uid: str
    reports: tuple[Path, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances in mm between columns, rows and slices; the last along the normal."""
        x, y = np.linalg.norm(self.affine[:3, :2], axis=0)
        normal = np.cross(self.affine[:3, 0], self.affine[:3, 1]) / (x * y)
        return float(x), float(y), float(abs(self.affine[:3, 2] @ normal))

    def locate(self, center_lps_mm: Any) -> tuple[float, float, int]:
        """Column and row of a point (LPS mm), as continuous indices, and the index of the nearest slice."""
        column, row, level = to_index(self.affine, center_lps_mm)
        return float(column), float(row), int(np.clip(np.rint(level), 0, len(self.slices) - 1))


def read_source(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> Source:
    """Read the headers of a series; arguments as for :func:`lungcad.dicom.read_series`.

    Raises:
        DicomSeriesError: the intake refuses the series.
        InputError: E-TAG-MISSING (study or an instance without UID), E-TAG-VALUE (instances that share a UID): results
            could not refer to them.
    """
    return source_of(begin_series(path, series_uid, acquisition, **leniency))


def source_of(begun: BegunSeries) -> Source:
    """Source of a series whose headers were read; raises InputError as :func:`read_source`."""
    stack = begun.plan.stack
    with disable_value_validation():
        pieces = [group[0] for group in stack.groups]
        patient = patient_and_study(pieces[0].header)
        by_header: dict[int, list[Slice]] = {}
        for piece in pieces:
            by_header.setdefault(id(piece.header), []).append(piece)
        named = {parts[0].header.text("FrameOfReferenceUID") for parts in by_header.values()}
        common = named.pop() if len(named) == 1 else ""
        named_series = pieces[0].header.text("SeriesInstanceUID")
        patient.FrameOfReferenceUID = common or derived_uid("frame of reference", named_series)
        make = _InstanceMaker(patient, stack.affine)
        instances = {number: make(parts) for number, parts in by_header.items()}
    if not patient.get("StudyInstanceUID") or not all(item.get("SOPInstanceUID") for item in instances.values()):
        raise InputError("E-TAG-MISSING", "the series has no StudyInstanceUID or SOPInstanceUID.")
    if len({item.SOPInstanceUID for item in instances.values()}) < len(instances):
        raise InputError("E-TAG-VALUE", "several instances of the series have the same SOPInstanceUID.")
    slices = [(instances[id(p.header)], p.frame + 1 if is_enhanced(p.header) else None) for p in pieces]
    layout = pieces[0].format
    reports = tuple(header.path for header in begun.found.headers if header.text("Modality") == "SR")
    return Source(list(instances.values()), slices, stack.affine, layout.columns, layout.rows, common, reports)


def patient_and_study(header: Header) -> Dataset:
    """Read patient, study, series and equipment from the complete header of an object.

    Required attributes that are missing become empty, and so does an invalid date or sex: anonymisers write words
    there. Optional attributes without the form that DICOM prescribes (an age of "74") are left out, and so are
    sequences except complete codes, and attributes that may not stand alone (ONLY_TOGETHER). A patient's name
    with a backslash stays one name: in Big5, which some files use undeclared, half of a character can be one.
    """
    complete = read_header(header.path, everything=True)
    if not isinstance(complete, Header):
        raise InputError("E-CORRUPT", "an image of the series can no longer be read.")
    kept = Dataset()
    for tag in complete.dataset.keys():  # noqa: SIM118 - iterating a data set converts all its values
        if tag.group in GROUPS:
            with contextlib.suppress(Exception):  # pydicom converts on access and raises many kinds
                element = complete.dataset[tag]
                _check_time(dictionary_VR(tag), str(element.value or ""))
                if keyword_for_tag(tag) not in KEPT_AS_IS:
                    _check_form(dictionary_VR(tag), element.value)
                allowed = element.value in ENUMERATED.get(keyword_for_tag(tag), (element.value,))
                if allowed and not keyword_for_tag(tag).startswith(ONLY_TOGETHER):
                    kept.add(element)
    if kept.get("PatientIdentityRemoved") == "YES" and not (
        kept.get("DeidentificationMethod") or kept.get("DeidentificationMethodCodeSequence")
    ):
        del kept.PatientIdentityRemoved  # DICOM wants the method beside it
    for keyword in TYPE_2:
        if keyword not in kept:
            setattr(kept, keyword, "")
    if isinstance(kept.PatientName, MultiValue):
        kept.PatientName = PersonName("\\".join(map(str, kept.PatientName)))
    if kept.PatientSex not in SEXES:
        kept.PatientSex = ""
    return kept


def _check_time(kind: str, text: str) -> None:
    """Raise ValueError where a date or time is invalid in form or calendar."""
    if kind in _TIMES and text:
        validate_value(kind, text, RAISE)  # the form
        _TIMES[kind](text)  # the calendar


def _check_form(kind: str, value: Any) -> None:
    """Raise ValueError where a value has not the form of its value representation, or a sequence is not of codes."""
    if kind == "SQ":
        if not value or not all({*item.dir()} == {*CODE} and all(item[name].value for name in CODE) for item in value):
            raise ValueError(kind)
        for item in value:
            for name in CODE:
                _check_form(item[name].VR, item[name].value)
        return
    for part in value if isinstance(value, MultiValue) else [value]:
        if kind in TEXT_KINDS and part not in (None, ""):
            validate_value(kind, getattr(part, "original_string", str(part)), RAISE)


class _InstanceMaker:
    """Maker of data sets that represent objects: UIDs, matrix and places of each, and the patient of the first object.

    Orientation and slice distance are those of the grid of the series: headers round them, and must agree here.

    Args:
        patient: patient, study, series and equipment.
        affine: (4, 4) index (column, row, slice) to LPS mm.
    """

    def __init__(self, patient: Dataset, affine: np.ndarray) -> None:
        self._shared = {tag: patient[tag] for tag in patient.keys() if keyword_for_tag(tag) not in PER_INSTANCE}  # noqa: SIM118
        axes = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
        normal = np.cross(axes[:, 0], axes[:, 1])
        self._orientation = Dataset()
        self._orientation.ImageOrientationPatient = decimals(axes.T.ravel().round(10))
        self._step = decimals([abs(normal @ affine[:3, 2]).round(6)])[0]
        self._measures: dict[tuple[float, ...], Dataset] = {}

    def __call__(self, pieces: list[Slice]) -> Dataset:
        """Data set of the object that holds these slices."""
        header, layout = pieces[0].header, pieces[0].format
        instance = Dataset()
        instance.update(self._shared)  # type: ignore[arg-type]
        for keyword in PER_INSTANCE[:3]:
            if header.text(keyword):
                setattr(instance, keyword, header.text(keyword))
        instance.Modality, instance.Rows, instance.Columns = "CT", layout.rows, layout.columns
        measures = self._measures_of(pieces[0].pixel_spacing_mm)
        places = [decimals(piece.position_mm) for piece in sorted(pieces, key=lambda piece: piece.frame)]
        if not is_enhanced(header):
            instance.update(self._orientation)
            instance.update(measures)
            instance.ImagePositionPatient = places[0]
            return instance
        shared = Dataset()
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [self._orientation], [measures]
        instance.SharedFunctionalGroupsSequence, instance.PerFrameFunctionalGroupsSequence = [shared], []
        for place in places:
            position, frame = Dataset(), Dataset()
            position.ImagePositionPatient = place
            frame.PlanePositionSequence = [position]
            instance.PerFrameFunctionalGroupsSequence.append(frame)
        instance.NumberOfFrames = len(places)
        return instance

    def _measures_of(self, pixel_spacing_mm: tuple[float, ...]) -> Dataset:
        """Pixel spacing and slice distance as attributes, made once for all objects of one spacing."""
        if pixel_spacing_mm not in self._measures:
            measures = self._measures[pixel_spacing_mm] = Dataset()
            measures.PixelSpacing = decimals(pixel_spacing_mm)
            measures.SliceThickness = measures.SpacingBetweenSlices = self._step
        return self._measures[pixel_spacing_mm]


def decimals(values: Iterable[float]) -> list[Any]:
    """Numbers as DICOM decimal strings of at most 16 characters."""
    return [DS(float(value), auto_format=True) for value in values]
