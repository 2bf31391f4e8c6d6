# SPDX-License-Identifier: Apache-2.0
"""Small inputs that real users' troubles look like: each is read with every value at its place, or refused rightly."""

import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import pytest

from lungcad.dicom import list_series, read_series
from lungcad.errors import InputError
from lungcad.geometry import to_world
from lungcad.volume import Volume


class Case(NamedTuple):
    """What must come out of a folder.

    Attributes:
        name: of the folder.
        slices: that are read; 0 where it is refused.
        code: of the refusal, or of a notice that must be there.
        says: in the refusal or the notice.
        acquisition: to choose.
        is_field: whether HU = 3x + 2y + 2.5z - 420 holds; else pydicom's pixels are the truth.
    """

    name: str
    slices: int = 0
    code: str = ""
    says: str = ""
    acquisition: str | None = None
    is_field: bool = False
    leniency: dict[str, object] = {}  # noqa: RUF012 - a constant


CASES = [
    Case("a1", 24, "N-DROPPED", "1 with another orientation", is_field=True),
    Case("a2", 24, "N-DROPPED", "1 with another orientation", is_field=True),
    Case("a4", 24, "N-DROPPED", "1 screen capture", is_field=True),
    Case("a6", code="E-GEOM-DUP", says="--acquisition 1"),
    Case("a6", 24, "N-DROPPED", "24 image(s) of other acquisitions", "1", is_field=True),
    Case("a6c", code="E-ACQUISITION", says="--acquisition 1"),
    Case("a6c", 24, "N-DROPPED", "24 image(s) of other acquisitions", "1"),
    Case("a7", code="E-GEOM-DUP", says="--acquisition 1"),
    Case("a7", 24, "N-DROPPED", "5 image(s) of other acquisitions", "1"),
    Case("a10", code="E-IDENTITY", says="2 patients or studies"),
    Case("two_patients_one_series", code="E-IDENTITY", says="2 patients or studies"),
    Case("b6", code="E-TAG-VALUE", says="PixelSpacing"),
    Case("b8", 24, "W-DERIVED", "24 of 24", is_field=True),
    Case("i3", code="E-GEOM-SPACING", says="changes at z=7.5 mm: 2.50 mm, then 5.00 mm"),
    Case("i5", code="E-GEOM-DUP", says="the same SOPInstanceUID"),
    Case("i7", code="E-GEOM-DUP", says="24 image(s) lie 0.05 mm beside another"),
    Case("c4c", 12),
    Case("c8", 12, "N-TRAILING", "12 slice(s)"),
    Case("c9", 12),
    Case("c10", code="E-TAG-MISSING", says="assume_hu"),
    Case("c10", 12, leniency={"assume_hu": True}),
    Case("c7b", 12, "W-PADDING", "27.36%"),
    Case("l2", 12),
    Case("deflated_columns32", code="E-PIXELS", says="expected 4096"),
    Case("deflated_exit1", code="E-PIXELS"),
    Case("deflated_silent_wrong", code="E-PIXELS"),
    Case("enhanced_exit1_vr", code="E-CORRUPT"),
    Case("half_slice_zero_tail", code="E-HU-RANGE", says="z=-172.5 mm"),
    Case("one_slice_intercept_plus_1000", 16, "W-SLICE", "z=-172.5 mm (values shifted)"),
    Case("last_files_zero_bytes", code="E-CORRUPT", says="holds no byte"),
    Case("rle_multiline_error", code="E-PIXELS"),
    Case("terminal_escapes", 16),
]


@pytest.fixture(scope="module")
def folders(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("cases")
    with tarfile.open(shared / "data" / "cases" / "folders.tar.xz") as archive:
        archive.extractall(target, filter="data")
    return target / "folders"


def true_hu(folder: Path, volume: Volume) -> np.ndarray:
    """HU (X, Y, Z) by pydicom, slice by slice where the volume says it is."""
    by_uid = {}
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        by_uid.setdefault(dataset.SOPInstanceUID, dataset)
    slices = []
    for uid in volume.sop_instance_uids:
        dataset = by_uid[uid]
        if dataset["PixelData"].is_undefined_length and not dataset.file_meta.TransferSyntaxUID.is_compressed:
            stored = np.frombuffer(dataset.PixelData, "<i2")[: dataset.Rows * dataset.Columns]
            stored = stored.reshape(dataset.Rows, dataset.Columns)
        else:
            dataset["PixelData"].value = dataset.PixelData
            stored = dataset.pixel_array
        slices.append(stored.astype(float).T * float(dataset.get("RescaleSlope", 1)))
        slices[-1] += float(dataset.get("RescaleIntercept", 0))
    return np.stack(slices, axis=2)


@pytest.mark.shared_data
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.acquisition or case.code}")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_case_has_the_verdict_that_the_table_of_cases_gives(folders: Path, case: Case) -> None:
    folder = folders / case.name
    list_series(folder)
    try:
        volume = read_series(folder, acquisition=case.acquisition, **case.leniency)
    except InputError as error:
        text = str(error)
        assert not case.slices and error.code == case.code and case.says in text, text
        assert text.isprintable() and len(text) < 600
        return
    assert volume.hu.shape[2] == case.slices
    if case.code:
        assert any(notice.code == case.code and case.says in notice for notice in volume.warnings), volume.warnings
    assert all(notice.isprintable() for notice in [*volume.warnings, volume.description])
    index = np.stack(np.meshgrid(*map(np.arange, volume.hu.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(to_world(volume.affine, index), -1, 0)
    if case.is_field:
        np.testing.assert_allclose(volume.hu, np.maximum(3 * x + 2 * y + 2.5 * z - 420, -1024), atol=0.501)
    elif case.name == "l2":
        import SimpleITK as sitk

        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = sitk.GetArrayFromImage(reader.Execute())
        np.testing.assert_array_equal(volume.hu.transpose(2, 1, 0), np.maximum(image, -1024))
    elif case.name == "c7b":
        truth = true_hu(folder, volume)
        np.testing.assert_array_equal(volume.hu, np.where((truth >= -2000) & (truth <= 0), -1024, truth))
    else:
        np.testing.assert_array_equal(volume.hu, np.maximum(true_hu(folder, volume), -1024))
