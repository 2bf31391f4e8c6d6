# SPDX-License-Identifier: Apache-2.0
"""Report and segmentation of odd source series, read by dciodvfy, highdicom and, where it is installed, dcmqi."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_phantom import directions, gdcm_jpeg, make_series, rotated, save
from dicom_results_case import FIRST, SECOND, Written, ball_mask, by_dcmqi, numbers, same_points, segment_points, write
from enhanced_phantom import enhanced, item, legacy_converted
from openjpeg.utils import encode_array
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate

from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (dicom3tools)"),
]
Slices = list[FileDataset]
LONG = "1.2.826.0.1.3680043.8.498." + "9" * 36


def tagged(**tags: Any) -> Callable[[Slices], None]:
    """A change that sets tags of every slice, valid or not."""

    def change(slices: Slices) -> None:
        with disable_value_validation():
            for one in slices:
                for keyword, value in tags.items():
                    setattr(one, keyword, value)

    return change


def without(*keywords: str) -> Callable[[Slices], None]:
    def change(slices: Slices) -> None:
        for one in slices:
            for keyword in keywords:
                one.pop(keyword, None)

    return change


def compressed(syntax: str) -> Callable[[Slices], None]:
    def change(slices: Slices) -> None:
        for one in slices:
            if syntax == uid.JPEG2000Lossless:
                stream = encode_array(one.pixel_array, bits_stored=16, photometric_interpretation=2)
                one.PixelData = encapsulate([bytes(stream)])
                one["PixelData"].VR, one["PixelData"].is_undefined_length = "OB", True
                one.file_meta.TransferSyntaxUID = syntax
            else:
                one.compress(syntax, generate_instance_uid=False)

    return change


def words_for_numbers(slices: Slices) -> None:
    for one in slices:
        for keyword in ("PatientWeight", "PatientSize", "SpatialResolution", "SliceThickness", "SeriesNumber"):
            one[keyword] = pydicom.DataElement(keyword, "LO", "heavy")


def complete_codes(slices: Slices) -> None:
    for one in slices:
        one.ProcedureCodeSequence = [item(CodeValue="24627-2", CodingSchemeDesignator="LN", CodeMeaning="CT Chest")]
        one.PatientIdentityRemoved = "YES"
        one.DeidentificationMethodCodeSequence = [
            item(CodeValue="113100", CodingSchemeDesignator="DCM", CodeMeaning="Basic Confidentiality Profile")
        ]


def encoded(syntax: str) -> Callable[[Slices], None]:
    def change(slices: Slices) -> None:
        for one in slices:
            one.file_meta.TransferSyntaxUID = syntax

    return change


def long_uids(slices: Slices) -> None:
    for number, one in enumerate(slices):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{LONG[:-2]}{number + 10}"
        one.SeriesInstanceUID, one.StudyInstanceUID = f"{LONG[:-1]}1", f"{LONG[:-1]}2"
        one.FrameOfReferenceUID = f"{LONG[:-1]}3"


def private(slices: Slices) -> None:
    for one in slices:
        for group in (0x0009, 0x0011, 0x0021, 0x0033):
            block = one.private_block(group, "SOMEBODY 1.0", create=True)
            block.add_new(0x01, "LO", "private text")
            block.add_new(0x02, "SQ", [item(PatientName="Inner^Name")])


def broken_sequences(slices: Slices) -> None:
    for one in slices:
        one.ReferencedStudySequence = [item()]
        one.ProcedureCodeSequence = [item(CodeValue="1")]
        one.PatientSpeciesCodeSequence = []
        one.RequestAttributesSequence = [item(ScheduledProcedureStepDescription="x" * 70)]
        one.ReferencedPatientSequence = [item(ReferencedSOPClassUID="1.2")]
        one.OtherPatientIDsSequence = [item(PatientID="x")]
        one.IssuerOfAccessionNumberSequence = [item()]


def one_frame_of_reference_each(slices: Slices) -> None:
    for number, one in enumerate(slices):
        one.FrameOfReferenceUID = f"1.2.3.{number}"


SOURCES: dict[str, tuple[Callable[[Slices], Any] | None, dict[str, Any], dict[str, Any]]] = {
    "plain": (None, {}, {}),
    "no optional tag": (without("PatientName", "PatientID", "InstanceNumber", "SliceThickness", "SeriesDescription",
                                "FrameOfReferenceUID", "ImageType"), {}, {}),
    "a frame of reference for each slice": (one_frame_of_reference_each, {}, {}),
    "odd optional tags": (tagged(PatientAge="74", StudyTime="25:61", StudyID="s" * 20,
                                 PatientBirthDate="1950", PatientSex="W", EthnicGroup="x" * 40, Occupation="y" * 40,
                                 MilitaryRank="z" * 99, PregnancyStatus=7, StudyDescription="d" * 99), {}, {}),
    "words for numbers": (words_for_numbers, {}, {}),
    "complete codes": (complete_codes, {}, {}),
    "trial and animal": (tagged(ClinicalTrialSponsorName="sponsor", ClinicalTrialProtocolID="p",
                                ClinicalTrialSubjectID="s", PatientSpeciesDescription="Canis", ResponsiblePerson="A^B",
                                PatientBreedDescription="x", PatientIdentityRemoved="YES"), {}, {}),
    "institution and equipment": (tagged(Manufacturer="", InstitutionName="x" * 99, SoftwareVersions=["a", "b" * 80],
                                         DeviceSerialNumber="", StationName="s" * 30, DateOfLastCalibration="soon",
                                         ), {}, {}),
    "broken sequences": (broken_sequences, {}, {}),
    "private tags": (private, {}, {}),
    "no StudyID, order, physician": (without("StudyID", "AccessionNumber", "ReferringPhysicianName"), {}, {}),
    "physicians, several names": (tagged(ReferringPhysicianName="Doe^Jane", NameOfPhysiciansReadingStudy=["A^B", "C"],
                                         PhysiciansOfRecord="x" * 80), {}, {}),
    "longest UIDs": (long_uids, {}, {}),
    "UTF-8": (tagged(SpecificCharacterSet="ISO_IR 192", PatientName="Wang^XiaoDong=王^小东",
                     StudyDescription="胸部"), {}, {}),
    "Latin 1": (tagged(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg",
                       StudyDescription="für Ärzte"), {}, {}),
    "ISO 2022": (tagged(SpecificCharacterSet=["", "ISO 2022 IR 87"],
                        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"), {}, {}),
    "unknown character set": (tagged(SpecificCharacterSet="nonsense", PatientName="Doe^Jane"), {}, {}),
    "long name and id": (tagged(PatientName="x" * 60, PatientID="7" * 64), {}, {}),
    "enhanced": (lambda slices: [enhanced(slices)], {}, {}),
    "legacy converted": (lambda slices: [legacy_converted(slices)], {}, {}),
    "thick slices": (None, {"step_mm": 5.5}, {"max_spacing_mm": 6.0}),
    "tilted gantry": (None, {"sideways_mm": (0, 0.2, 0)}, {"correct_tilt": True}),
    "coronal": (None, {"axes": directions((1, 0, 0), (0, 0, -1))}, {"allow_non_axial": True}),
    "oblique": (None, {"axes": rotated(15.0, 10.0)}, {}),
    "prone, descending": (None, {"axes": directions((-1, 0, 0), (0, -1, 0)), "step_mm": -1.25}, {}),
    "big endian": (None, {}, {}),
    "implicit": (encoded(uid.ImplicitVRLittleEndian), {}, {}),
    "deflated": (encoded(uid.DeflatedExplicitVRLittleEndian), {}, {}),
    "RLE": (compressed(uid.RLELossless), {}, {}),
    "JPEG-LS": (compressed(uid.JPEGLSLossless), {}, {}),
    "JPEG 2000": (compressed(uid.JPEG2000Lossless), {}, {}),
    "lossy": (tagged(LossyImageCompression="01", LossyImageCompressionRatio="9",
                     ImageType=["DERIVED", "PRIMARY", "AXIAL"], LossyImageCompressionMethod="ISO_10918_1"), {}, {}),
}  # fmt: skip
"""By what is odd: the change of the slices, how they are made, and the leniency."""


def written(name: str, tmp_path: Path) -> Written:
    """Results of a source with two nodules, both with masks."""
    change, options, leniency = SOURCES[name]
    slices = make_series(**options)
    slices = (change(slices) if change else None) or slices
    masks = {one.center_lps_mm: ball_mask(one.center_lps_mm, [3, 3, 4], np.eye(4)) for one in (FIRST, SECOND)}
    if name == "big endian":
        (tmp_path / "series").mkdir()
        for number, one in enumerate(slices):
            one.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
            pydicom.dcmwrite(tmp_path / "series" / f"{number}.dcm", one, implicit_vr=False, little_endian=False)
    else:
        save(slices, tmp_path / "series")
    return write(tmp_path / "series", tmp_path / "out", [FIRST, SECOND], masks, **leniency)


def errors_by_dciodvfy(path: Path) -> list[str]:
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, check=False)
    return [line for line in (said.stdout + said.stderr).decode("utf-8", "replace").splitlines() if "Error" in line]


@pytest.mark.parametrize("name", SOURCES)
def test_objects_of_odd_sources_are_valid_and_say_the_same(name: str, tmp_path: Path) -> None:
    told = written(name, tmp_path)
    assert told.notes == [] and told.files == {REPORT_FILE, SEGMENTATION_FILE}
    for file in told.files:
        assert errors_by_dciodvfy(told.folder / file) == []
    for number, finding in enumerate((FIRST, SECOND), start=1):
        values = numbers(told.nodule(number))
        assert values["Certainty of Finding"][0] == round(100 * finding.score)
        points = segment_points(told.folder / SEGMENTATION_FILE, number)
        assert points.mean(axis=0) == pytest.approx(finding.center_lps_mm, abs=2.0 if name == "thick slices" else 1.0)
    source = pydicom.dcmread(next((tmp_path / "series").iterdir()), stop_before_pixels=True)
    for file in told.files:
        made = pydicom.dcmread(told.folder / file, stop_before_pixels=True)
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert str(made.PatientName) == str(source.get("PatientName", ""))
        assert str(made.PatientID) == str(source.get("PatientID", ""))


@pytest.mark.skipif(shutil.which("tid1500reader") is None, reason="needs dcmqi")
@pytest.mark.parametrize("name", SOURCES)
def test_dcmqi_reads_odd_sources_alike(name: str, tmp_path: Path) -> None:
    told = written(name, tmp_path)
    _, first = [one for one in by_dcmqi(told, tmp_path)["Measurements"] if one["measurementItems"]][:2]
    values = {one["quantity"]["CodeMeaning"]: float(one["value"]) for one in first["measurementItems"]}
    assert values == pytest.approx({key: value for key, (value, _) in numbers(told.nodule(1)).items()})
    if name == "tilted gantry":
        return  # ITK's images cannot hold a sheared stack
    command = ["segimage2itkimage", "--inputDICOM", str(told.folder / SEGMENTATION_FILE), "--outputDirectory",
               str(tmp_path), "--outputType", "nrrd"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(tmp_path / "1.nrrd"))
    index = np.argwhere(sitk.GetArrayViewFromImage(image) == 1)[:, ::-1]
    points = np.array([image.TransformIndexToPhysicalPoint(one.tolist()) for one in index])
    assert same_points(segment_points(told.folder / SEGMENTATION_FILE, 1), points, 0.02)


def test_a_jpeg_lossless_source_as_gdcm_writes_it(tmp_path: Path) -> None:
    slices = [gdcm_jpeg(one, tmp_path, "1.2.840.10008.1.2.4.70") for one in make_series()]
    masks = {FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, [3] * 3, np.eye(4))}
    told = write(save(slices, tmp_path / "series"), tmp_path / "out", [FIRST], masks)
    for file in (REPORT_FILE, SEGMENTATION_FILE):
        assert errors_by_dciodvfy(told.folder / file) == []
