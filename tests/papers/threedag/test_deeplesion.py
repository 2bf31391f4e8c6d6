# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_cases import ROOT, write_image
from small_deeplesion import row, table

import make_cases
import make_datalists
from lungcad.checks import Bundle, check_overlays
from lungcad.errors import InputError
from lungcad.geometry import to_index
from lungcad.papers.threedag.anchors import anchor_cubes
from lungcad.papers.threedag.deeplesion import DeepLesionCases
from lungcad.training.cases import Case, load_cases

ROWS, COLUMNS, SLICES, SPACING = 100, 120, 13, (0.8, 0.8, 5.0)
BUNDLE = ROOT / "bundles" / "lung_nodule_detection_3dag"
NAME = "000001_01_02_014-026"
PLACE = (56.0, 40.0, -30.0)
"""LPS mm: column 70, row 50, slice 6."""


def frame(spacing: tuple[float, float, float] = SPACING) -> np.ndarray:
    """LPS affine of DL_save_nifti.py's arrays: rows to the back, columns to the left, slices to the feet."""
    x, y, z = spacing
    return np.array([[0, x, 0, 0], [y, 0, 0, 0], [0, 0, -z, 0], [0, 0, 0, 1.0]])


def chunk(lesions: dict[tuple[float, float, float], float], spacing: tuple[float, float, float] = SPACING,
          slices: int = SLICES) -> np.ndarray:  # fmt: skip
    """HU (row, column, slice): a body of 72 x 56 mm around (48, 40) mm with an air pocket, in black, with lesions."""
    index = np.moveaxis(np.indices((ROWS, COLUMNS, slices)), 0, -1)
    place = index @ frame(spacing)[:3, :3].T
    x, y = place[..., 0], place[..., 1]
    hu = np.full(index.shape[:3], -1000, np.int16)
    hu[((x - 48) / 36) ** 2 + ((y - 40) / 28) ** 2 < 1] = 40
    hu[(x - 34) ** 2 + (y - 40) ** 2 < 8**2] = -850
    hu[(np.abs(x - 48) < 40) & (np.abs(y - 76) < 2)] = 200  # the table
    for centre, diameter in lesions.items():
        hu[np.linalg.norm(place - centre, axis=-1) < diameter / 2] = 300
    return hu


def entry(*spheres: tuple[float, ...], **fields: Any) -> dict[str, Any]:
    boxes = [[*s[:3], s[3], s[3], s[3]] for s in spheres]
    labels = {"label": [0] * len(boxes), "lesion_type": [4] * len(boxes)}
    return {"image": f"{NAME}.nii.gz", "box": boxes} | labels | fields


def cases(folder: Path, hu: np.ndarray, *entries: dict[str, Any], split: str = "training",
          spacing: tuple[float, float, float] = SPACING, **options: Any) -> DeepLesionCases:  # fmt: skip
    for item in entries:
        write_image(folder / item["image"], hu, frame(spacing))
    (folder / "deeplesion.json").write_text(json.dumps({split: entries}))
    return DeepLesionCases(folder / "deeplesion.json", folder, split, **options)


def bright_mm(case: Case) -> tuple[np.ndarray, float]:
    """Centre (3,) as index and diameter of the sphere of what is brighter than halfway from body to lesion."""
    bright = case.hu > 170
    return np.argwhere(bright).mean(axis=0), float((6 / np.pi * bright.sum()) ** (1 / 3))


