# SPDX-License-Identifier: Apache-2.0
"""The structured report, read back through highdicom and pydicom and compared with nodules.json."""

import logging
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_phantom import BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, STEP_MM, directions, make_series, rotated, save
from dicom_results_case import (
    BELOW,
    FINDINGS,
    FIRST,
    SECOND,
    UNSIZED,
    Written,
    ball_mask,
    by_dcmqi,
    numbers,
    result_of,
    write,
    write_phantom,
)
from enhanced_phantom import enhanced, legacy_converted
from highdicom.spatial import ImageToReferenceTransformer
from made_pair import sphere
from pydicom.config import disable_value_validation
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lungcad import Finding
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE, write_dicom, write_dicom_results
from lungcad.results.dicom.codes import attribute_code, malignancy_code
from lungcad.results.nodules_json import write_nodules_json
from lungcad.results.words import MALIGNANCY_MEANING
from lungcad.results.write import write as write_result

FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.3"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_phantom(tmp_path_factory.mktemp("report"))


def attributes_of(group: Any) -> dict[str, str]:
    told = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
    assert told.pop("276214006") == "49755003"  # highdicom takes the finding's category for an evaluation
    return told


def center_of(group: Any) -> np.ndarray:
    (item,) = [one for one in group[0].ContentSequence if one.ValueType == "SCOORD3D"]
    assert item.ConceptNameCodeSequence[0].CodeValue == "111010" and item.GraphicType == "POINT"
    assert item.ReferencedFrameOfReferenceUID == FRAME_OF_REFERENCE
    return np.array(item.GraphicData)


def test_every_number_is_that_of_nodules_json_rounded_to_what_it_means(written: Written) -> None:
    for entry in written.document["findings"][:2]:
        group = written.nodule(entry["id"])
        told = numbers(group)
        assert told.pop("Diameter") == (round(entry["diameter_mm"], 1), "mm")
        assert told.pop("Certainty of Finding") == (round(100 * entry["nodule_probability"]), "%")
        if entry["volume_mm3"]:
            assert told.pop("Volume") == (round(entry["volume_mm3"]), "mm3")
        assert told == {}  # nothing else, and no axis without a mask
        assert center_of(group) == pytest.approx(entry["center_lps_mm"], abs=1e-4)  # DICOM keeps points as float32


@pytest.mark.parametrize("indication", [None, "screening", "incidental"])
def test_a_category_is_coded_only_for_a_screening_ct_as_told(tmp_path: Path, indication: str | None) -> None:
    save(make_series(), tmp_path / "series")
    result = result_of(tmp_path / "series", [replace(FIRST, measurement=sphere(9.0), attributes=None), SECOND])
    assert write_dicom_results(tmp_path, replace(result, indication=indication)) == []
    report = hd.sr.srread(tmp_path / REPORT_FILE)
    first, second = report.content.get_planar_roi_measurement_groups()
    told = attributes_of(first)
    assert numbers(first)["Diameter"] == (9.0, "mm")  # as measured, not the detector's 6.1
    assert told.get("RID50134") == ("RID50139" if indication == "screening" else None)
    comments, others = (
        [str(one.TextValue) for one in group[0].ContentSequence if one.ValueType == "TEXT"] for group in (first, second)
    )
    words = [text for text in comments if "proposed Lung-RADS 4A" in text]
    assert len(words) == (indication != "incidental")
    assert all(text.startswith("If this") and "Taken for granted: " in text for text in words)
    assert not any("Lung-RADS" in text for text in others)  # not measured


def test_no_probability_of_cancer_and_no_full_certainty_leave_the_program(tmp_path: Path) -> None:
    told = write_phantom(tmp_path, [Finding((1.0, 2.0, -100.0), 6.0, 0.9, 0.99999, 0.9956)])
    assert numbers(told.nodule(1))["Certainty of Finding"] == (99.0, "%")
    assert attributes_of(told.nodule(1)) == {"RID36042": "905"}
    assert "cancer" not in str(told.report).lower().replace("highly suspicious for cancer", "")


@pytest.mark.parametrize(("probability", "step"), [(0.0, "901"), (0.19, "901"), (0.2, "902"), (0.5, "903"),
                                                   (0.79, "904"), (0.8, "905"), (1.0, "905")])  # fmt: skip
def test_malignancy_is_one_of_lidcs_five_steps(probability: float, step: str) -> None:
    assert malignancy_code(probability).value == step


