# SPDX-License-Identifier: Apache-2.0
"""Persons' names in tags where nobody expects them reach no list, message, notice or description."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from dicom_phantom import make_series, save
from pydicom import DataElement
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR

from lungcad.dicom import choose_best, list_series, read_series
from lungcad.errors import InputError
from lungcad.printable import short_label

KEYWORDS = (
    "SOPClassUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType", "SeriesDescription",
    "AcquisitionNumber", "AcquisitionUID", "IrradiationEventUID", "TemporalPositionIdentifier", "KVP",
    "NominalPercentageOfCardiacPhase", "ConvolutionKernel", "ContrastBolusAgent", "AcquisitionTime", "RescaleType",
    "RescaleSlope", "PhotometricInterpretation", "InstanceNumber", "BitsAllocated", "PatientSex", "Manufacturer",
)  # fmt: skip


def said_about(folder: Path) -> str:
    """Everything that the intake says about a folder."""
    parts = []
    for ask in (
        lambda: json.dumps([asdict(one) for one in list_series(folder)], ensure_ascii=False),
        lambda: str((volume := read_series(folder)).warnings) + volume.description,
        lambda: str(read_series(folder, acquisition="x")),
        lambda: choose_best(folder).reason,
    ):
        try:
            parts.append(ask())
        except InputError as error:
            parts.append(str(error))
    return "\n".join(parts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_name_in_any_tag_stays_in_the_file(keyword: str, tmp_path: Path) -> None:
    for number, value in enumerate(("SECRETPERS", "Doctor Jane\x1b[31m\n=cmd()")):
        for every in (True, False):
            slices = make_series(8)
            with disable_value_validation():
                for k, one in enumerate(slices):
                    one.PatientName, one.PatientID = "Secretpers^Jane", "JANE77"
                    if every or k == 4:
                        text = dictionary_VR(keyword) in ("CS", "LO", "SH", "UI", "TM")
                        one[keyword] = DataElement(keyword, dictionary_VR(keyword) if text else "LO", value)
                said = said_about(save(slices, tmp_path / f"{number}{every}"))
        assert "secretpers" not in said.lower() and "jane" not in said.lower() and "\x1b" not in said


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("3", "3"), ("1.2.840.3", "1.2.840.3"), ("12:30:00.5", "12:30:00.5"), ("B30f", "B30f"), ("none", "none"),
        ("STANDARD", "STANDARD"), ("['Bl57', '3']", "Bl57\\3"),
    ],
)  # fmt: skip
def test_labels_that_name_nobody_stay_as_they_are(text: str, label: str) -> None:
    assert short_label(text, ["Doe^Jane"], ["ID77"]) == label


def test_other_texts_become_checksums_that_can_be_chosen(tmp_path: Path) -> None:
    slices = make_series(16)
    for number, one in enumerate(slices):
        with disable_value_validation():
            one["AcquisitionNumber"] = DataElement("AcquisitionNumber", "LO", "Doe, J." if number % 2 else "1")
    folder = save(slices, tmp_path)
    (series,) = list_series(folder)
    label = short_label("Doe, J.", [], [])
    assert label.startswith("value-") and [one.label for one in series.acquisitions] == ["1", label]
    assert read_series(folder, acquisition=label).hu.shape[2] == 8
