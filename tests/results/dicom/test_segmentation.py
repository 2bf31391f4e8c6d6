# SPDX-License-Identifier: Apache-2.0
"""The segmentation, read back and compared with the masks; and what the report says of them."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantom import BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, STEP_MM, directions, make_series, rotated, save
from dicom_results_case import BELOW, FIRST, SECOND, Written, ball_mask, same_points, segment_points, write_phantom
from enhanced_phantom import enhanced
from small_cases import CPU

from lungcad import Finding, InputError
from lungcad.dicom import read_series
from lungcad.finding import FindingMask
from lungcad.geometry import scaled_affine, to_world
from lungcad.measurement import Measurement
from lungcad.reading.volume_file import read_volume
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE
from lungcad.results.dicom.source import read_source
from lungcad.results.dicom.source_mask import on_source
from lungcad.results.transforms import WriteFindingsd
from lungcad.scan.scan import Scan

ONE_MM = np.eye(4)
PIXEL_MM3 = BETWEEN_COLUMNS_MM * BETWEEN_ROWS_MM * STEP_MM
GEOMETRIES = {
    "axial": {}, "prone": {"axes": directions((-1, 0, 0), (0, -1, 0))}, "oblique": {"axes": rotated(15.0, 10.0)},
    "mirrored": {"axes": directions((-1, 0, 0), (0, 1, 0))}, "feet first": {"axes": rotated(180.0)},
    "descending": {"step_mm": -STEP_MM}, "tilted": {"sideways_mm": (0, 0.2, 0)},
}  # fmt: skip


def two_masks() -> dict:
    return {
        FIRST.center_lps_mm: ball_mask(FIRST.center_lps_mm, (3.1, 3.1, 3.1), ONE_MM),
        SECOND.center_lps_mm: ball_mask(SECOND.center_lps_mm, (2.0, 2.5, 2.0), ONE_MM),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_phantom(tmp_path_factory.mktemp("segmentation"), masks=two_masks())


def native_mask(series: Path, low: tuple[int, int, int], high: tuple[int, int, int]) -> FindingMask:
    """Some voxels of a box on the series' own grid."""
    volume = read_series(series)
    mask = np.random.default_rng(0).random(np.subtract(high, low)) < 0.6
    return FindingMask(mask, scaled_affine(volume.affine, low, (1, 1, 1)))


@pytest.mark.parametrize("geometry", [name for name in GEOMETRIES if name != "tilted"])
def test_mask_on_the_grid_of_the_series_comes_back_voxel_by_voxel(tmp_path: Path, geometry: str) -> None:
    series = save(make_series(**GEOMETRIES[geometry]), tmp_path / "native")
    mask = native_mask(series, (12, 20, 7), (19, 25, 13))
    told = write_phantom(tmp_path, masks={FIRST.center_lps_mm: mask}, **GEOMETRIES[geometry])
    expected = to_world(mask.affine, np.argwhere(mask.mask))
    found = segment_points(told.folder / SEGMENTATION_FILE, 1)
    assert same_points(expected, found)


def run_bundle_on_its_own(tmp_path: Path, dicom_results: Any) -> Path:
    """Write what a bundle's case with two masks holds; returns the result folder."""
    series = save(make_series(), tmp_path / "series")
    scan = Scan(read_volume(series))
    masks = two_masks()
    meta = {"name": "lung_nodule_joint_jnsc", "version": "0.1.0", "weights_sha256": "0" * 64}
    write = WriteFindingsd(str(tmp_path), meta, "all", {"all": 0.0}, CPU, dicom_results=dicom_results)
    write({"scan": scan, "findings": [replace(one, mask=masks[one.center_lps_mm]) for one in (FIRST, SECOND)]})
    return tmp_path / scan.volume.series_uid


@pytest.mark.parametrize("wanted", [True, False])
def test_a_bundle_on_its_own_writes_the_masks_that_its_case_holds(tmp_path: Path, wanted: bool) -> None:
    folder = run_bundle_on_its_own(tmp_path, str(wanted))
    assert (folder / "nodules.json").is_file()
    assert (folder / REPORT_FILE).is_file() == (folder / SEGMENTATION_FILE).is_file() == wanted
    if wanted:
        assert len(pydicom.dcmread(folder / SEGMENTATION_FILE).SegmentSequence) == 2


