# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_lidc import write_headers

from lungcad.errors import InputError
from lungcad.lidc.images import SeriesImage, find_images, read_grid


def test_finds_mhd_files_and_dicom_folders_of_ct(tmp_path: Path) -> None:
    (tmp_path / "subset0").mkdir()
    (tmp_path / "subset0" / "4.5.mhd").touch()
    write_headers(tmp_path / "LIDC-IDRI-0002" / "study" / "series", "1.2.3", "LIDC-IDRI-0002")
    write_headers(tmp_path / "LIDC-IDRI-0002" / "study" / "radiograph", "7.8", modality="DX")
    (tmp_path / "LIDC-IDRI-0002" / "study" / "series" / "000000.dcm").write_text("not DICOM")
    assert find_images(tmp_path) == {
        "1.2.3": SeriesImage(tmp_path / "LIDC-IDRI-0002" / "study" / "series", "1.2.3", "LIDC-IDRI-0002"),
        "4.5": SeriesImage(tmp_path / "subset0" / "4.5.mhd", "4.5", ""),
    }


def test_luna16s_lung_masks_are_no_second_copy_of_the_scans(tmp_path: Path) -> None:
    for folder in ("subset0", "seg-lungs-LUNA16"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "4.5.mhd").touch()
    assert [image.path.parent.name for image in find_images(tmp_path).values()] == ["subset0"]


def test_refuses_a_series_that_is_there_twice_and_folders_without_any(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="E-IMAGES"):
            find_images(folder)
    write_headers(tmp_path / "a")
    write_headers(tmp_path / "b")
    with pytest.raises(InputError, match=r"1\.2\.3 is there twice"):
        find_images(tmp_path)


def test_dicom_grid_by_hand(tmp_path: Path) -> None:
    grid = read_grid(SeriesImage(write_headers(tmp_path / "a"), "1.2.3"), all_slices=True)
    assert (grid.pixel_mm, grid.thickness_mm) == (0.5, 2.0)
    assert grid.slice_z_mm.tolist() == [-4, -2, 0, 2, 4]
    np.testing.assert_allclose(grid.to_xy @ [10, 20, 1], [-95, -40])  # -100 + 0.5 * 10, -50 + 0.5 * 20


def test_a_prone_scan_runs_the_other_way(tmp_path: Path) -> None:
    grid = read_grid(SeriesImage(write_headers(tmp_path / "a", orientation=(-1, 0, 0, 0, -1, 0)), "1.2.3"))
    np.testing.assert_allclose(grid.to_xy @ [10, 20, 1], [-105, -60])


def test_mhd_grid_by_hand(tmp_path: Path) -> None:
    image = sitk.Image(4, 5, 6, sitk.sitkInt16)
    image.SetSpacing((0.5, 0.5, 2.5))
    image.SetOrigin((100.0, 50.0, -7.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "4.5.mhd"))
    (found,) = find_images(tmp_path).values()
    grid = read_grid(found)
    assert (grid.pixel_mm, grid.thickness_mm) == (0.5, 2.5)
    assert grid.slice_z_mm.tolist() == [-7, -4.5, -2, 0.5, 3, 5.5]
    np.testing.assert_allclose(grid.to_xy @ [10, 20, 1], [95, 40])


def test_refuses_images_without_geometry(tmp_path: Path) -> None:
    (tmp_path / "4.5.mhd").write_text("nothing")
    write_headers(tmp_path / "a", orientation=())
    for image in find_images(tmp_path).values():
        with pytest.raises(InputError, match=rf"{image.series_uid}: no geometry") as caught:
            read_grid(image)
        assert caught.value.code == "E-IMAGES"


@pytest.mark.shared_data
def test_pixels_of_real_scans_lie_where_the_findings_say(shared: Path) -> None:
    images = find_images(shared / "data" / "ct")
    assert sorted(image.patient_id for image in images.values()) == ["LIDC-IDRI-0001", "LIDC-IDRI-0314"]
    with (shared / "data" / "ct" / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 10
    for row in rows:
        xy = read_grid(images[row["series_uid"]]).to_xy @ [float(row["i"]), float(row["j"]), 1]
        np.testing.assert_allclose(xy, [float(row["x_mm"]), float(row["y_mm"])], atol=0.01)  # i, j have two decimals