@pytest.mark.parametrize(("spacing", "slices"), [((0.8, 0.8, 5.0), 13), ((0.8, 0.8, 1.0), 61), ((0.8, 0.8, 5.0), 8)])
def test_a_lesion_is_where_the_list_says(tmp_path: Path, spacing: tuple[float, float, float], slices: int) -> None:
    case = cases(tmp_path, chunk({PLACE: 20.0}, spacing, slices), entry((*PLACE, 20.0)), spacing=spacing)[0]
    assert case.name == NAME
    assert case.spacing_mm == (1.0, 1.0, 1.0)
    assert case.hu.dtype == np.int16
    (lesion,) = case.nodules
    assert (lesion.diameter_mm, lesion.name) == (20.0, "liver")
    centre, diameter = bright_mm(case)
    np.testing.assert_allclose(lesion.index, centre, atol=1.0 if spacing[2] > 1 else 0.3)
    assert diameter == pytest.approx(20.0, rel=0.08)
    np.testing.assert_allclose(case.to_mm[:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(to_index(case.to_mm, PLACE), lesion.index)


def test_the_frame_is_that_of_a_file_which_nibabel_writes(tmp_path: Path) -> None:
    """DL_save_nifti.py gives an affine alone: sform, no qform, no unit."""
    data = cases(tmp_path, chunk({PLACE: 20.0}), entry((*PLACE, 20.0)))
    path = tmp_path / f"{NAME}.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[123] = 0  # xyzt_units
    content[252:256] = np.array([0, 2], "<i2").tobytes()  # qform_code, sform_code
    content[256:280] = bytes(24)  # quaternion and offset
    path.write_bytes(gzip.compress(bytes(content)))
    case = data[0]
    np.testing.assert_allclose(case.nodules[0].index, bright_mm(case)[0], atol=1.0)


def test_black_borders_and_table_are_clipped_and_nothing_in_the_body_is(tmp_path: Path) -> None:
    case = cases(tmp_path, chunk({PLACE: 20.0}), entry((*PLACE, 20.0)))[0]
    assert np.abs(np.array(case.hu.shape) - (72, 56, 60)).max() <= 4
    x, y, z = np.rint(to_index(case.to_mm, (34, 40, -30))).astype(int)
    assert case.hu[x, y, z] == -850
    assert case.lungs[x, y, z]  # air inside the body is body
    assert not case.lungs[0, 0].any()  # a corner
    assert case.hu[0, 0, z] == -1000  # as scanned
    assert case.hu.min() == -1000
    assert case.lungs[x, y, 1:-1].all()


def test_a_second_leg_is_body(tmp_path: Path) -> None:
    hu = chunk({})
    hu[:, 58:62] = -1000  # apart from right to left
    case = cases(tmp_path, hu, entry((*PLACE, 5.0)))[0]
    x, y, z = np.rint(to_index(case.to_mm, [(30, 58, -30), (66, 58, -30)])).astype(int).T
    assert case.lungs[x, y, z].all()


def test_large_lesions_are_ignored(tmp_path: Path) -> None:
    small, large = (*PLACE, 12.0), (40.0, 40.0, -25.0, 50.0)
    ignored = [[*large[:3], 50.0, 50.0, 50.0]]
    trained = cases(tmp_path / "a", chunk({}), entry(small, ignored=ignored))[0]
    assert [s.diameter_mm for s in trained.nodules] == [12.0]
    assert [s.diameter_mm for s in trained.ignored] == [50.0]
    np.testing.assert_allclose(to_index(trained.to_mm, large[:3]), trained.ignored[0].index)
    both = cases(tmp_path / "b", chunk({}), entry(small, large), split="test")[0]
    assert (len(both.nodules), len(both.ignored)) == (2, 0)
    without = cases(tmp_path / "b", chunk({}), entry(small, large), split="test", ignore_from_mm=50.0)[0]
    assert [s.diameter_mm for s in without.nodules] == [12.0]
    assert [s.diameter_mm for s in without.ignored] == [50.0]


def test_a_lesion_outside_the_body_is_kept_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        case = cases(tmp_path, chunk({}), entry((1.0, 1.0, -30.0, 5.0)))[0]
    assert len(case.nodules) == 1
    assert "outside the body's mask" in caplog.text


def test_refuses_volumes_by_name(tmp_path: Path) -> None:
    hu, good = chunk({}), entry((*PLACE, 5.0))
    outside, thick = entry((*PLACE[:2], 30.0, 5.0)), (0.8, 0.8, 7.5)
    for number, (code, array, item, options) in enumerate([
        ("E-ANNOTATION", hu, outside, {}),
        ("E-ANNOTATION", hu, good | {"ignored": outside["box"]}, {}),
        ("E-SPACING-THICK", hu, good, {"spacing": thick}),
        ("E-HU-RANGE", np.full_like(hu, -1000), good, {}),
    ]):  # fmt: skip
        data = cases(tmp_path / f"{number}", array, item, **options)
        with pytest.raises(InputError, match=NAME) as caught:
            data[0]
        assert caught.value.code == code
    assert cases(tmp_path, hu, good, spacing=thick, max_spacing_mm=7.5)[0].nodules
    (tmp_path / f"{NAME}.nii.gz").unlink()
    with pytest.raises(InputError, match="No such file"):
        DeepLesionCases(tmp_path / "deeplesion.json", tmp_path, "training")[0]


def test_refuses_lists_and_folders(tmp_path: Path) -> None:
    cases(tmp_path, chunk({}), entry((*PLACE, 5.0)))
    path = tmp_path / "deeplesion.json"
    for code, arguments in (
        ("E-CONFIG", (tmp_path / "absent.json", tmp_path, "training")),
        ("E-CONFIG", (path, tmp_path, "test")),
        ("E-IMAGES", (path, tmp_path / "absent", "training")),
    ):
        with pytest.raises(InputError) as caught:
            DeepLesionCases(*arguments)
        assert caught.value.code == code
    good = entry((*PLACE, 5.0))
    bad = [[], {"image": "a"}, entry((*PLACE, -5.0)), good | {"lesion_type": [9]}, good | {"box": [[1, 2]]}]
    for text in ("no json", *(json.dumps({"training": [item]}) for item in bad)):
        path.write_text(text)
        with pytest.raises(InputError, match=r"E-DATALIST.*make_datalists\.py deeplesion"):
            DeepLesionCases(path, tmp_path, "training")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both commands make of a DL_info.csv with three volumes; one has a large lesion besides a small one."""
    root = tmp_path_factory.mktemp("deeplesion")
    small, large = {"box": "60, 40, 80, 60", "diameters": "20, 18"}, {"box": "20, 15, 80, 75", "diameters": "62, 50"}
    info = table(root, row(1, **small), row(1, key=15, **large), row(2, split=2, **small), row(3, split=3, **large),
                 row(4, split=3, slices="20, 32", **small))  # fmt: skip
    for patient, slices in ((1, "014-026"), (2, "014-026"), (3, "014-026"), (4, "020-032")):
        # 70, 50 px; slice 20 is 30 mm below the first, or is the first
        lesion = (56.0, 40.0, -30.0 if patient != 4 else 0.0)
        write_image(root / "images" / f"{patient:06d}_01_02_{slices}.nii.gz", chunk({lesion: 16.0}), frame())
    make_datalists.deeplesion(str(info), str(root / "images"), str(root / "lists"))
    (root / "images" / "000004_01_02_020-032.nii.gz").write_text("no image")
    return root


def test_commands_end_to_end(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_cases.deeplesion(str(made / "lists" / "deeplesion.json"), str(made / "images"), str(tmp_path), workers=0)
    assert "left out: error[E-CORRUPT] volume 000004" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "train", "validation"]
    (train,) = load_cases(tmp_path / "train")
    assert train.name == NAME
    assert [round(s.diameter_mm, 6) for s in train.nodules] == [16.0]
    np.testing.assert_allclose(train.nodules[0].index, bright_mm(train)[0], atol=1.0)
    assert [round(s.diameter_mm, 6) for s in train.ignored] == [48.0]
    (test,) = load_cases(tmp_path / "test")
    assert ([round(s.diameter_mm, 6) for s in test.nodules], test.ignored) == ([48.0], [])


def test_command_ignores_large_lesions_in_the_test_too(made: Path, tmp_path: Path) -> None:
    make_cases.deeplesion(
        str(made / "lists" / "deeplesion.json"), str(made / "images"), str(tmp_path), ignore_large=True, workers=0
    )
    (test,) = load_cases(tmp_path / "test")
    assert (len(test.nodules), len(test.ignored)) == (0, 1)


def test_overlay_trains_on_the_cases_with_the_papers_anchors_and_cubes(made: Path, tmp_path: Path) -> None:
    make_cases.deeplesion(str(made / "lists" / "deeplesion.json"), str(made / "images"), str(tmp_path), workers=0)
    parser = Bundle(BUNDLE, None, tmp_path).parser("train", "deeplesion")
    parser["cases_dir"] = str(tmp_path / "train")
    item = parser.get_parsed_content("train#dataset")[0]
    assert item["image"].shape == (1, 128, 128, 64)
    anchors, level = anchor_cubes((128, 128, 64), parser.get_parsed_content("anchors_mm"))
    assert item["label"].shape == (len(anchors), 5)
    sizes = [sorted(set(anchors[level == n, 3].tolist())) for n in range(3)]
    assert sizes == [[3, 5, 7], [10, 13, 17], [22, 30, 40]]
    network = parser.get_parsed_content("network_def")
    assert network(item["image"][None, :, :32, :32, :32]).shape == (1, 5, 3 * (8**3 + 4**3 + 2**3))
    assert "inference+train+deeplesion" in check_overlays(Bundle(BUNDLE, None, tmp_path))
