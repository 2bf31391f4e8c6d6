# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist
from small_deeplesion import row, table

import make_datalists
from lungcad.datalists.deeplesion import deeplesion_lists, merge_lesions, read_lesion
from lungcad.errors import InputError
from lungcad.tables import Row


def lesion(**cells: str | int) -> tuple[float, float, float, float]:
    return read_lesion(Row("DL_info.csv", 2, row(**cells))).sphere  # type: ignore[arg-type]


def test_a_box_becomes_a_sphere() -> None:
    one = read_lesion(Row("DL_info.csv", 2, row()))
    assert (one.volume, one.split, one.kind) == ("000001_01_02_014-026", "training", 3)
    # centre (100, 200) px of 0.8 mm, six slices of 5 mm below the first, the long diameter of 10 px
    assert one.sphere == pytest.approx((80.0, 160.0, -30.0, 8.0))


def test_the_diameter_is_the_smaller_of_box_and_measurement() -> None:
    assert lesion(diameters="10, 8")[3] == pytest.approx(8.0)  # box side 20 px
    assert lesion(diameters="24, 8")[3] == pytest.approx(16.0)  # a diagonal longer than the box's side
    assert lesion(box="90, 190, 110, 202", diameters="24, 8")[3] == pytest.approx(16.0)  # its long side
    assert lesion(diameters="8, 10")[3] == pytest.approx(8.0)


def test_official_rows_by_hand() -> None:
    # the numbers of a row of DeepLesion: ((132.977 + 165.939) / 2, (171.808 + 214.029) / 2) px, slice 37 of 31 to 43
    sphere = lesion(box="132.977, 171.808, 165.939, 214.029", diameters="33.8477, 24.7578", key=37, slices="31, 43",
                    spacing="0.859375, 0.859375, 5")  # fmt: skip
    assert sphere == pytest.approx((149.458 * 0.859375, 192.9185 * 0.859375, -30.0, 33.8477 * 0.859375))


def test_annotations_of_one_lesion_are_merged() -> None:
    near = [  # the same place 5 mm apart, 10.4 mm across
        read_lesion(Row("t", 2, row(key=20, diameters="13, 8", kind=-1))),
        read_lesion(Row("t", 3, row(key=21, diameters="8, 8", kind=4))),
    ]
    far = read_lesion(Row("t", 4, row(key=22)))  # 5 mm from the second: its radius is 4
    (joined, alone) = merge_lesions([*near, far])
    assert joined.sphere == pytest.approx((80.0, 160.0, -32.5, 10.4))
    assert joined.kind == 4
    assert alone == far
    assert merge_lesions([far]) == [far]


def test_lists_follow_the_official_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = {"box": "60, 160, 140, 240", "diameters": "60, 50"}  # 60 * 0.8 = 48 mm
    info = table(
        tmp_path,
        row(1), row(1, box="10, 10, 30, 30"), row(1, key=21, diameters="13, 8"), row(1, noisy=1),
        row(2, split=2, **large), row(3, split=3, **large), row(4, **large),
        row(5, **large), row(5, box="9, 9, 29, 29"),
    )  # fmt: skip
    for patient in (1, 2, 3, 4, 5):
        (tmp_path / f"{patient:06d}_01_02_014-026.nii.gz").touch()
    make_datalists.deeplesion(str(info), str(tmp_path), str(tmp_path / "out"))
    out = capsys.readouterr().out
    assert out.startswith("1 noisy annotations removed, 1 merged, 2 large lesions not trained on")
    read = {
        key: load_decathlon_datalist(tmp_path / "out" / "deeplesion.json", False, key, tmp_path)
        for key in ("training", "validation", "test")
    }
    assert [item["ids"]["patient"] for item in read["training"]] == ["000001", "000005"]  # 4 has only a large lesion
    assert [len(item["box"]) for item in read["training"]] == [2, 1]
    assert read["training"][1]["box"] == [pytest.approx([15.2, 15.2, -30.0, 8.0, 8.0, 8.0])]
    assert read["training"][0]["lesion_type"] == [3, 3]
    assert read["training"][1]["ignored"] == [pytest.approx([80.0, 160.0, -30.0, 48.0, 48.0, 48.0])]
    assert all("ignored" not in item for item in (read["training"][0], *read["validation"], *read["test"]))
    assert read["validation"][0]["box"][0][3] == read["test"][0]["box"][0][3] == 48.0  # measured with and without them
    assert Path(read["test"][0]["image"]).is_file()


def test_missing_volumes_are_reported(tmp_path: Path) -> None:
    info = table(tmp_path, row(1), row(2), row(2, key=21, box="9, 9, 29, 29"))
    (tmp_path / "000001_01_02_014-026.nii.gz").touch()
    with pytest.raises(InputError, match=r"1 of 2 missing; first: 000002_01_02_014-026\.nii\.gz"):
        make_datalists.deeplesion(str(info), str(tmp_path), str(tmp_path / "out"))
    make_datalists.deeplesion(str(info), str(tmp_path), str(tmp_path / "out"), allow_missing=True)
    read = load_decathlon_datalist(tmp_path / "out" / "deeplesion.json", False, "training", tmp_path)
    assert len(read) == 1


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({"File_name": "000001_01_02_021.png"}, r"File_name is .*expected 000001_01_02_020\.png"),
        ({"slices": "21, 26"}, "key slice 20 lies outside"),
        ({"box": "90, 190, 90, 210"}, "not positive"),
        ({"box": "90, 190, 90"}, "expected 4 numbers"),
        ({"spacing": "0.8, 0.8, nan"}, "expected 3 numbers"),
        ({"spacing": "0.8, 0.8, 0"}, "not positive"),
        ({"split": 4}, "expected 1, 2 or 3"),
        ({"diameters": "ten, 8"}, "expected 2 numbers"),
    ],
)
def test_refuses_rows_that_contradict_themselves(cells: dict[str, str], what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"DL_info\.csv, line 3: .*{what}"):
        deeplesion_lists(table(tmp_path, row(), row(**cells)), tmp_path)  # type: ignore[arg-type]


def test_refuses_a_volume_in_two_splits_and_an_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is in two splits"):
        deeplesion_lists(table(tmp_path, row(), row(key=21, split=3)), tmp_path)
    with pytest.raises(InputError, match="no such folder: absent"):
        deeplesion_lists(table(tmp_path, row()), tmp_path / "absent")
