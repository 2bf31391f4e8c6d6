# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from small_nodules import rated

from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES
from lungcad.papers.mtmrnet.nodules import SCORES, load_nodule, load_nodules, save_nodule, to_unit


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (4, 7, 9))
    nodule = rated("LIDC-IDRI-0001_1.2_3", (5, 4, 2), hu, patient_id="LIDC-IDRI-0001", pixel_mm=(0.5, 0.75),
                   diameter_mm=7.25)  # fmt: skip
    path = save_nodule(tmp_path / "new" / "folder", nodule)
    assert [file.name for file in path.parent.iterdir()] == ["LIDC-IDRI-0001_1.2_3.npz"]  # and nothing half written
    again = load_nodule(path)
    assert again.slices.dtype == np.int16
    np.testing.assert_array_equal(again.slices, hu)
    np.testing.assert_array_equal(again.readings, nodule.readings)
    for name in ("name", "patient_id", "center", "pixel_mm", "diameter_mm"):
        assert getattr(again, name) == getattr(nodule, name), name


def test_readers_are_averaged_and_diameters_counted_in_rows_and_columns() -> None:
    nodule = rated(malignancy=(5, 4, 1, 4), pixel_mm=(0.5, 0.8), diameter_mm=8.0)
    assert dict(zip(SCORES, nodule.mean, strict=True))["malignancy"] == 3.5  # 14 / 4
    assert dict(zip(SCORES, nodule.mean, strict=True))["calcification"] == 6
    assert nodule.diameter_px == (16, 10)


def test_scores_are_scaled_from_the_lowest_to_the_highest() -> None:
    assert list(SCORES) == ["malignancy", *ATTRIBUTES]
    lowest, highest = np.ones(9), np.array([5, 5, 4, 6, 5, 5, 5, 5, 5])  # 4 kinds of internal structure, 6 of calcium
    np.testing.assert_array_equal(to_unit(np.array([lowest, highest])), [[0] * 9, [1] * 9])
    # (3 - 1) / 4, (3 - 1) / 3, (3 - 1) / 5
    np.testing.assert_allclose(to_unit(np.full(9, 3.0))[:4], [0.5, 0.5, 2 / 3, 0.4])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, nodule in (
        ("single_slice", rated("b", (1, 2))), ("single_slice", rated("a", (5,))),
        ("multi_slice", rated("c", (4, 5, 4))), ("multi_slice", rated("d", (2, 4))),
    ):  # fmt: skip
        save_nodule(tmp_path / "subset0" / name, nodule)
    save_nodule(tmp_path / "subset1" / "multi_slice", rated("e", (3, 3, 3, 4)))
    return tmp_path / "subset0"


def names(*args: object, **options: object) -> str:
    return "".join(nodule.name for nodule in load_nodules(*args, **options))  # type: ignore[arg-type]


def test_nodules_of_a_folder_by_set_and_name(folder: Path) -> None:
    assert names(folder) == "abc"
    assert names(str(folder), ["multi_slice", "single_slice"]) == "cab"
    assert names(folder, ["single_slice"]) == "ab"


def test_neither_benign_nor_malignant_ones_are_left_out_unless_asked_for(folder: Path) -> None:
    assert names(folder, ["multi_slice"], indeterminate=True) == "cd"  # d: (2 + 4) / 2 = 3
    assert names(folder.parent / "subset1") == "e"  # 13 / 4


def test_nodules_that_few_readers_marked_are_left_out(folder: Path) -> None:
    assert names(folder, least_readers=2) == "bc"
    assert names(folder, least_readers=2, indeterminate=True) == "bcd"
    assert names(folder, least_readers=3) == "c"


def test_nodules_of_several_folders(folder: Path) -> None:
    assert names([folder, str(folder.parent / "subset1")]) == "abce"


def test_an_unknown_set_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG\] unknown set: slices \(expected single_slice, multi_slice\)"):
        load_nodules(folder, ["single_slice", "slices"])


def test_no_nodule_is_refused_with_the_command_that_makes_them(folder: Path, tmp_path: Path) -> None:
    for given, options in ((tmp_path / "empty", {}), (folder, {"least_readers": 5})):
        with pytest.raises(InputError, match=rf"E-CONFIG\] no nodule in {given.name}\..*scripts/make_nodules\.py"):
            load_nodules(given, **options)
