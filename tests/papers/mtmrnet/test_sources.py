# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from small_cases import write_image, write_table

from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.papers.mtmrnet.nodules import RatedNodule
from lungcad.papers.mtmrnet.sources import OUTLINE_MM, SMALLEST_MM, multi_slice, single_slice

Rows = list[dict[str, str]]


def table(path: Path) -> Rows:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(scope="module")
def flat(data: Path) -> tuple[Rows, list[RatedNodule]]:
    """Rows of nodules2d that should be there, and the nodules that are."""
    rows = [row for row in table(data / "nodules2d" / "slices.csv") if row["usable"] == "1" and row["n_readers"]]
    return rows, list(single_slice(data / "nodules2d"))


@pytest.fixture(scope="module")
def solid(data: Path) -> tuple[Rows, list[RatedNodule]]:
    """Rows of nodules3d that should be there, and the nodules that are."""
    rows = [row for row in table(data / "nodules3d" / "nodules.csv") if row["usable"] == "1" and row["n_readers"]]
    return rows, list(multi_slice(data / "nodules3d", least_diameters=0))


Loaded = tuple[Rows, list[RatedNodule]]


def check_readings(rows: Rows, nodules: list[RatedNodule]) -> None:
    assert len(nodules) == len(rows) == len({nodule.name for nodule in nodules})
    for row, nodule in zip(rows, nodules, strict=True):
        assert nodule.patient_id == row["patient_id"]
        assert len(nodule.readings) == min(float(row["n_readers"]), 4)
        if len(row["pylidc_annotation_ids"].split(";")) <= 4:  # of more than four, four are listed one by one
            means = [float(row[f"mean_{name}"]) for name in ("malignancy", *ATTRIBUTES)]
            means[2] = min(means[2], 4.0)  # internalStructure 5, of one reader, is beyond its scale and taken as 4
            np.testing.assert_allclose(nodule.mean, means, atol=1e-3)  # the table has three decimals


@pytest.mark.shared_data
def test_all_single_slices_with_readings_are_there(flat: Loaded) -> None:
    rows, nodules = flat
    assert len(rows) == 2132  # of 2134, two are not usable
    check_readings(rows, nodules)
    assert {nodule.slices.shape for nodule in nodules} == {(1, 71, 71)}
    assert {nodule.center for nodule in nodules} == {(35.0, 35.0)}


@pytest.mark.shared_data
def test_all_crops_with_readings_are_there(solid: Loaded) -> None:
    rows, nodules = solid
    assert len(rows) == 774  # of 776
    check_readings(rows, nodules)


@pytest.mark.shared_data
def test_readings_by_hand(flat: Loaded, solid: Loaded) -> None:
    one, other = flat[1][0], solid[1][0]
    assert (one.name, other.name) == ("LIDC-IDRI-0001_1", "LIDC-IDRI-0001_R_1")
    # malignancy, then subtlety, internal structure, calcification, sphericity, margin, lobulation, spiculation, texture
    expected = [[5, 5, 1, 6, 3, 3, 3, 4, 5], [5, 5, 1, 6, 4, 4, 5, 5, 5], [5, 5, 1, 6, 3, 2, 3, 3, 5],
                [4, 5, 1, 6, 5, 4, 1, 5, 4]]  # fmt: skip
    assert one.readings.tolist() == other.readings.tolist() == expected
    assert other.diameter_mm == pytest.approx(23.35, abs=0.01)
    assert one.diameter_mm == pytest.approx(26.23 - 1.9, abs=0.01)


@pytest.mark.shared_data
def test_single_slices_are_pixels_of_the_scan(data: Path, flat: Loaded) -> None:
    row = flat[0][0]
    (image,) = (
        image for path in (data / "ct" / row["patient_id"]).glob("*.dcm")
        if (image := pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])).SOPInstanceUID
        == row["sop_uid"]
    )  # fmt: skip
    image = pydicom.dcmread(image.filename)
    hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    top, left = int(row["patch_row0"]), int(row["patch_col0"])
    np.testing.assert_array_equal(flat[1][0].slices[0], hu[top : top + 71, left : left + 71])
    assert flat[1][0].pixel_mm == pytest.approx([float(side) for side in image.PixelSpacing])


@pytest.mark.shared_data
@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0314"])
def test_crops_have_the_scans_hu_at_their_centre(data: Path, solid: Loaded, patient: str) -> None:
    (scan,) = (row for row in table(data / "ct" / "findings.csv")
               if row["patient_id"] == patient and row["source"] == "luna16_nodule")  # fmt: skip
    (row, nodule), *_ = (pair for pair in zip(*solid, strict=True) if pair[1].patient_id == patient)
    number = float(row["centre_k"])
    first = max(np.ceil(number - nodule.diameter_mm / 2 / float(row["spacing_z"])), 0)
    center = [round(number) - int(first), *map(round, nodule.center)]
    assert nodule.slices[tuple(center)] == int(scan["hu_at_centre"])


