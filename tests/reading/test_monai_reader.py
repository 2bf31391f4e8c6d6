# SPDX-License-Identifier: Apache-2.0
"""The MONAI reader: right metadata, and a refused series never comes back through another reader."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_phantom import SERIES_UID, field_hu, make_series, save
from monai.data import Dataset
from monai.transforms import Compose, LoadImage, LoadImaged

from lungcad.errors import InputError
from lungcad.geometry import swap_lps_ras, to_world
from lungcad.reading.monai_reader import CTSeriesReader
from lungcad.reading.volume_file import read_volume

NAME = "lungcad.reading.monai_reader.CTSeriesReader"


def with_gap(folder: Path) -> Path:
    series = make_series()
    del series[7]
    return save(series, folder)


@pytest.mark.parametrize("reader", [NAME, CTSeriesReader, CTSeriesReader()])
def test_loads_with_geometry_and_metadata(tmp_path: Path, reader: object) -> None:
    image = LoadImage(reader)(save(make_series(), tmp_path / "s"))
    assert image.shape == (40, 48, 20) and image.dtype == torch.float32
    affine_lps = swap_lps_ras(np.asarray(image.affine))
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    assert np.abs(image.numpy() - field_hu(to_world(affine_lps, index))).max() < 0.501
    meta = image.meta
    assert meta["space"] == "RAS" and meta["series_uid"] == SERIES_UID and meta["description"] == "phantom"
    assert meta["instance_numbers"] == tuple(range(1, 21)) and len(meta["sop_instance_uids"]) == 20
    assert meta["warnings"][0].startswith("W-COVERAGE")


@pytest.mark.parametrize("reader", [NAME, CTSeriesReader, CTSeriesReader(), [NAME, "ITKReader"][:1]])
def test_refused_series_is_not_read_by_another_reader(tmp_path: Path, reader: object) -> None:
    with pytest.raises(InputError, match="E-GEOM-SPACING"):
        LoadImage(reader)(with_gap(tmp_path / "s"))
    with pytest.raises(InputError, match="E-NO-DICOM"):
        LoadImage(reader)(tmp_path / "nothing")


def test_refusal_stays_in_the_chain_of_causes(tmp_path: Path) -> None:
    load = Compose([LoadImaged("image", reader=NAME, series_uid=None)])
    with pytest.raises(RuntimeError) as caught:
        load({"image": str(with_gap(tmp_path / "s"))})
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    assert isinstance(error, InputError) and error.code == "E-GEOM-SPACING"


def test_series_uid_from_the_config_chooses(tmp_path: Path) -> None:
    save(make_series(), tmp_path / "s", "A{}".format)
    other = make_series(12)
    for dataset in other:
        dataset.SeriesInstanceUID = "1.2.3"
    save(other, tmp_path / "s", "B{}".format)
    load = LoadImaged("image", reader=NAME, series_uid="1.2.3")
    assert load({"image": str(tmp_path / "s")})["image"].shape == (40, 48, 12)
    with pytest.raises(InputError, match="E-MULTI-SERIES"):
        LoadImage(NAME)(tmp_path / "s")


def test_several_paths_and_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        LoadImage(CTSeriesReader)([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InputError, match="E-CONFIG"):
        CTSeriesReader(allow_everything=True)


def test_passes_through_a_worker_process(tmp_path: Path) -> None:
    data = Dataset([{"image": str(save(make_series(), tmp_path / "s"))}], LoadImaged("image", reader=NAME))
    (item,) = torch.utils.data.DataLoader(data, batch_size=None, num_workers=1)
    assert item["image"].meta["warnings"][0].code == "W-COVERAGE"


def test_read_volume_takes_folders_and_files(tmp_path: Path) -> None:
    import SimpleITK as sitk

    folder = save(make_series(), tmp_path / "s")
    volume = read_volume(folder)
    image = sitk.GetImageFromArray(volume.hu.transpose(2, 1, 0))
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    sitk.WriteImage(image, str(tmp_path / "case.mhd"))
    again = read_volume(tmp_path / "case.mhd")
    np.testing.assert_array_equal(again.hu, volume.hu)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)
    assert again.series_uid == "case"


def test_a_config_gives_acquisition_and_leniency_as_keys(tmp_path: Path) -> None:
    folder = save(make_series(step_mm=7.0), tmp_path / "s")
    load = LoadImaged("image", reader=NAME, series_uid=None, acquisition=None, leniency={"max_spacing_mm": 7})
    assert load({"image": str(folder)})["image"].meta["origin"]["leniency"] == {"max_spacing_mm": 7}
    with pytest.raises(InputError, match="E-SPACING-THICK"):
        LoadImaged("image", reader=NAME, leniency={})({"image": str(folder)})
    with pytest.raises(InputError, match="acquisition"):
        LoadImaged("image", reader=NAME, acquisition="9", leniency={"max_spacing_mm": 7})({"image": str(folder)})
    for wrong in ({"leniency": "thick"}, {"leniency": {"nonsense": 1}}, {"series_uid": 7}):
        with pytest.raises(InputError, match="E-CONFIG"):
            CTSeriesReader(**wrong)