def test_numbers_fit_the_16_characters_of_a_decimal_string(tmp_path: Path) -> None:
    long = Finding((1 / 3, -2 / 3, -100.1234567891), 20 / 3, None, 2 / 3, 0.1 + 0.2)
    told = write_phantom(tmp_path, [long])
    texts = [
        str(item.MeasuredValueSequence[0]["NumericValue"].value.original_string)
        for item in told.nodule(1)[0].ContentSequence if item.ValueType == "NUM"
    ]  # fmt: skip
    assert texts == ["6.7", "67.0"]


def test_unknown_is_left_out(written: Written) -> None:
    group = written.nodule(4)
    assert numbers(group) == {"Certainty of Finding": (70.0, "%")}  # its detection score, all that is known
    assert attributes_of(group) == {}
    assert codes.DCM.Comment not in [item.name for item in group[0].ContentSequence]
    assert written.region(4).graphic_type.value == "POINT"


def test_what_is_below_the_operating_point_is_not_told(written: Written) -> None:
    groups = written.report.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["nodule 1", "nodule 2", "nodule 4"]
    assert len({group.tracking_uid for group in groups}) == 3


def test_finding_site_and_algorithm_are_coded(written: Written) -> None:
    group = written.nodule(1)
    assert group.finding_type == codes.SCT.Nodule
    assert group.finding_category == codes.SCT.MorphologicallyAbnormalStructure
    assert group.finding_sites[0].value == codes.SCT.Lung
    texts = {item.name.meaning: item.value for item in group[0].ContentSequence if item.ValueType == "TEXT"}
    assert (texts["Algorithm Name"], texts["Algorithm Version"]) == ("lung_nodule_cad", "0.2.0")
    assert texts["Comment"] == MALIGNANCY_MEANING
    (observer,) = written.report.content.get_observer_contexts(observer_type=codes.DCM.Device)
    assert observer.observer_identifying_attributes.name == "lung_nodule_cad"
    assert observer.observer_identifying_attributes.manufacturer_name == "lungcad"


def test_attributes_have_the_codes_of_lidcs_own_readings(written: Written) -> None:
    assert attributes_of(written.nodule(1)) == {
        "RID36042": "905", "C45992": "105", "200": "C12471", "C3672": "373068000", "400": "004",
        "C25563": "RID5707", "C62175": "002", "C28749": "701", "C41144": "RID50151",
    }  # fmt: skip
    schemes = {item.CodingSchemeDesignator for item in written.report.CodingSchemeIdentificationSequence}
    assert schemes == {"99LIDCQIICR"}


@pytest.mark.parametrize(
    ("name", "score", "value"),
    [
        ("subtlety", 1.0, "101"), ("margin", 2.6, "003"), ("texture", 0.2, "RID50153"), ("texture", 9.0, "RID50151"),
        ("calcification", 5.6, "RID28473"), ("calcification", 5.4, "373068000"),
        ("internalStructure", 2.0, "373068000"),
    ],
)  # fmt: skip
def test_mean_score_becomes_the_nearest_step_but_of_kinds_only_the_usual(name: str, score: float, value: str) -> None:
    assert attribute_code(name, score)[1].value == value


@pytest.mark.parametrize(
    "options",
    [
        {}, {"axes": directions((-1, 0, 0), (0, -1, 0))}, {"axes": directions((-1, 0, 0), (0, 1, 0))},
        {"axes": rotated(15.0, 10.0)}, {"axes": rotated(180.0)}, {"step_mm": -STEP_MM},
    ],
    ids=["axial", "prone", "mirrored", "oblique", "feet first", "descending"],
)  # fmt: skip
def test_region_lies_where_nodules_json_says(tmp_path: Path, options: dict[str, Any]) -> None:
    told = write_phantom(tmp_path, **options)
    slices = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, (tmp_path / "series").iterdir())}
    for entry in (told.document["findings"][n] for n in (0, 1, 3)):
        region = told.region(entry["id"])
        uid = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        assert uid == entry["slice"]["sop_instance_uid"]
        one = slices[uid]
        to_patient = ImageToReferenceTransformer(
            one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing
        )
        points = to_patient(region.value)
        off = points.mean(axis=0) - entry["center_lps_mm"]
        normal = np.cross(*np.reshape(one.ImageOrientationPatient, (2, 3)).astype(float))
        assert abs(off @ normal) <= STEP_MM / 2 + 1e-3
        assert off - (off @ normal) * normal == pytest.approx([0, 0, 0], abs=1e-3)
        if entry["diameter_mm"]:
            axes = np.linalg.norm([points[1] - points[0], points[3] - points[2]], axis=1)
            assert axes == pytest.approx([entry["diameter_mm"]] * 2, abs=1e-3)
            pixels = np.linalg.norm(np.diff(region.value, axis=0)[[0, 2]], axis=1)
            assert pixels[0] / pixels[1] == pytest.approx(BETWEEN_ROWS_MM / BETWEEN_COLUMNS_MM, rel=1e-4)
        assert center_of(told.nodule(entry["id"])) == pytest.approx(entry["center_lps_mm"], abs=1e-4)