@pytest.mark.parametrize("word", ["yes", 1, "treu", None])
def test_dicom_results_are_true_or_false_and_no_other_word(tmp_path: Path, word: object) -> None:
    with pytest.raises(InputError, match=rf"E-CONFIG.*dicom_results is {word} \(expected true or false\)"):
        run_bundle_on_its_own(tmp_path, word)
    assert list(tmp_path.iterdir()) == [tmp_path / "series"]


def test_a_failure_takes_no_other_result_with_it_and_is_told_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("Secret^Person is no name")

    monkeypatch.setattr("lungcad.results.dicom.structured_report.make_report", fail)  # the segmentation is written
    folder = run_bundle_on_its_own(tmp_path, dicom_results=True)
    assert {path.name for path in folder.iterdir()} == {"nodules.json", "nodules.csv", "report.html", "run.json"}
    assert capsys.readouterr().err == "dicom         no report and no segmentation: internal error TypeError\n"


def test_highdicom_reads_the_same_voxels(written: Written, tmp_path: Path) -> None:
    segmentation = written.segmentation
    volume = segmentation.get_volume(segment_numbers=[1], combine_segments=True)
    index = np.argwhere(volume.array == 1)
    points = to_world(volume.affine, index)  # highdicom's affines are LPS too
    pydicoms = segment_points(written.folder / SEGMENTATION_FILE, 1)
    assert same_points(points, pydicoms)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_resampled_mask_keeps_place_and_volume(tmp_path: Path, geometry: str) -> None:
    series = save(make_series(**GEOMETRIES[geometry]), tmp_path / "series")
    source = read_source(series, correct_tilt=True)
    mask = ball_mask(FIRST.center_lps_mm, (4.0, 4.0, 4.0), np.diag([0.8, 0.8, 0.8, 1.0]))
    found = on_source(mask, source)
    assert found is not None
    points = to_world(source.affine, np.argwhere(found.mask) + found.first)
    assert points.mean(axis=0) == pytest.approx(FIRST.center_lps_mm, abs=0.15)
    assert len(points) * PIXEL_MM3 == pytest.approx(mask.volume_mm3, rel=0.06)
    # a pixel is half full where the sphere's surface passes through its centre, to a fraction of a voxel
    assert np.linalg.norm(points - FIRST.center_lps_mm, axis=1).max() < 4.0 + 0.8


def test_pixel_belongs_where_at_least_half_of_it_does(tmp_path: Path) -> None:
    source = read_source(save(make_series(), tmp_path / "series"))
    fine = scaled_affine(source.affine, (9.625, 9.625, 9.625), (0.25, 0.25, 0.25))  # 4 mask voxels a pixel and axis
    mask = np.zeros((12, 4, 4), dtype=bool)
    mask[0:2], mask[4:8], mask[8:9] = True, True, True  # half of a pixel, a whole one, a quarter
    found = on_source(FindingMask(mask, fine), source)
    assert found is not None
    assert (found.first, found.mask.shape) == ((10, 10, 10), (2, 1, 1))


def test_mask_smaller_than_half_a_pixel_keeps_one(tmp_path: Path) -> None:
    source = read_source(save(make_series(), tmp_path / "series"))
    speck = FindingMask(np.ones((1, 1, 1), dtype=bool), scaled_affine(source.affine, (10.1, 12.2, 7.1), (0.2,) * 3))
    found = on_source(speck, source)
    assert found is not None and found.first == (10, 12, 7) and found.mask.tolist() == [[[True]]]


def test_mask_beyond_the_series_gives_no_segment(tmp_path: Path) -> None:
    far = ball_mask((500.0, 0.0, 0.0), (3, 3, 3), ONE_MM)
    told = write_phantom(tmp_path, masks={FIRST.center_lps_mm: far})
    assert told.files == {REPORT_FILE}
    assert told.notes == ["the masks of 1 nodule(s) fill half of no pixel and are left out"]


