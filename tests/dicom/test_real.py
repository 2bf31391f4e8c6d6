# SPDX-License-Identifier: Apache-2.0
"""Real series equal SimpleITK's reading of them, voxel by voxel, and are read fast."""

import time
from pathlib import Path

import numpy as np
import pytest

from lungcad.dicom import list_series, read_series

SERIES = ["LIDC-IDRI-0001", "LIDC-IDRI-0314"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SERIES)
def test_equals_simpleitk(shared: Path, name: str) -> None:
    import SimpleITK as sitk

    folder = shared / "data" / "ct" / name
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.hu.transpose(2, 1, 0), np.maximum(sitk.GetArrayFromImage(image), -1024))
    np.testing.assert_allclose(volume.affine[:3, 3], image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag(image.GetSpacing()), atol=1e-5)
    assert len(set(volume.sop_instance_uids)) == volume.hu.shape[2]
    told = [notice for notice in volume.warnings if notice.startswith("W-")]
    # every image of 0314 has a frame of reference of its own; no slice of either is unlike its neighbours
    assert [notice.code for notice in told] == (["W-FRAME-OF-REFERENCE"] if name == "LIDC-IDRI-0314" else [])  # type: ignore[attr-defined]
    (summary,) = list_series(folder)
    assert summary.usable and summary.uid == volume.series_uid


@pytest.mark.shared_data
@pytest.mark.parametrize("name", SERIES)
def test_cpu_time_stays_small(shared: Path, name: str) -> None:
    folder = shared / "data" / "ct" / name
    read_series(folder)
    start = time.process_time()
    volume = read_series(folder)
    # JPEG-LS takes 9 ms a slice, uncompressed 5 ms, over all threads; four times that on a slow machine
    assert time.process_time() - start < 0.045 * volume.hu.shape[2]
