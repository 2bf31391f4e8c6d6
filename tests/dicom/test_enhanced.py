# SPDX-License-Identifier: Apache-2.0
"""Multi-frame CT: enhanced and legacy converted objects are read like series, frame by frame."""

from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import COLUMNS, ROWS, SLICES, assert_exact, make_series, rotated, save
from enhanced_phantom import enhanced, legacy_converted
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from lungcad.dicom import DicomSeriesError, list_series, read_series


def refused_as(folder: Path) -> str:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder)
    return caught.value.code


def test_enhanced_ct_is_exact_in_any_frame_order(tmp_path: Path) -> None:
    series = make_series()
    order = np.random.default_rng(0).permutation(SLICES)
    folder = save([enhanced([series[k] for k in order])], tmp_path / "s")
    volume = read_series(folder / "IM000.dcm")
    assert_exact(volume)
    assert set(volume.sop_instance_uids) == {"1.2.3.4.5"} and len(volume.sop_instance_uids) == SLICES
    assert [order[number - 1] for number in volume.instance_numbers] == list(range(SLICES))  # type: ignore[operator]
    assert "N-ENHANCED" in [notice.code for notice in volume.warnings]
    (summary,) = list_series(folder)
    assert summary.usable and summary.slices == SLICES


def test_rescale_per_frame(tmp_path: Path) -> None:
    mixed = [pair[k % 2] for k, pair in enumerate(zip(make_series(), make_series(slope=0.5), strict=True))]
    assert_exact(read_series(save([enhanced(mixed, shared_rescale=False)], tmp_path / "s")))


@pytest.mark.parametrize("shared_rescale", [True, False])
def test_rescale_type_of_frames_is_judged(tmp_path: Path, shared_rescale: bool) -> None:
    whole = enhanced(make_series(), shared_rescale)
    groups = [*whole.SharedFunctionalGroupsSequence, *whole.PerFrameFunctionalGroupsSequence]
    for group in groups:
        for transformation in group.get("PixelValueTransformationSequence", []):
            transformation.RescaleType = "HU_MOD"
    notices = read_series(save([whole], tmp_path / "s")).warnings
    assert any("RescaleType is HU_MOD" in notice for notice in notices)


def test_oblique_enhanced_ct(tmp_path: Path) -> None:
    assert_exact(read_series(save([enhanced(make_series(axes=rotated(15.0)))], tmp_path / "s")), tolerance_hu=0.51)


@pytest.mark.parametrize("fragments_per_frame", [1, 2])
def test_compressed_enhanced_ct(tmp_path: Path, fragments_per_frame: int) -> None:
    series = make_series()
    whole = enhanced(series)
    frames = []
    for one in series:
        one.compress(uid.JPEGLSLossless, generate_instance_uid=False)
        frames += generate_frames(one.PixelData, number_of_frames=1)
    whole.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
    whole.PixelData = encapsulate(frames, fragments_per_frame=fragments_per_frame)
    whole["PixelData"].VR, whole["PixelData"].is_undefined_length = "OB", True
    assert_exact(read_series(save([whole], tmp_path / "s")))


def test_deflated_enhanced_ct(tmp_path: Path) -> None:
    whole = enhanced(make_series())
    whole.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    assert_exact(read_series(save([whole], tmp_path / "s")))


def test_series_split_over_two_enhanced_objects(tmp_path: Path) -> None:
    series = make_series()
    first, second = enhanced(series[:9]), enhanced(series[9:])
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.6"
    assert_exact(read_series(save([first, second], tmp_path / "s")))


def test_missing_frame_is_refused(tmp_path: Path) -> None:
    series = make_series()
    del series[4]
    assert refused_as(save([enhanced(series)], tmp_path / "s")) == "E-GEOM-SPACING"


def test_two_phases_in_one_object_are_refused(tmp_path: Path) -> None:
    second = make_series()
    for one in second:
        one.PixelData = bytes(2 * ROWS * COLUMNS)
    assert refused_as(save([enhanced(make_series() + second)], tmp_path / "s")) == "E-GEOM-DUP"


def test_frame_count_must_agree(tmp_path: Path) -> None:
    whole = enhanced(make_series())
    whole.NumberOfFrames = 19
    assert refused_as(save([whole], tmp_path / "s")) == "E-TAG-VALUE"


@pytest.mark.parametrize(
    ("where", "macro"),
    [
        ("SharedFunctionalGroupsSequence", "PixelMeasuresSequence"),
        ("SharedFunctionalGroupsSequence", "PlaneOrientationSequence"),
        ("SharedFunctionalGroupsSequence", "PixelValueTransformationSequence"),
        ("PerFrameFunctionalGroupsSequence", "PlanePositionSequence"),
    ],
)
def test_missing_functional_group_is_refused(tmp_path: Path, where: str, macro: str) -> None:
    whole = enhanced(make_series())
    del whole[where].value[-1][macro]
    assert refused_as(save([whole], tmp_path / "s")) == "E-TAG-MISSING"


def test_truncated_enhanced_ct_is_refused(tmp_path: Path) -> None:
    folder = save([enhanced(make_series())], tmp_path / "s")
    content = (folder / "IM000.dcm").read_bytes()
    (folder / "IM000.dcm").write_bytes(content[:-3000])
    assert refused_as(folder) == "E-PIXELS"
    (folder / "IM000.dcm").write_bytes(content[:2000])
    assert refused_as(folder) in ("E-CORRUPT", "E-PIXELS")


def test_projected_frames_are_refused(tmp_path: Path) -> None:
    series = make_series()
    series[6].ImageType = ["DERIVED", "PRIMARY", "MIP"]
    folder = save([enhanced(series)], tmp_path / "s")
    assert refused_as(folder) == "E-NOT-CT"
    assert_exact(read_series(folder, allow_derived=True))


def test_several_frames_in_a_single_frame_class_are_refused(tmp_path: Path) -> None:
    series = make_series(1)
    series[0].NumberOfFrames, series[0].PixelData = 20, series[0].PixelData * 20
    series[0]["PixelData"].VR = "OW"
    assert refused_as(save(series, tmp_path / "s")) == "E-TAG-MISSING"


def test_legacy_converted_ct_is_exact(tmp_path: Path) -> None:
    legacy_converted(make_series()).save_as(tmp_path / "whole.dcm")
    assert_exact(read_series(tmp_path / "whole.dcm", allow_derived=True))
    assert_exact(read_series(tmp_path / "whole.dcm"))