def test_mask_is_cut_at_the_edge_of_the_series(tmp_path: Path) -> None:
    source = read_source(save(make_series(), tmp_path / "series"))
    corner = to_world(source.affine, (0, 0, 0))
    found = on_source(ball_mask(corner, (4, 4, 4), ONE_MM), source)
    assert found is not None and found.first == (0, 0, 0)
    # an eighth of the ellipsoid, grown by the half of the first pixels that reaches beyond the centre
    octant = np.pi / 6 * np.prod(4 + np.array(source.spacing_mm) / 2)
    assert found.mask.sum() * PIXEL_MM3 == pytest.approx(octant, rel=0.3)


def test_report_and_segmentation_track_the_same_nodules(written: Written) -> None:
    segments = {one.TrackingID: one for one in written.segmentation.SegmentSequence}
    assert set(segments) == {"nodule 1", "nodule 2"}
    for group in written.report.content.get_volumetric_roi_measurement_groups():
        segment = segments[group.tracking_identifier]
        assert segment.TrackingUID == group.tracking_uid
        (item,) = [one for one in group[0].ContentSequence if one.ValueType == "IMAGE"]
        reference = item.ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == written.segmentation.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        assert (segment.SegmentedPropertyTypeCodeSequence[0].CodeValue, segment.SegmentAlgorithmType) == (
            "27925004", "AUTOMATIC",
        )  # fmt: skip


def test_nodule_with_a_mask_has_a_second_group_with_its_circle_and_that_circles_diameter(written: Written) -> None:
    planar = {one.tracking_identifier: one for one in written.report.content.get_planar_roi_measurement_groups()}
    groups = written.report.content.get_volumetric_roi_measurement_groups()
    volumetric = {one.tracking_identifier: one for one in groups}
    assert set(planar) == {"nodule 1", "nodule 2", "nodule 4"} and set(volumetric) == {"nodule 1", "nodule 2"}
    for name, group in volumetric.items():
        assert planar[name].tracking_uid == group.tracking_uid
        assert [one.name.meaning for one in planar[name].get_measurements()] == ["Diameter"]
        assert "Diameter" not in [one.name.meaning for one in group.get_measurements()] != []