@pytest.mark.shared_data
def test_centres_lie_where_luna16_has_them_also_in_prone_scans(data: Path, solid: Loaded) -> None:
    prone = 0
    for row, nodule in zip(*solid, strict=True):
        if row["flipped_xy"] != "1" and row["patient_id"] > "LIDC-IDRI-0050":  # all prone ones and some others
            continue
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(data / "nodules3d" / f"{row['nodule_id']}.nii.gz"))
        reader.ReadImageInformation()
        axes = np.array(reader.GetDirection()).reshape(3, 3) * reader.GetSpacing()
        place = [float(row[f"{axis}_mm"]) for axis in "xyz"]
        column, line, number = np.linalg.solve(axes, place - np.array(reader.GetOrigin()))
        assert nodule.center == pytest.approx((line, column), abs=0.01)
        assert nodule.pixel_mm == pytest.approx((reader.GetSpacing()[1], reader.GetSpacing()[0]), abs=1e-4)
        width, height, count = reader.GetSize()
        assert nodule.slices.shape[1:] == (height, width)
        distance = np.abs(np.arange(count) - number) * reader.GetSpacing()[2] - nodule.diameter_mm / 2
        # the table's centres have two decimals, 0.025 mm of the thickest slices
        assert max((distance < -0.025).sum(), 1) <= len(nodule.slices) <= max((distance < 0.025).sum(), 1)
        prone += axes[0, 0] < 0
    assert prone == 21


@pytest.mark.shared_data
def test_outlines_are_as_much_wider_as_is_taken_off(data: Path, flat: Loaded, solid: Loaded) -> None:
    luna16 = {nodule.name: nodule.diameter_mm for nodule in solid[1]}
    pairs = [(float(row["equiv_diameter_mm"]), luna16[row["nodule_id_3d"]], nodule.diameter_mm)
             for row, nodule in zip(*flat, strict=True) if row["nodule_id_3d"] in luna16]  # fmt: skip
    outline, true, taken = np.array(pairs).T
    assert len(pairs) > 800
    assert np.median(outline - true) == pytest.approx(OUTLINE_MM, abs=0.05)
    np.testing.assert_allclose(taken, np.maximum(outline - OUTLINE_MM, SMALLEST_MM))
    assert min(nodule.diameter_mm for nodule in flat[1]) == SMALLEST_MM


def test_slices_of_a_crop_enclose_its_nodule(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (12, 10, 9)).astype(np.int16)  # columns, rows, slices
    reading = {f"r{n}_{name}": 1 if n < 3 else "" for n in range(1, 5) for name in ("malignancy", *ATTRIBUTES)}
    row = {"nodule_id": "a", "patient_id": "p", "usable": 1, "diameter_mm": 7.0, "centre_i": 5.5, "centre_j": 4.25,
           "centre_k": 4.1, "spacing_x": 0.5, "spacing_y": 0.75, "spacing_z": 1.5} | reading  # fmt: skip
    others = [{"nodule_id": "wrong picture", "usable": 0}, {"nodule_id": "unread", "r1_malignancy": ""}]
    write_table(tmp_path / "nodules.csv", [row, *(row | other for other in others)])
    write_image(tmp_path / "a.nii.gz", hu, np.diag([0.5, 0.75, 1.5, 1.0]))
    (nodule,) = multi_slice(tmp_path, least_diameters=0)
    # 3.5 mm are 2.33 slices: from 1.77 to 6.43
    np.testing.assert_array_equal(nodule.slices, hu[:, :, 2:7].transpose(2, 1, 0))
    assert nodule.center == (4.25, 5.5)
    assert nodule.pixel_mm == (0.75, 0.5)
    assert nodule.readings.tolist() == [[1.0] * 9] * 2


@pytest.mark.parametrize(("diameter_mm", "there"), [(5.5, True), (6.5, False)])
def test_a_crop_too_small_for_what_a_network_sees_is_left_out(tmp_path: Path, diameter_mm: float, there: bool) -> None:
    reading = {f"r{n}_{name}": 1 for n in range(1, 5) for name in ("malignancy", *ATTRIBUTES)}
    write_table(tmp_path / "nodules.csv", [{
        "nodule_id": "a", "patient_id": "p", "usable": 1, "diameter_mm": diameter_mm, "centre_i": 10, "centre_j": 4.5,
        "centre_k": 1, "spacing_x": 1, "spacing_y": 1, "spacing_z": 1} | reading])  # fmt: skip
    write_image(tmp_path / "a.nii.gz", np.zeros((21, 10, 3), np.int16), np.eye(4))
    # five rows to each side of the centre: enough for a diameter up to 6, one row of which may be missing
    assert bool(list(multi_slice(tmp_path))) == there


@pytest.mark.shared_data
def test_most_crops_are_large_enough(solid: Loaded, data: Path) -> None:
    fitting = list(multi_slice(data / "nodules3d"))
    assert 0.85 < len(fitting) / len(solid[1]) < 1
    left_out = {one.name for one in solid[1]} - {one.name for one in fitting}
    assert np.median([one.diameter_mm for one in solid[1] if one.name in left_out]) > 15


def test_a_folder_without_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E-TABLE\] no such file: nodules\.csv"):
        list(multi_slice(tmp_path))
