# SPDX-License-Identifier: Apache-2.0
import csv
from collections import Counter
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist

import make_datalists
from lungcad.datalists.files import Item, fold_lists, patient_fold, report_missing, sphere_box, write_lists
from lungcad.errors import InputError


def items(*folds: int) -> list[Item]:
    return [{"image": f"{number}.mhd", "fold": fold} for number, fold in enumerate(folds)]


def names(entries: list[Item]) -> list[str]:
    return [Path(item["image"]).stem for item in entries]


def test_every_fold_is_tested_once_and_the_next_one_validates() -> None:
    made = fold_lists(items(0, 1, 2, 0), 3)
    assert [names(lists["test"]) for lists in made] == [["0", "3"], ["1"], ["2"]]
    assert [names(lists["validation"]) for lists in made] == [["1"], ["2"], ["0", "3"]]
    assert [names(lists["training"]) for lists in made] == [["2"], ["0", "3"], ["1"]]


def test_without_validation_all_others_are_trained_on() -> None:
    made = fold_lists(items(0, 1, 2), 3, validation=False)
    assert [names(lists["training"]) for lists in made] == [["1", "2"], ["0", "2"], ["0", "1"]]
    assert made[0]["validation"] == []


def test_some_items_are_for_training_only() -> None:
    made = fold_lists(items(0, 0, 1, 2), 3, tested=lambda item: item["image"] != "0.mhd")
    assert [names(lists["test"]) for lists in made] == [["1"], ["2"], ["3"]]
    assert [names(lists["validation"]) for lists in made] == [["2"], ["3"], ["1"]]
    assert names(made[1]["training"]) == ["0", "1"]


@pytest.mark.parametrize(("folds", "count"), [((0, 1), 2), ((0, 1, 3, 3), 4)])
def test_refuses_folds_without_anything_to_train_or_test_on(folds: tuple[int, ...], count: int) -> None:
    with pytest.raises(InputError, match=r"has an empty (training|test) list"):
        fold_lists(items(*folds), count)


def test_monai_reads_the_lists_and_leaves_identifiers_alone(tmp_path: Path) -> None:
    (tmp_path / "images" / "LIDC-IDRI-0001").mkdir(parents=True)  # MONAI would take the patient's id for this folder
    item: Item = {"image": "a/b.mhd", "box": [[1.5, -2, 3, 4, 4, 4]], "label": [0]}
    item["ids"] = {"patient": "LIDC-IDRI-0001"}
    write_lists(tmp_path / "out", {"x": {"training": [item, item], "validation": [], "test": [item]}}, "words")
    for key, count in (("training", 2), ("test", 1)):
        read = load_decathlon_datalist(
            tmp_path / "out" / "x.json", is_segmentation=False, data_list_key=key, base_dir=tmp_path / "images"
        )
        assert read == [item | {"image": str(tmp_path / "images" / "a" / "b.mhd")}] * count
    with pytest.raises(ValueError, match="validation not specified"):
        load_decathlon_datalist(tmp_path / "out" / "x.json", data_list_key="validation")


def test_missing_things_are_reported_and_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 5 missing; first: series 1.2: no image.*--allow_missing") as caught:
        report_missing(tmp_path, ["series 1.2: no image", "series 1.3: no image"], 5, allow=False)
    assert caught.value.code == "E-DATALIST-MISSING"
    assert (tmp_path / "missing.txt").read_text() == "series 1.2: no image\nseries 1.3: no image\n"
    report_missing(tmp_path, ["series 1.2: no image"], 5, allow=True)
    assert (tmp_path / "missing.txt").read_text() == "series 1.2: no image\n"
    report_missing(tmp_path, [], 5, allow=False)
    assert not (tmp_path / "missing.txt").exists()


def test_boxes_are_cubes_around_spheres() -> None:
    assert sphere_box((1, 2.123456789, -3, 4)) == [1.0, 2.123457, -3.0, 4.0, 4.0, 4.0]


def test_folds_by_patient_are_fixed_and_even() -> None:
    # crc32(b"LIDC-IDRI-0001cv") = 2122649974
    assert (patient_fold("LIDC-IDRI-0001", 5), patient_fold("LIDC-IDRI-0001", 10)) == (4, 4)
    counts = Counter(patient_fold(f"LIDC-IDRI-{number:04d}", 10) for number in range(1, 1011))
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 70


