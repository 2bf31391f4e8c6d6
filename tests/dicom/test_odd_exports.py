# SPDX-License-Identifier: Apache-2.0
"""Series as scanners, gateways and anonymisers write them beside the standard's middle road."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import COLUMNS, assert_exact, make_series, save
from enhanced_phantom import enhanced
from pydicom import Dataset, uid
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet

from lungcad.dicom import list_series, read_series
from lungcad.errors import InputError
from lungcad.volume import Volume


def refusal(folder: Path, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def codes(volume: Volume) -> list[str]:
    return [notice.code for notice in volume.warnings]


def again(series: list[FileDataset], first: int, **tags: object) -> list[FileDataset]:
    """Images of a series with other instance uids, numbers and tags."""
    for k, dataset in enumerate(series):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{first}.{k}"
        dataset.InstanceNumber = first + k
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    return series


@pytest.mark.parametrize("quantity", ["MGML", "Z_EFF", "ED", "EDW", "PCT", "OD"])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_values_that_are_no_hu_by_their_rescale_type_are_refused(
    tmp_path: Path, quantity: str, multi_frame: bool
) -> None:
    series = make_series()
    for dataset in series:
        dataset.RescaleType = quantity
    whole = [enhanced(series)]
    whole[0].SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleType = quantity
    folder = save(whole if multi_frame else series, tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-NOT-CT" and "material or spectral map" in str(error) and "allow_derived" in str(error)
    assert "W-HU" in codes(read_series(folder, allow_derived=True))


@pytest.mark.parametrize("text", ["Hounsfield Units", "US"])
def test_hounsfield_in_full_and_unspecified_raise_no_doubt(tmp_path: Path, text: str) -> None:
    series = make_series()
    for dataset in series:
        dataset.RescaleType = text
    assert not any("RescaleType" in notice for notice in read_series(save(series, tmp_path / "s")).warnings)


@pytest.mark.parametrize("assume_hu", [False, True])
def test_a_modality_lut_is_never_taken_for_hu(tmp_path: Path, assume_hu: bool) -> None:
    series = make_series()
    for dataset in series:
        del dataset.RescaleIntercept
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "HU"
        table.add_new("LUTData", "OW", b"\0\0\1\0")
        dataset.ModalityLUTSequence = [table]
    error = refusal(save(series, tmp_path / "s"), assume_hu=assume_hu)
    assert error.code == "E-TAG-MISSING" and "ModalityLUTSequence" in str(error) and "assume_hu" not in str(error)


def with_syntax(folder: Path, old: str, new: str) -> Path:
    """State another transfer syntax, in as many bytes."""
    for file in folder.iterdir():
        content = file.read_bytes()
        names = [text.encode() + b"\0" * (len(text) % 2) for text in (old, new)]
        at, (before, after) = content.index(names[0]), names
        length = int.from_bytes(content[140:144], "little") + len(after) - len(before)
        head = content[:140] + length.to_bytes(4, "little") + content[144 : at - 2]
        file.write_bytes(head + len(after).to_bytes(2, "little") + after + content[at + len(before) :])
    return folder


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless])
def test_pixels_that_only_claim_to_be_compressed_are_read(tmp_path: Path, syntax: uid.UID) -> None:
    folder = with_syntax(save(make_series(), tmp_path / "s"), uid.ExplicitVRLittleEndian, syntax)
    volume = read_series(folder)
    assert_exact(volume)
    assert "W-HEADER" in codes(volume)
    file = next(folder.iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    assert refusal(folder).code == "E-PIXELS"


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused_by_name(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    folder = with_syntax(save(series, tmp_path / "s"), uid.JPEGLSLossless, uid.ExplicitVRLittleEndian)
    error = refusal(folder)
    assert error.code == "E-TRANSFER-SYNTAX" and "holds compressed pixels" in str(error)


def test_meta_information_counts_without_a_preamble(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    folder = save(series, tmp_path / "s")
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    volume = read_series(folder)
    assert_exact(volume)
    assert "W-NO-META" not in codes(volume)


def monitoring(images: int, z_mm: float, **tags: object) -> list[FileDataset]:
    series = again(make_series(slices=images), 500, SeriesInstanceUID="1.2.3.4.5.6", SeriesDescription="Monitoring")
    for dataset in series:
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], z_mm]
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    return series


@pytest.mark.parametrize("images", [1, 12])
def test_bolus_tracking_beside_the_scan_leaves_no_choice(tmp_path: Path, images: int) -> None:
    save(make_series(), tmp_path / "s" / "scan")
    save(monitoring(images, -100.3), tmp_path / "s" / "monitoring")
    volume = read_series(tmp_path / "s")
    assert_exact(volume)
    assert f"N-DROPPED {images} object(s) of other series not read." in volume.warnings
    assert [summary.usable for summary in list_series(tmp_path / "s")].count(True) == 1


@pytest.mark.parametrize(
    ("slices", "tags"), [(1, {"z_mm": -88.75}), (1, {"z_mm": -112.5}), (8, {}), (1, {"SeriesInstanceUID": ""}),
     (1, {"StudyInstanceUID": "1.2.3.4"})],
)  # fmt: skip
def test_images_that_may_be_lost_slices_are_no_bolus_tracking(tmp_path: Path, slices: int, tags: dict) -> None:
    if slices == 1:
        few = monitoring(1, **{"z_mm": -100.3} | tags)
    else:  # every second of the first slices
        few = again(make_series(), 500, SeriesInstanceUID="1.2.3.4.5.6")[1:15:2]
    save(make_series(), tmp_path / "s" / "scan")
    save(few, tmp_path / "s" / "few")
    assert refusal(tmp_path / "s").code in ("E-MULTI-SERIES", "E-TAG-MISSING")


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "70KEV"]}, "70KEV"),
        ({"SliceThickness": "5.0"}, "5mm"),
        ({"NominalPercentageOfRespiratoryPhase": 50.0}, "50.0"),
        ({"ImageComments": "50%"}, "value-"),
    ],
)
def test_reconstructions_in_the_same_places_can_be_chosen(tmp_path: Path, tags: dict, label: str) -> None:
    brighter = again(make_series(intercept=-1004), 500, **tags)
    for dataset in brighter:
        dataset.RescaleIntercept = "-1024"
    folder = save([*make_series(), *brighter], tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-GEOM-DUP" and "Choose an acquisition" in str(error)
    (summary,) = list_series(folder)
    (chosen,) = (one for one in summary.acquisitions if one.label.startswith(label))
    volume = read_series(folder, acquisition=chosen.label)
    volume.hu += 20
    assert_exact(volume)


def test_image_types_that_vary_along_one_stack_are_one_acquisition(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series[::2]:
        dataset.ImageType, dataset.SliceThickness = ["DERIVED", "PRIMARY", "AXIAL", "A"], "1.5"
    folder = save(series, tmp_path / "s")
    assert_exact(read_series(folder))
    assert list_series(folder)[0].acquisitions == ()


def test_phases_of_an_enhanced_object_can_be_chosen(tmp_path: Path) -> None:
    whole = enhanced([*make_series(), *make_series(intercept=-1004)])
    for k, groups in enumerate(whole.PerFrameFunctionalGroupsSequence):
        phase = Dataset()
        phase.NominalPercentageOfRespiratoryPhase = 50.0 * (k >= len(make_series()))
        groups.RespiratorySynchronizationSequence = [phase]
    folder = save([whole], tmp_path / "s")
    assert "Choose an acquisition: 0.0, 50.0" in str(refusal(folder))
    assert_exact(read_series(folder, acquisition="0.0"))


def test_a_projection_by_its_description_alone_is_told(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.SeriesDescription = "Axial MIP 8mm"
    told = [notice for notice in read_series(save(series, tmp_path / "a")).warnings if notice.code == "W-DERIVED"]
    assert len(told) == 1 and "maximum intensity projection" in told[0]
    for dataset in series:
        dataset.SeriesDescription = "1 mm for MIP"
    assert "W-DERIVED" not in codes(read_series(save(series, tmp_path / "b")))


def test_wide_pixels_are_judged_as_wide_slices_are(tmp_path: Path) -> None:
    series = make_series(columns=COLUMNS)
    for dataset in series:
        dataset.PixelSpacing = [4.07, 0.7]
    assert any("4.07" in notice for notice in read_series(save(series, tmp_path / "a")).warnings)
    for dataset in series:
        dataset.PixelSpacing = [0.7, 6]
    error = refusal(save(series, tmp_path / "b"))
    assert error.code == "E-SPACING-THICK" and "max_spacing_mm" in str(error)
    assert "W-SPACING" in codes(read_series(tmp_path / "b", max_spacing_mm=6))


def test_a_picture_of_eight_bits_is_no_ct(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.PixelData = bytes(value % 256 for value in dataset.PixelData[::2])
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
    assert "no value above -500 HU" in str(refusal(save(series, tmp_path / "s")))


def test_a_dicomdir_alone_says_that_it_is_only_a_list(tmp_path: Path) -> None:
    files = FileSet()
    for dataset in make_series():
        dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.SeriesNumber = "1", "20240101", "120000", 1
        files.add(dataset)
    files.write(tmp_path / "disc")
    (tmp_path / "s").mkdir()
    (tmp_path / "disc" / "DICOMDIR").rename(tmp_path / "s" / "DICOMDIR")
    error = refusal(tmp_path / "s" / "DICOMDIR")
    assert error.code == "E-NO-DICOM" and "only a list" in str(error)
    assert pydicom.dcmread(tmp_path / "s" / "DICOMDIR").DirectoryRecordSequence


def test_dense_tissue_that_a_wrong_sign_turns_into_air_is_told(tmp_path: Path) -> None:
    series = make_series(signed=True, bits_stored=12, intercept=-1024)
    assert not any("PixelRepresentation" in notice for notice in read_series(save(series, tmp_path / "a")).warnings)
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<i2").copy()
        pixels[50:90] = np.linspace(2048, 4095, 40)  # bone and metal of an unsigned image
        dataset.PixelData = pixels.tobytes()
    assert any("PixelRepresentation" in notice for notice in read_series(save(series, tmp_path / "b")).warnings)
    for dataset in series:  # padding, in twelve bits without extension of the sign
        pixels = np.frombuffer(dataset.PixelData, "<i2").copy()
        pixels[50:90] = 4096 - 2000
        dataset.PixelData = pixels.tobytes()
    assert not any("PixelRepresentation" in notice for notice in read_series(save(series, tmp_path / "c")).warnings)
