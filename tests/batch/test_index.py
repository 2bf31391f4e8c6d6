# SPDX-License-Identifier: Apache-2.0
"""An archive's index: a row for each series, no names, every study ranked, taken up where it was left."""

from pathlib import Path

import pytest
from dicom_phantom import SERIES_UID, save
from small_archive import PATIENT, add_bad_series, add_series, numbered

from lungcad import cli
from lungcad.batch import index
from lungcad.batch.manifest import Item, read_manifest, write_manifest
from lungcad.batch.study import index_archive
from lungcad.errors import InputError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in (0, 1):
        add_series(tmp_path / "archive", number, 12, ConvolutionKernel=("B80f", "B30f")[number])
    return tmp_path / "archive"


def rows(archive: Path) -> dict[str, Item]:
    manifest = archive.parent / "manifest.csv"
    index_archive(archive, manifest)
    return {item.series_uid.removeprefix(f"{SERIES_UID}."): item for item in read_manifest(manifest)}


def test_a_row_for_each_series_with_verdict_and_rank(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_bad_series(archive, 100)
    (archive / "readme.txt").write_text("no DICOM")
    cli.main(["index", str(archive), str(archive.parent / "manifest.csv")])
    told = capsys.readouterr().out
    found = rows(archive)
    assert "12 series of 6 studies, 4 usable" in told and "refused E-NOT-CT: 2" in told
    assert [found[number].rank for number in ("0", "1")] == [2, 1]  # a sharp kernel, a soft one
    assert found["0"].slices == 12 and found["0"].folder == archive / "study0" / "series0"
    assert [found[str(100 + k)].code for k in (0, 1, 3, 4, 5, 7, 9)] == [
        "E-FEW-SLICES", "E-GEOM-SPACING", "E-NOT-CT", "E-GEOM-TILT", "E-GEOM-PIXSPACING", "E-IDENTITY", "E-CORRUPT",
    ]  # fmt: skip
    best = {item.series_uid for item in read_manifest(archive.parent / "manifest.csv", best=True)}
    assert f"{SERIES_UID}.1" in best and f"{SERIES_UID}.0" not in best
    written = "".join(path.read_text() for path in archive.parent.glob("manifest.csv*"))
    assert PATIENT not in written and "ID12345" not in written


def test_an_index_goes_on_where_it_was(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surveyed: list[str] = []
    as_it_is = index.folder_entries

    def survey(archive: Path, folder: Path, *others: object) -> object:
        if len(surveyed) == 1 and not surveyed[0].endswith("again"):
            surveyed[0] += " again"
            raise KeyboardInterrupt
        surveyed.append(folder.name)
        return as_it_is(archive, folder, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(index, "folder_entries", survey)
    with pytest.raises(KeyboardInterrupt):
        rows(archive)
    journal = archive.parent / "manifest.csv.journal"
    assert not (archive.parent / "manifest.csv").exists()
    with journal.open("ab") as file:
        file.write(b'{"folder": "study0/series1", "ser')  # cut by a kill
    assert set(rows(archive)) == {"0", "1"} and surveyed == ["series0 again", "series1"]
    add_series(archive, 2, 12)
    (archive / "study0" / "series0" / "IM000.dcm").unlink()
    found = rows(archive)
    assert set(found) == {"0", "1", "2"} and surveyed[2:] == ["series0", "series2"]
    assert found["0"].code == "E-GEOM-SPACING" or found["0"].slices == 11


def test_a_series_in_two_folders_is_one_row(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = numbered(4, 12)
    for part, name in ((series[:6], "a"), (series[6:], "b")):
        save(part, archive / "study2" / name)
    found = rows(archive)["4"]
    assert (found.folder, found.slices, found.code) == (archive / "study2", 12, "")
    monkeypatch.setattr("lungcad.batch.study.MAX_FOLDERS", 1)
    assert rows(archive)["4"].code == "E-SPLIT"


def test_volume_files_are_rows_without_their_names(archive: Path) -> None:
    for name in ("1.2.3.4.5.6", "Doe_Jane"):
        (archive / f"{name}.mhd").write_text("no header")
    found = [item for item in read_manifest_of(archive) if item.folder.suffix == ".mhd"]
    assert {item.series_uid.partition("-")[0] for item in found} == {"1.2.3.4.5.6", "volume"}
    assert {item.code for item in found} == {"E-CORRUPT"}


def read_manifest_of(archive: Path) -> list[Item]:
    return index_archive(archive, archive.parent / "manifest.csv")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-NO-DICOM"):
        index_archive(tmp_path / "none", tmp_path / "manifest.csv")


def test_odd_names_of_folders_survive_a_manifest(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a, b", ' "quoted" ', "line\nbreak", "b\udcff")]
    items = [Item(f"1.2.{k}", folder) for k, folder in enumerate(folders)]
    write_manifest(tmp_path / "manifest.csv", items)
    assert list(read_manifest(tmp_path / "manifest.csv")) == items


@pytest.mark.parametrize(("text", "what"), [
    ("", "column folder, series_uid missing"),
    ("series_uid,slices\n1,2\n", "column folder missing"),
    ("series_uid,folder\n1,a\n1,b\n", "line 3: series 1 stands there twice"),
    ("series_uid,folder\n,a\n", "line 2: series_uid or folder is empty"),
    ("series_uid,folder,rank\n1,a,first\n", "slices or rank is no number"),
    ("series_uid,folder,verdict\n1,a,refused\n", "refused without a code"),
])  # fmt: skip
def test_a_faulty_manifest_is_refused_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        list(read_manifest(tmp_path / "manifest.csv"))
    assert caught.value.code == "E-TABLE"