def test_the_first_region_of_each_nodule_is_its_circle_on_a_slice_which_viewers_open(written: Written) -> None:
    report = pydicom.dcmread(written.folder / REPORT_FILE)
    (groups,) = [item.ContentSequence for item in report.ContentSequence
                 if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"]  # fmt: skip
    regions: dict[str, list[str]] = {}  # joined by tracking UID, as OHIF joins groups
    for group in groups:
        (tracked,) = [item.UID for item in group.ContentSequence
                      if item.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Unique Identifier"]  # fmt: skip
        kinds = [item.ValueType for item in group.ContentSequence if item.ValueType in ("SCOORD", "SCOORD3D")]
        regions.setdefault(tracked, []).extend(kinds)
    assert list(regions.values()) == [["SCOORD", "SCOORD3D"]] * 3


def test_axes_are_measured_where_there_is_a_mask_and_only_there(tmp_path: Path) -> None:
    mask = ball_mask(FIRST.center_lps_mm, (6.0, 3.5, 3.0), np.diag([0.5, 0.5, 0.5, 1.0]), size=40)
    told = write_phantom(tmp_path, masks={FIRST.center_lps_mm: mask})
    lengths = {one.name.meaning: one.value for one in told.nodule(1).get_measurements()}
    # at each end the last pixel's centre lies up to a pixel inside, and the outline a quarter beyond that
    assert lengths["Long axis"] == pytest.approx(12.0, abs=1.5 * BETWEEN_COLUMNS_MM)
    assert lengths["Short axis"] == pytest.approx(7.0, abs=1.5 * BETWEEN_ROWS_MM)
    assert "Diameter" not in lengths  # the detector's: in the group of its circle
    assert not any("axis" in one.name.meaning for one in told.nodule(2).get_measurements())


def circle_of(told: Written, number: int) -> tuple[float, float, str | None]:
    """Diameter that the report states, that of the circle which it draws, and how the first was derived."""
    (group,) = [one for one in told.report.content.get_planar_roi_measurement_groups()
                if one.tracking_identifier == f"nodule {number}"]  # fmt: skip
    (stated,) = group.get_measurements()
    points = np.array(group.roi.GraphicData).reshape(-1, 2)
    drawn = float(np.linalg.norm((points[1] - points[0]) * (BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM)))
    derivation = stated.derivation
    return float(stated.value), round(drawn, 2), None if derivation is None else derivation.value


def test_an_unmeasured_nodule_has_the_detectors_diameter(tmp_path: Path) -> None:
    mask = ball_mask(FIRST.center_lps_mm, (3.0, 3.0, 3.0), np.diag([0.5, 0.5, 0.5, 1.0]))
    told = write_phantom(tmp_path, [FIRST], {FIRST.center_lps_mm: mask})
    assert circle_of(told, 1) == (6.1, 6.12, None)


def test_a_measured_nodule_has_the_axes_of_its_measurement_its_hu_and_its_doubts(tmp_path: Path) -> None:
    mask = ball_mask(FIRST.center_lps_mm, (3.0, 3.0, 3.0), np.diag([0.5, 0.5, 0.5, 1.0]))
    measured = Measurement("net 1.0", 7.26, 5.04, 6.16, 6.2, 113.5, -41.6, 108.8, "part-solid", 3.3, doubts=("small",))
    told = write_phantom(tmp_path, [replace(FIRST, measurement=measured)], {FIRST.center_lps_mm: mask})
    numbers = {one.name.meaning: (one.value, one.unit.value) for one in told.nodule(1).get_measurements()}
    assert numbers["Long axis"] == (7.3, "mm") and numbers["Short axis"] == (5.0, "mm")
    assert numbers["Mean Attenuation Coefficient"] == (-42.0, "[hnsf'U]")
    assert circle_of(told, 1) == (6.2, 6.2, "373098007")  # the mean of the axes as shown, not the detector's 6.1
    texts = [item.TextValue for item in told.nodule(1)[0].ContentSequence if "TextValue" in item]
    assert "Mean diameter 6.2 mm, part-solid, solid part 3.3 mm. Outlined by net 1.0. Doubtful: small." in texts


@pytest.mark.parametrize("off", [0.0, 0.25, 0.5], ids=["on a slice", "off it", "between two"])
@pytest.mark.parametrize("step_mm", [2.5, 5.0])
def test_axes_do_not_shrink_with_the_thickness_of_slices(tmp_path: Path, step_mm: float, off: float) -> None:
    affine = read_source(save(make_series(step_mm=step_mm), tmp_path / "native")).affine
    findings, masks = [], {}
    for diameter, column, row in ((3.0, 8, 10), (4.0, 29, 10), (5.0, 8, 35), (6.0, 29, 35)):
        x, y, z = to_world(affine, (column, row, 10 + off)).tolist()
        findings.append(Finding((x, y, z), diameter, 0.9, 0.9))
        masks[x, y, z] = ball_mask((x, y, z), [diameter / 2] * 3, np.diag([0.5, 0.5, 0.5, 1.0]))
    told = write_phantom(tmp_path, findings, masks, step_mm=step_mm)
    for number, finding in enumerate(findings, start=1):
        lengths = {one.name.meaning: one.value for one in told.nodule(number).get_measurements()}
        assert lengths["Long axis"] == pytest.approx(finding.diameter_mm, abs=BETWEEN_ROWS_MM)
        assert lengths["Short axis"] == pytest.approx(finding.diameter_mm, abs=BETWEEN_ROWS_MM)


def test_overlapping_masks_stay_whole(tmp_path: Path) -> None:
    near = tuple(np.add(FIRST.center_lps_mm, (1.0, 0, 0)).tolist())
    other = SECOND.__class__(near, 5.0, 0.8, 0.75)
    masks = {place: ball_mask(place, (3, 3, 3), ONE_MM) for place in (FIRST.center_lps_mm, near)}
    told = write_phantom(tmp_path, [FIRST, other], masks=masks)
    assert told.segmentation.SegmentsOverlap == "YES"
    first, second = (segment_points(told.folder / SEGMENTATION_FILE, number) for number in (1, 2))
    assert first.mean(axis=0) == pytest.approx(FIRST.center_lps_mm, abs=0.2)
    assert second.mean(axis=0) == pytest.approx(near, abs=0.2)


def test_only_reported_findings_have_segments_and_only_used_slices_are_written(tmp_path: Path) -> None:
    masks = two_masks() | {BELOW.center_lps_mm: ball_mask(BELOW.center_lps_mm, (2, 2, 2), ONE_MM)}
    told = write_phantom(tmp_path, masks=masks)
    segmentation = told.segmentation
    assert segmentation.number_of_segments == 2
    assert segmentation.NumberOfFrames < 20 and segmentation.SegmentationType == "BINARY"
    assert (segmentation.Rows, segmentation.Columns) == (48, 40)  # as the images, or no viewer lays it over them


def test_frames_say_which_images_they_were_drawn_on(written: Written) -> None:
    slices = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, (written.folder.parent / "series").iterdir())}
    for frame in written.segmentation.PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert list(position) == list(slices[uid].ImagePositionPatient)