def test_tilted_gantry_places_regions_on_the_slices_as_they_are(tmp_path: Path) -> None:
    series = save(make_series(sideways_mm=(0, 0.2, 0)), tmp_path / "series")
    told = write(series, tmp_path / "out", correct_tilt=True)
    region = told.region(1)
    one = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, series.iterdir())}[
        region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    ]
    to_patient = ImageToReferenceTransformer(one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing)
    # the point is carried along the stack to the nearest slice, at most half a step: 0.1 mm sideways
    assert to_patient(region.value).mean(axis=0)[:2] == pytest.approx(FIRST.center_lps_mm[:2], abs=0.101)


def test_coronal_series_can_be_told_about_too(tmp_path: Path) -> None:
    series = save(make_series(axes=directions((1, 0, 0), (0, 0, -1))), tmp_path / "series")
    told = write(series, tmp_path / "out", allow_non_axial=True)
    assert told.document["findings"][0]["slice"]["sop_instance_uid"] is None  # the volume's Z counts no source slice
    uid = told.region(1).ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    one = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, series.iterdir())}[uid]
    assert one.ImagePositionPatient[1] == pytest.approx(FIRST.center_lps_mm[1], abs=STEP_MM / 2)


def test_enhanced_ct_is_referenced_by_frame(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(20)

    def multi_frame(slices: list) -> list:
        return [enhanced([slices[k] for k in order])]

    told = write_phantom(tmp_path, change=multi_frame)
    for entry in (told.document["findings"][n] for n in (0, 1, 3)):
        item = told.region(entry["id"]).ContentSequence[0].ReferencedSOPSequence[0]
        assert item.ReferencedSOPInstanceUID == "1.2.3.4.5"
        assert item.ReferencedFrameNumber == entry["slice"]["instance_number"]
        assert order[item.ReferencedFrameNumber - 1] == entry["slice"]["index"]


def test_no_nodule_is_stated(tmp_path: Path) -> None:
    told = write_phantom(tmp_path, [BELOW])  # one, below the operating point
    assert told.files == {REPORT_FILE} and told.notes == []
    (group,) = told.report.content.get_image_measurement_groups()
    (said,) = group.get_qualitative_evaluations()
    assert said.name == codes.DCM.CADProcessingAndFindingsSummary
    assert said.value == codes.DCM.AllAlgorithmsSucceededWithoutFindings
    texts = [item.value for item in group[0].ContentSequence if item.name == codes.DCM.Comment]
    assert texts == ["no nodule at or above 0.5 (balanced)"]


def test_patient_and_study_are_copied_and_the_rest_is_new(tmp_path: Path) -> None:
    def name(slices: list) -> None:
        for one in slices:
            one.SpecificCharacterSet = "ISO_IR 100"
            one.PatientName, one.PatientBirthDate, one.PatientSex = "Müller^Jörg", "19500102", "F"
            one.StudyDate, one.StudyTime, one.AccessionNumber, one.StudyID = "20240131", "101112", "A7", "S3"
            one.StudyDescription, one.ReferringPhysicianName, one.PatientAge = "Thorax für Ärzte", "Doc^Tor", "074Y"

    told = write_phantom(tmp_path, masks={FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, [3] * 3, np.eye(4))},
                         change=name)  # fmt: skip
    source = pydicom.dcmread(tmp_path / "series" / "IM000.dcm")
    objects = [pydicom.dcmread(told.folder / file) for file in (REPORT_FILE, SEGMENTATION_FILE)]
    for one in objects:
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate",
            "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName",
        ):  # fmt: skip
            assert one[keyword].value == source[keyword].value, keyword
        assert one.ContentQualification == "RESEARCH"
    series = {one.SeriesInstanceUID for one in [source, *objects]}
    assert len(series) == 3 and len({one.SOPInstanceUID for one in [source, *objects]}) == 3
    assert [one.SeriesDescription for one in objects] == [
        "Lung nodules, lung_nodule_cad 0.2.0", "Lung nodule masks, lung_nodule_cad 0.2.0"
    ]  # fmt: skip
    assert objects[1].ContentCreatorName == "lungcad"