@pytest.mark.shared_data
@pytest.mark.parametrize("table", ["nodules3d/nodules.csv", "nodules2d/slices.csv", "luna16/series_map.csv"])
def test_folds_agree_with_the_shared_tables(table: str, shared: Path) -> None:
    with (shared / "data" / table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 700
    assert all(patient_fold(row["patient_id"], 5) == int(row["fold"]) for row in rows)


def luna16_folder(root: Path, subsets: int = 3) -> Path:
    """One scan in each subset; the scans of even subsets have a nodule."""
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for number in range(subsets):
        folder = root / f"subset{number}"
        folder.mkdir(parents=True)
        (folder / f"1.{number}.mhd").write_text(f"NDims = 3\nElementDataFile = 1.{number}.raw\n")
        (folder / f"1.{number}.raw").touch()
        if number % 2 == 0:
            rows.append(f"1.{number},{number},-2.5,3,{4 + number}")
    (root / "annotations.csv").write_text("\n".join(rows))
    return root


def test_luna16_folds_are_its_subsets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, output = luna16_folder(tmp_path / "luna16", 10), tmp_path / "out"
    make_datalists.luna16(str(root), str(output))
    assert sorted(path.name for path in output.iterdir()) == [f"luna16_fold{number}.json" for number in range(10)]
    for key, expected in (("test", [2]), ("validation", [3]), ("training", [0, 1, 4, 5, 6, 7, 8, 9])):
        path = output / "luna16_fold2.json"
        read = load_decathlon_datalist(path, is_segmentation=False, data_list_key=key, base_dir=root)
        assert [item["fold"] for item in read] == expected
        assert all(Path(item["image"]).is_file() for item in read)
    assert read[2]["box"] == [[4.0, -2.5, 3.0, 8.0, 8.0, 8.0]]  # subset 4
    assert (read[2]["label"], read[2]["ids"]) == ([0], {"series": "1.4"})
    assert (read[1]["box"], read[1]["label"]) == ([], [])  # subset 1: no nodule
    assert "luna16_fold2                training 8 (4 boxes)  validation 1 (0 boxes)  test 1 (1 boxes)" in (
        capsys.readouterr().out
    )


def test_luna16_reports_missing_scans_and_data_files(tmp_path: Path) -> None:
    root, output = luna16_folder(tmp_path / "luna16"), tmp_path / "out"
    (root / "seriesuids.csv").write_text("1.0\n1.1\n1.2\n1.9\n")
    (root / "subset1" / "1.1.raw").unlink()
    with pytest.raises(InputError, match=r"2 of 4 missing; first: series 1\.9: no image"):
        make_datalists.luna16(str(root), str(output), subsets=3)
    assert (output / "missing.txt").read_text() == "series 1.9: no image\nseries 1.1: no data file 1.1.raw\n"
    (root / "subset1" / "1.1.mhd").write_text("ElementDataFile = LOCAL\n")
    make_datalists.luna16(str(root), str(output), subsets=3, allow_missing=True)
    assert (output / "luna16_fold1.json").is_file()
    assert (output / "missing.txt").read_text() == "series 1.9: no image\n"


def test_luna16_refuses_ids_that_do_not_match(tmp_path: Path) -> None:
    root = luna16_folder(tmp_path)
    (root / "seriesuids.csv").write_text("1.0\n1.1\n")
    with pytest.raises(InputError, match=r"series 1\.2 is not in seriesuids\.csv"):
        make_datalists.luna16(str(root), str(tmp_path / "out"), subsets=3)
    (root / "subset2" / "1.0.mhd").write_text("ElementDataFile = LOCAL\n")
    with pytest.raises(InputError, match=r"series 1\.0 is in subset0 and in subset2"):
        make_datalists.luna16(str(root), str(tmp_path / "out"), subsets=3)
    (root / "subset2" / "1.0.mhd").unlink()
    (root / "subset2" / "1.2.mhd").write_text("NDims = 3\n")
    (root / "seriesuids.csv").unlink()
    with pytest.raises(InputError, match=r"1\.2\.mhd names no ElementDataFile"):
        make_datalists.luna16(str(root), str(tmp_path / "out"), subsets=3)