def test_enhanced_ct_is_segmented_by_frame(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(20)

    def multi_frame(slices: list) -> list:
        return [enhanced([slices[k] for k in order])]

    told = write_phantom(tmp_path, masks=two_masks(), change=multi_frame)
    source = pydicom.dcmread(tmp_path / "series" / "IM000.dcm").PerFrameFunctionalGroupsSequence
    for frame in told.segmentation.PerFrameFunctionalGroupsSequence:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == "1.2.3.4.5"
        place = source[reference.ReferencedFrameNumber - 1].PlanePositionSequence[0].ImagePositionPatient
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(place)
    found = segment_points(told.folder / SEGMENTATION_FILE, 1)
    assert found.mean(axis=0) == pytest.approx(FIRST.center_lps_mm, abs=0.2)


def test_series_over_two_multi_frame_objects_has_no_segmentation_and_says_so(tmp_path: Path) -> None:
    def halves(slices: list) -> list:
        first, second = enhanced(slices[:9]), enhanced(slices[9:])
        second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.6"
        return [first, second]

    told = write_phantom(tmp_path, masks=two_masks(), change=halves)
    assert told.files == {REPORT_FILE}
    assert told.notes[0].startswith("no segmentation: the series is spread over several multi-frame objects")
    assert len(told.report.content.get_planar_roi_measurement_groups()) == 3


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("findings", [(FIRST,), (FIRST, SECOND)], ids=["one segment", "two"])
def test_dciodvfy_finds_no_error(tmp_path: Path, findings: tuple) -> None:
    told = write_phantom(tmp_path, findings, two_masks())
    for file, kind in ((SEGMENTATION_FILE, "Segmentation"), (REPORT_FILE, "Comprehensive3DSR")):
        command = ["dciodvfy", "-new", str(told.folder / file)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert kind in said.stdout + said.stderr
        assert "Error" not in said.stdout + said.stderr


@pytest.mark.skipif(shutil.which("segimage2itkimage") is None, reason="needs segimage2itkimage (dcmqi)")
def test_dcmqi_reads_the_same_voxels(written: Written, tmp_path: Path) -> None:
    import SimpleITK as sitk

    command = ["segimage2itkimage", "--inputDICOM", str(written.folder / SEGMENTATION_FILE), "--outputDirectory",
               str(tmp_path), "--outputType", "nrrd"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    ours = [segment_points(written.folder / SEGMENTATION_FILE, number) for number in (1, 2)]
    theirs = []
    for path in sorted(tmp_path.glob("*.nrrd")):
        image = sitk.ReadImage(str(path))
        for label in np.unique(sitk.GetArrayViewFromImage(image))[1:]:
            index = np.argwhere(sitk.GetArrayViewFromImage(image) == label)[:, ::-1]
            theirs.append(np.array([image.TransformIndexToPhysicalPoint(one.tolist()) for one in index]))
    assert len(theirs) == 2
    assert all(any(same_points(mine, other) for other in theirs) for mine in ours)