def without_times(path: Path) -> pydicom.Dataset:
    dataset = pydicom.dcmread(path)
    for keyword in ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate",
                    "SeriesTime", "ContributingEquipmentSequence"):  # fmt: skip
        dataset.pop(keyword, None)
    return dataset


def test_a_retry_makes_the_same_objects_and_another_result_others(tmp_path: Path) -> None:
    series = save(make_series(), tmp_path / "series")
    masks = {FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, [3] * 3, np.eye(4))}
    first, again = write(series, tmp_path / "1", masks=masks), write(series, tmp_path / "2", masks=masks)
    for file in (REPORT_FILE, SEGMENTATION_FILE):
        assert without_times(first.folder / file) == without_times(again.folder / file)
    moved = replace(FIRST, center_lps_mm=(1.25, -4.5, -101.0))
    other = write(series, tmp_path / "3", [moved, *FINDINGS[1:]])
    assert other.report.SOPInstanceUID != first.report.SOPInstanceUID
    assert other.nodule(2).tracking_uid == first.nodule(2).tracking_uid
    assert other.nodule(1).tracking_uid != first.nodule(1).tracking_uid
    larger = {FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, [4] * 3, np.eye(4))}
    assert write(series, tmp_path / "4", masks=larger).report.SOPInstanceUID != first.report.SOPInstanceUID


def replaced_uids(path: Path) -> list[str]:
    items = pydicom.dcmread(path).get("PredecessorDocumentsSequence", [])
    return [one.ReferencedSOPInstanceUID for study in items for series in study.ReferencedSeriesSequence
            for one in series.ReferencedSOPSequence]  # fmt: skip


def test_a_new_version_names_the_report_that_it_replaces(tmp_path: Path) -> None:
    first = result_of(save(make_series(), tmp_path / "series"))
    second, third = (replace(first, weights_sha256={"a": name}) for name in ("2", "3"))
    other_chain = replace(first, bundles={"lung_nodule_detection_dou2017": "0.1.0"})
    reports = []
    for result in (first, first, second, second, first, other_chain):
        file = write_result(result, tmp_path / "out", [write_nodules_json, write_dicom]) / REPORT_FILE
        reports.append((pydicom.dcmread(file).SOPInstanceUID, replaced_uids(file)))
    (a, none), retry, (b, before_b), retry_b, (c, before_c), other = reports
    assert none == [] and retry == (a, []) and retry_b == (b, [a])
    assert before_b == [a] and before_c == [b] and len({a, b, c}) == 3  # what says something else has another UID
    assert other[1] == []  # a bundle on its own replaces no report of the chain
    shutil.copy(tmp_path / "out" / first.volume.series_uid / REPORT_FILE, tmp_path / "series" / "other.dcm")
    write_result(first, tmp_path / "new", [write_nodules_json, write_dicom])
    shutil.copy(tmp_path / "new" / first.volume.series_uid / REPORT_FILE, tmp_path / "series" / "ours.dcm")
    file = write_result(third, tmp_path / "newer", [write_nodules_json, write_dicom]) / REPORT_FILE
    assert replaced_uids(file) == [a]  # of the study's folder
    if shutil.which("dciodvfy"):
        said = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr


def test_other_weights_make_other_objects(tmp_path: Path) -> None:
    result = result_of(save(make_series(), tmp_path / "series"))
    uids = set()
    for number, weights in enumerate(({}, {"a": "1"}, {"a": "2"}, {"a": "2"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert write_dicom_results(folder, replace(result, weights_sha256=weights)) == []
        uids.add(pydicom.dcmread(folder / REPORT_FILE).SOPInstanceUID)
    assert len(uids) == 3


def test_invalid_optional_tags_of_the_source_are_left_out(tmp_path: Path) -> None:
    def spoil(slices: list) -> None:
        for one in slices:
            with disable_value_validation():
                one.PatientAge, one.SmokingStatus = "74", "sometimes, he said"
                one.PatientID = "x" * 70
                one.StudyDescription = "Thorax"

    told = write_phantom(tmp_path, change=spoil)
    report = pydicom.dcmread(told.folder / REPORT_FILE)
    assert not {"PatientAge", "SmokingStatus"} & set(report.dir())
    assert report.PatientID == "x" * 70 and report.StudyDescription == "Thorax"


def test_a_comprehensive_sr_for_archives_that_take_no_other(tmp_path: Path) -> None:
    result = result_of(save(make_series(), tmp_path / "series"))
    (tmp_path / "out").mkdir()
    assert write_dicom_results(tmp_path / "out", result, comprehensive=True) == []
    report = pydicom.dcmread(tmp_path / "out" / REPORT_FILE)
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33" and "SCOORD3D" not in str(report)
    if shutil.which("dciodvfy"):
        command = ["dciodvfy", "-new", str(tmp_path / "out" / REPORT_FILE)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"), ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)  # fmt: skip
def test_names_in_any_script_survive(tmp_path: Path, character_set: Any, name: str) -> None:
    def rename(slices: list) -> None:
        for one in slices:
            one.SpecificCharacterSet, one.PatientName = character_set, name

    told = write_phantom(tmp_path, change=rename)
    assert str(pydicom.dcmread(told.folder / REPORT_FILE).PatientName) == name


@pytest.mark.parametrize("name", ["許^大明".encode("big5"), b"Doe^Jane\\Roe^Jane"])
def test_a_name_with_a_backslash_stays_what_readers_make_of_it(tmp_path: Path, name: bytes) -> None:
    assert b"\\" in name

    def rename(slices: list) -> None:
        for one in slices:
            one.SpecificCharacterSet = "ISO_IR 100"
            one.PatientName = MultiValue(str, name.decode("latin-1").split("\\"))

    masks = {FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, [3] * 3, np.eye(4))}
    told = write_phantom(tmp_path, masks=masks, change=rename)
    source = pydicom.dcmread(tmp_path / "series" / "IM000.dcm")
    assert source.get_item("PatientName").value.strip() == name
    assert told.notes == []
    for file in (REPORT_FILE, SEGMENTATION_FILE):
        assert pydicom.dcmread(told.folder / file).PatientName == source.PatientName


def test_legacy_converted_ct_is_told_about_frame_by_frame(tmp_path: Path) -> None:
    series = legacy_converted(make_series())
    series.save_as(tmp_path / "whole.dcm")
    told = write(tmp_path / "whole.dcm", tmp_path / "out")
    item = told.region(1).ContentSequence[0].ReferencedSOPSequence[0]
    assert item.ReferencedSOPInstanceUID == series.SOPInstanceUID
    assert item.ReferencedFrameNumber == told.document["findings"][0]["slice"]["instance_number"]


def test_all_slices_stand_in_the_image_library_and_in_the_evidence(written: Written) -> None:
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in (written.folder.parent / "series").iterdir()}
    (library,) = [item for item in written.report.ContentSequence if item.name == codes.DCM.ImageLibrary]
    entries = [item for item in library.ContentSequence[0].ContentSequence if item.ValueType == "IMAGE"]
    assert {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in entries} == uids
    (study,) = written.report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence} == uids


def anonymise(slices: list) -> None:
    """Leave nothing that intake can do without, and words where dates should be."""
    for one in slices:
        del one.PatientName, one.PatientID, one.InstanceNumber, one.SliceThickness, one.SeriesDescription
        one.PatientSex = "REMOVED"
        for keyword in ("StudyDate", "PatientBirthDate", "StudyTime"):
            one[keyword] = pydicom.DataElement(keyword, "LO", "anonymous")


def test_anonymised_series_gives_objects_with_empty_attributes(tmp_path: Path) -> None:
    told = write_phantom(tmp_path, change=anonymise)
    report = pydicom.dcmread(told.folder / REPORT_FILE)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        assert keyword in report and report[keyword].is_empty, keyword
    assert len(told.report.content.get_planar_roi_measurement_groups()) == 3


@pytest.mark.parametrize("damage", ["missing", "one for each slice"])
def test_without_a_common_frame_of_reference_there_are_regions_but_no_points(tmp_path: Path, damage: str) -> None:
    def break_frames(slices: list) -> None:
        for number, one in enumerate(slices):
            if damage == "missing":
                del one.FrameOfReferenceUID
            else:
                one.FrameOfReferenceUID = f"1.2.3.{number}"

    told = write_phantom(tmp_path, masks={SECOND.center_lps_mm: ball_mask(SECOND.center_lps_mm, [2] * 3, np.eye(4))},
                         change=break_frames)  # fmt: skip
    assert told.region(1).graphic_type.value == "ELLIPSE"
    kinds = {item.ValueType for number in (1, 2, 4) for item in told.nodule(number)[0].ContentSequence}
    assert "SCOORD3D" not in kinds
    assert not told.segmentation.FrameOfReferenceUID.startswith("1.2.3")  # one of its own


def test_without_a_study_uid_nothing_is_written(tmp_path: Path) -> None:
    def forget(slices: list) -> None:
        for one in slices:
            del one.StudyInstanceUID

    told = write_phantom(tmp_path, change=forget)
    assert told.files == set()
    assert told.notes == ["no report and no segmentation: the series has no StudyInstanceUID or SOPInstanceUID."]


def test_images_that_share_a_uid_cannot_be_told_about(tmp_path: Path) -> None:
    def share(slices: list) -> None:
        slices[4].SOPInstanceUID = slices[12].SOPInstanceUID

    told = write_phantom(tmp_path, change=share)
    assert told.files == set()
    assert told.notes == [
        "no report and no segmentation: several instances of the series have the same SOPInstanceUID."
    ]  # fmt: skip


@pytest.mark.parametrize(("late", "suffix"), [(1, ""), (0, ".1")], ids=["one came later", "others by now"])
def test_images_that_were_not_analysed_are_not_told_of(tmp_path: Path, late: int, suffix: str) -> None:
    slices = make_series()
    series = save(slices[: len(slices) - late], tmp_path / "series")
    result = result_of(series)
    for one in slices:
        one.SOPInstanceUID += suffix
    save(slices, series)
    notes = write_dicom_results(tmp_path, result)
    assert notes == ["no report and no segmentation: the series is no longer the one that was analysed"]
    assert not list(tmp_path.glob("*.dcm"))


def test_headers_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of(save(make_series(), tmp_path / "series"))
    monkeypatch.setattr("lungcad.dicom.series.find_objects", lambda path: 1 / 0)
    assert write_dicom_results(tmp_path, result) == []
    assert (tmp_path / REPORT_FILE).is_file()


def test_no_log_line_names_the_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def odd_name(slices: list) -> None:
        for one in slices:
            one.PatientName = "Secretperson"  # without ^, which highdicom finds odd

    with caplog.at_level(logging.WARNING):
        write_phantom(tmp_path, change=odd_name)
    assert "Secretperson" not in caplog.text + "".join(capfd.readouterr())


def test_report_says_that_nobody_verified_it(written: Written) -> None:
    report = written.report
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE", "PRELIMINARY", "UNVERIFIED",
    )  # fmt: skip
    assert report.content[0].ContentTemplateSequence[0].TemplateIdentifier == "1500"
    procedure = [i.value for i in report.ContentSequence if i.name == codes.DCM.ProcedureReported]
    assert procedure == [Code("24627-2", "LN", "CT Chest")]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("findings", [FINDINGS, [], [UNSIZED]], ids=["findings", "none", "of unknown size"])
