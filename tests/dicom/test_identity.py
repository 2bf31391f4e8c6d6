# SPDX-License-Identifier: Apache-2.0
"""One series is one patient, one study, one frame of reference; nothing of a person reaches a message."""

from pathlib import Path

import pytest
from dicom_phantom import assert_exact, make_series, save

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.printable import file_label, names_person, printable


def refusal(folder: Path) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder)
    return caught.value


CONFLICTS = [
    ("PatientID", "OTHER"), ("PatientName", "Other^Person"), ("PatientBirthDate", "19700101"), ("PatientSex", "M"),
    ("IssuerOfPatientID", "elsewhere"), ("StudyInstanceUID", "1.2.3.4"), ("FrameOfReferenceUID", "1.2.3.5"),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "value"), CONFLICTS)
@pytest.mark.parametrize("which", [slice(10, None), slice(0, None, 2), slice(-1, None)], ids=["block", "2nd", "end"])
def test_mixed_identity_is_refused_and_tells_no_value(tmp_path: Path, keyword: str, value: str, which: slice) -> None:
    series = make_series()
    for dataset in series:
        dataset.PatientBirthDate, dataset.PatientSex, dataset.IssuerOfPatientID = "19500101", "F", "here"
    for dataset in series[which]:
        setattr(dataset, keyword, value)
    folder = save(series, tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-IDENTITY"
    told = () if keyword == "FrameOfReferenceUID" else (value,)  # such UIDs are labels to choose from
    assert not any(word in str(error) for word in (*told, "Secret", "ID12345", "1950"))
    assert list_series(folder)[0].code == "E-IDENTITY"


@pytest.mark.parametrize(("keyword", "value"), [pair for pair in CONFLICTS if pair[0] != "FrameOfReferenceUID"])
def test_a_tag_that_some_images_lack_is_told(tmp_path: Path, keyword: str, value: str) -> None:
    series = make_series()
    for dataset in series:
        setattr(dataset, keyword, value)
    for dataset in series[:3]:
        setattr(dataset, keyword, "")
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert any(notice.startswith(f"W-IDENTITY {keyword} is empty in 3 of 20") for notice in volume.warnings)


def test_one_name_in_several_spellings_is_one_person(tmp_path: Path) -> None:
    series = make_series()
    names = ["Secret^Person", "SECRET^PERSON^^", "secret person", "Person^Secret"] * 5
    for dataset, name in zip(series, names, strict=True):
        dataset.PatientName = name
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert not any("IDENTITY" in notice for notice in volume.warnings)


def test_a_frame_of_reference_for_each_image_is_read_and_told(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.FrameOfReferenceUID = f"1.2.3.{k}"
    volume = read_series(save(series, tmp_path / "a"))
    assert_exact(volume)
    assert any(notice.startswith("W-FRAME-OF-REFERENCE") for notice in volume.warnings)
    del series[7].FrameOfReferenceUID  # one lost on the way
    assert any("W-FRAME" in notice for notice in read_series(save(series, tmp_path / "c")).warnings)
    series[3].FrameOfReferenceUID = series[4].FrameOfReferenceUID  # two share one: no anonymiser's habit
    assert refusal(save(series, tmp_path / "b")).code == "E-IDENTITY"


def test_a_frame_of_reference_for_each_image_of_two_devices_is_refused(tmp_path: Path) -> None:
    series = make_series()
    for k, dataset in enumerate(series):
        dataset.FrameOfReferenceUID, dataset.DeviceSerialNumber = f"1.2.3.{k}", str(k // 10)
    assert refusal(save(series, tmp_path / "s")).code == "E-IDENTITY"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A\x1b[31mRED\nerror[E-FAKE]", "A [31mRED error[E-FAKE]"),
        ("a\u202eb\u200bc\u2028d\x85e\ud800f\x7f", "a b c d e f"),
        ("  Thorax\t1,25 mm ä 日本 ", "Thorax 1,25 mm ä 日本"), (None, "None"),
    ],
)  # fmt: skip
def test_printable_is_one_line_of_visible_characters(text: object, clean: str) -> None:
    assert printable(text) == clean and printable(clean) == clean


def test_nothing_of_a_tag_steers_the_terminal(tmp_path: Path) -> None:
    series = make_series()
    evil = "x\x1b]0;pwned\x07\nerror[E-FAKE] y"
    for dataset in series:
        dataset.SeriesDescription = dataset.RescaleType = dataset.ConvolutionKernel = evil
        dataset.Modality, dataset.StudyInstanceUID = "CT", "1.2\n3"
    folder = save(series, tmp_path / "s")
    volume = read_series(folder)
    told = [*volume.warnings, volume.description, volume.study_uid, repr(list_series(folder))]
    assert all(text.isprintable() for text in told) and not any("pwned" in notice for notice in volume.warnings)
    series[3].ImagePositionPatient = None
    assert str(refusal(save(series, tmp_path / "t"))).isprintable()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("CT of secret^person", True), ("CT SECR 1", True), ("Thorax ID 12345", True), ("Li 2", True), ("Müller", True),
        ("MULLER 3mm", True), ("Thorax 1.25 B50f", False), ("lung clinic", False),
    ],
)  # fmt: skip
def test_descriptions_with_parts_of_a_name_or_id_are_known(text: str, hidden: bool) -> None:
    assert names_person(text, ["Secret^Person", "Müller^Li"], ["ID-12345"]) == hidden


@pytest.mark.parametrize(
    ("name", "shown"),
    [("IM0012.dcm", True), ("1.2.840.113.7.dcm", True), ("slice 3 (1).dcm", True), ("mueller_hans_3.dcm", False)],
)
def test_a_file_is_named_where_its_name_is_no_persons(name: str, shown: bool) -> None:
    assert (file_label(name) == name) == shown


@pytest.mark.parametrize("text", ["CT 19480521", "21.05.1948 CT", "Thorax A99-887766", "thorax x4711y"])
def test_descriptions_with_other_identifiers_of_the_patient_are_not_shown(tmp_path: Path, text: str) -> None:
    series = make_series()
    for dataset in series:
        dataset.PatientBirthDate, dataset.AccessionNumber, dataset.OtherPatientIDs = "19480521", "A99887766", "4711"
        dataset.SeriesDescription = text
    folder = save(series, tmp_path / "s")
    volume = read_series(folder)
    assert volume.description == "" and text not in repr(list_series(folder)) + repr(volume.warnings)