def test_dciodvfy_finds_no_error_in_the_report(tmp_path: Path, findings: list[Finding]) -> None:
    told = write_phantom(tmp_path, findings)
    command = ["dciodvfy", "-new", str(told.folder / REPORT_FILE)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Comprehensive3DSR" in said.stdout + said.stderr
    assert "Error" not in said.stdout + said.stderr


@pytest.mark.skipif(shutil.which("tid1500reader") is None, reason="needs tid1500reader (dcmqi)")
def test_dcmqi_reads_the_same_numbers(tmp_path: Path) -> None:
    mask = ball_mask(FIRST.center_lps_mm, [3] * 3, np.eye(4))
    told = write_phantom(tmp_path, masks={FIRST.center_lps_mm: mask})
    read = by_dcmqi(told, tmp_path)
    assert read["procedureReported"]["CodeValue"] == "24627-2"
    assert read["observerContext"]["DeviceObserverName"] == "lung_nodule_cad"
    assert len(read["imageLibrary"]) == 20
    groups = [one for one in read["Measurements"] if one["measurementItems"]]
    assert [one["TrackingIdentifier"] for one in groups] == ["nodule 1", "nodule 1", "nodule 2", "nodule 4"]
    del groups[0]  # the circle of nodule 1
    for number, theirs in zip((1, 2, 4), groups, strict=True):
        ours = told.nodule(number)
        assert theirs["TrackingUniqueIdentifier"] == ours.tracking_uid
        values = {one["quantity"]["CodeMeaning"]: float(one["value"]) for one in theirs["measurementItems"]}
        assert values == pytest.approx({name: value for name, (value, _) in numbers(ours).items()})
    assert groups[0]["segmentationSOPInstanceUID"] == told.segmentation.SOPInstanceUID
    assert groups[0]["ReferencedSegment"] == 1
