# SPDX-License-Identifier: Apache-2.0
"""Pixel rows of the intake table: encodings, compression, damage, scaling, padding, plausibility."""

import base64
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import COLUMNS, ROWS, assert_exact, field_error_hu, gdcm_jpeg, make_series, save
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import dcmwrite

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.dicom.codecs import FrameError, decode_frame, to_signed
from lungcad.dicom.frames import PixelFormat
from lungcad.volume import Volume


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def codes(volume: Volume) -> list[str]:
    return [notice.code for notice in volume.warnings]


def write_as(series: list[FileDataset], folder: Path, syntax: uid.UID) -> Path:
    """Write uncompressed series in another encoding."""
    folder.mkdir()
    for k, dataset in enumerate(series):
        if syntax == uid.ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        little, implicit = syntax != uid.ExplicitVRBigEndian, syntax == uid.ImplicitVRLittleEndian
        dcmwrite(folder / f"{k}.dcm", dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_uncompressed_encodings(tmp_path: Path, syntax: uid.UID) -> None:
    assert_exact(read_series(write_as(make_series(), tmp_path / "s", syntax)))


def compressed(series: list[FileDataset], folder: Path, syntax: uid.UID) -> Path:
    """Compress a series and write it."""
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    done = []
    for dataset in series:
        if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
            done.append(gdcm_jpeg(dataset, work, syntax))
            continue
        if syntax == uid.JPEG2000Lossless:
            from openjpeg.utils import encode_array

            kind = "<i2" if dataset.PixelRepresentation else "<u2"
            pixels = np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)
            stream = encode_array(pixels, bits_stored=dataset.BitsStored, photometric_interpretation=2)
            dataset.PixelData = encapsulate([bytes(stream)])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.file_meta.TransferSyntaxUID = syntax
            done.append(dataset)
            continue
        extra = {"jls_error": 2} if syntax == uid.JPEGLSNearLossless else {}
        dataset.compress(syntax, generate_instance_uid=False, **extra)  # type: ignore[arg-type]
        done.append(dataset)
    return save(done, folder)


LOSSLESS = [uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless]


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    "options", [{}, {"signed": True, "intercept": 0.0}, {"signed": True, "intercept": 0.0, "bits_stored": 13}]
)
def test_lossless_compression_is_exact(tmp_path: Path, syntax: uid.UID, options: dict[str, object]) -> None:
    volume = read_series(compressed(make_series(**options), tmp_path / "s", syntax))  # type: ignore[arg-type]
    assert_exact(volume)
    assert "W-LOSSY" not in codes(volume)


def test_near_lossless_is_within_its_bound_and_warned(tmp_path: Path) -> None:
    volume = read_series(compressed(make_series(), tmp_path / "s", uid.JPEGLSNearLossless))
    assert_exact(volume, tolerance_hu=2.501)
    assert "W-LOSSY" in codes(volume)


def test_lossy_flag_alone_is_warned(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.LossyImageCompression = "01"
    assert "W-LOSSY" in codes(read_series(save(series, tmp_path / "s")))


HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGsAAf+TwAAmk/cFB3QAAMAAEsAAEoDwAMd0ACIBh3QAwAASwAATAMAAQnQA"
    "kJAAQ1QAwAASwAAVQPC08nQARsMw/sAQgey2AMAAJ4AAVgAA58ApS+YA3t3d3f3ye/fJ7LgA/9k="
)
"""A 16 x 16 ramp of 1000 + 16 * row + column, HTJ2K lossless (OpenJPH through imagecodecs)."""


def test_htj2k_is_exact() -> None:
    pixels, bits = decode_frame(HTJ2K, uid.HTJ2KLossless, PixelFormat(16, 16, 16, 16, False))
    assert bits == 16
    np.testing.assert_array_equal(pixels, 1000 + np.arange(256).reshape(16, 16))


def test_jpeg_extended_12_bit_is_decoded() -> None:
    import pydicom

    dataset = pydicom.dcmread(str(get_testdata_file("JPGExtended.dcm")))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    pixels, bits = decode_frame(frame, uid.JPEGExtended12Bit, PixelFormat(1024, 256, 16, 12, False))
    assert bits == 12 and pixels.shape == (1024, 256)
    assert pixels[420, 140] == 244  # value given in pydicom's own tests for this file


@pytest.mark.parametrize("name", ["J2K_pixelrep_mismatch.dcm", "CT_small.dcm"])
def test_pydicoms_ct_files_equal_pydicom(tmp_path: Path, name: str) -> None:
    import pydicom

    dataset = pydicom.dcmread(str(get_testdata_file(name)))
    expected = pydicom.dcmread(str(get_testdata_file(name))).pixel_array * float(dataset.RescaleSlope)
    expected = np.maximum(expected + float(dataset.RescaleIntercept), -1024)
    for k in range(8):
        x, y, _ = dataset.ImagePositionPatient
        dataset.ImagePositionPatient, dataset.SOPInstanceUID = [x, y, 2.0 * k], f"1.2.3.{k}"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.save_as(tmp_path / f"{k}.dcm")
    np.testing.assert_array_equal(read_series(tmp_path).hu[:, :, 0].T, expected)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.100", "1.2.3.4"])
def test_unknown_transfer_syntax_is_refused(tmp_path: Path, syntax: str) -> None:
    series = make_series()
    for dataset in series:
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    folder = save(series, tmp_path / "s")
    for file in folder.iterdir():
        content = file.read_bytes()
        at = content.index(b"1.2.840.10008.1.2.4.90")
        padded = syntax.encode().ljust(22, b"\0")
        grown = len(padded) - 22  # lengths of the value and of the group change with it
        content = content[:at] + padded + content[at + 22 :]
        content = content[: at - 2] + len(padded).to_bytes(2, "little") + content[at:]
        size = int.from_bytes(content[140:144], "little") + grown
        file.write_bytes(content[:140] + size.to_bytes(4, "little") + content[144:])
    assert refusal(folder).code == "E-TRANSFER-SYNTAX"
    assert list_series(folder)[0].code == "E-TRANSFER-SYNTAX"


@pytest.mark.parametrize("syntax", [*LOSSLESS, uid.JPEGLSNearLossless])
@pytest.mark.parametrize("damage", ["zeros in the middle", "cut", "other size"])
def test_damaged_compressed_slice_is_refused_or_named(tmp_path: Path, syntax: uid.UID, damage: str) -> None:
    folder = compressed(noisy(make_series(rows=256)), tmp_path / "s", syntax)
    import pydicom

    file = folder / "IM007.dcm"
    dataset = pydicom.dcmread(file)
    stream = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if damage == "other size":
        other = compressed(noisy(make_series(9, rows=128))[8:], tmp_path / "o", syntax)
        stream = bytearray(next(generate_frames(pydicom.dcmread(other / "IM000.dcm").PixelData, number_of_frames=1)))
    elif damage == "cut":
        del stream[len(stream) // 2 :]
    elif syntax in (uid.JPEG2000Lossless, uid.RLELossless):
        stream[40:600] = bytes(560)  # hits the headers; pixels of these carry no check at all
    else:
        middle = len(stream) // 2
        stream[middle : middle + 200] = bytes(200)
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file)
    try:
        volume = read_series(folder)
    except DicomSeriesError as error:
        assert error.code in ("E-PIXELS", "E-HU-RANGE")
    else:  # a decoder that reports nothing: what it made of the stream looks odd, not damaged for certain
        place = f"z={dataset.ImagePositionPatient[2]:.1f} mm"
        assert any(notice.startswith("W-SLICE") and place in notice for notice in volume.warnings)


def noisy(series: list[FileDataset]) -> list[FileDataset]:
    """Add noise, so that compressed streams have a length worth damaging."""
    rng = np.random.default_rng(0)
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<u2")
        dataset.PixelData = (pixels + rng.integers(0, 64, pixels.shape)).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
    return series


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1])
def test_slice_unlike_its_neighbours_is_refused_when_compressed(tmp_path: Path, syntax: uid.UID) -> None:
    series = make_series()
    pixels = np.frombuffer(series[9].PixelData, "<u2").copy()
    pixels[:400] = 3500  # what damaged entropy data look like after decoding
    series[9].PixelData = pixels.tobytes()
    series[9]["PixelData"].VR = "OW"
    error = refusal(compressed(series, tmp_path / "s", syntax))
    assert error.code == "E-HU-RANGE" and "neighbours" in str(error)


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_truncated_pixels_are_refused_never_dropped(tmp_path: Path, keep: float) -> None:
    folder = save(make_series(), tmp_path / "s")
    content = (folder / "IM005.dcm").read_bytes()
    pixel_bytes = 2 * ROWS * COLUMNS
    (folder / "IM005.dcm").write_bytes(content[: len(content) - pixel_bytes + int(keep * pixel_bytes)])
    error = refusal(folder)
    assert error.code == "E-PIXELS" and "z=" in str(error)


@pytest.mark.parametrize("size", [133, 180, 330, 420, 600, 800, 860])
def test_truncated_header_is_refused_never_dropped(tmp_path: Path, size: int) -> None:
    folder = save(make_series(), tmp_path / "s")
    # an outer slice: no gap would give it away
    outer = next(file for file in folder.iterdir() if b"\\-112.5" in file.read_bytes())
    content = outer.read_bytes()
    assert len(content) - 2 * ROWS * COLUMNS > size
    outer.write_bytes(content[:size])
    assert refusal(folder).code in ("E-CORRUPT", "E-PIXELS")
    assert not any(one.usable for one in list_series(folder))


def test_pixel_element_missing_is_refused(tmp_path: Path) -> None:
    series = make_series()
    del series[0].PixelData
    assert refusal(save(series, tmp_path / "s")).code == "E-PIXELS"


@pytest.mark.parametrize("factor", [0.5, 2])
def test_pixel_element_of_another_length_is_refused(tmp_path: Path, factor: float) -> None:
    series = make_series()
    series[3].PixelData = bytes(int(2 * ROWS * COLUMNS * factor))
    assert refusal(save(series, tmp_path / "s")).code == "E-PIXELS"


def test_rescale_may_vary_from_slice_to_slice(tmp_path: Path) -> None:
    mixed = zip(make_series(), make_series(slope=0.5), make_series(intercept=-1000), strict=True)
    volume = read_series(save([triple[k % 3] for k, triple in enumerate(mixed)], tmp_path / "s"))
    assert_exact(volume)


@pytest.mark.parametrize(
    "options",
    [
        {"slope": 0.5, "intercept": -1000.0}, {"slope": 0.25}, {"signed": True, "intercept": 0.0},
        {"bits_stored": 12}, {"bits_stored": 12, "signed": True, "intercept": 0.0},
    ],
)  # fmt: skip
def test_stored_formats(tmp_path: Path, options: dict[str, object]) -> None:
    assert_exact(read_series(save(make_series(**options), tmp_path / "s")))  # type: ignore[arg-type]


def test_signed_and_unsigned_slices_may_mix(tmp_path: Path) -> None:
    mixed = zip(make_series(), make_series(signed=True, intercept=0.0), strict=True)
    assert_exact(read_series(save([pair[k % 2] for k, pair in enumerate(mixed)], tmp_path / "s")))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_declared_padding_becomes_air(tmp_path: Path, vr: str, syntax: uid.UID) -> None:
    series = make_series(signed=True, intercept=0.0)
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(ROWS, COLUMNS).copy()
        pixels[:4] = -3024
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.add_new("PixelPaddingValue", vr, -3024 if vr == "SS" else 65536 - 3024)
    volume = read_series(write_as(series, tmp_path / "s", syntax))
    assert (volume.hu[:, :4] == -1024).all() and (volume.hu[:, 4:] > -1024).all()
    assert "N-PADDING" in codes(volume)


def test_padding_range_and_positive_padding_become_air(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(ROWS, COLUMNS).copy()
        pixels[0], pixels[1] = 4000, 4090
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 4095, 4000
        dataset["PixelPaddingValue"].VR = dataset["PixelPaddingRangeLimit"].VR = "US"
    volume = read_series(save(series, tmp_path / "s"))
    assert (volume.hu[:, :2] == -1024).all() and (volume.hu[:, 2:] > -1024).all()


def with_damaged_vr(folder: Path, element: bytes) -> Path:
    """Overwrite the value representation of an element, given as tag and VR, in one file of a series of explicit VR."""
    series = make_series()
    for dataset in series:
        dataset.add_new("PixelPaddingValue", "US", 0)
    path = sorted(save(series, folder).iterdir())[3]
    whole = path.read_bytes()
    assert whole.count(element) == 1
    path.write_bytes(whole.replace(element, element[:4] + b"QS"))
    return folder


def test_an_image_type_of_unknown_representation_is_damage(tmp_path: Path) -> None:
    folder = with_damaged_vr(tmp_path / "s", b"\x08\x00\x08\x00CS")
    assert not any(one.usable for one in list_series(folder))
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder)
    assert caught.value.code == "E-CORRUPT"


def test_padding_of_unknown_representation_is_as_good_as_none(tmp_path: Path) -> None:
    assert_exact(read_series(with_damaged_vr(tmp_path / "s", b"\x28\x00\x20\x01US")))


def test_undeclared_padding_is_clipped_and_noted(tmp_path: Path) -> None:
    series = make_series(signed=True, intercept=0.0)
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(ROWS, COLUMNS).copy()
        pixels[:4] = -2000
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
    volume = read_series(save(series, tmp_path / "s"))
    assert volume.hu.min() == -1024 and "N-PADDING" in codes(volume)


def test_monochrome1_is_not_inverted(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert "W-MONOCHROME1" in codes(volume)


def test_colour_is_refused(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    assert refusal(save(series, tmp_path / "s")).code == "E-NOT-CT"


def test_impossible_hu_are_refused(tmp_path: Path) -> None:
    series = make_series()
    pixels = np.frombuffer(series[4].PixelData, "<u2").copy()
    pixels[100] = 65521  # - 1024 = 64497 HU
    series[4].PixelData = pixels.tobytes()
    series[4]["PixelData"].VR = "OW"
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-HU-RANGE" and "64497 HU at z=-107.5 mm" in str(error)  # -112.5 + 4 * 1.25


def test_blank_slice_between_others_is_refused(tmp_path: Path) -> None:
    series = make_series()
    series[8].PixelData = bytes(2 * ROWS * COLUMNS)  # the hole that an interrupted copy leaves
    error = refusal(save(series, tmp_path / "a"))
    assert error.code == "E-HU-RANGE" and "blank" in str(error)
    ends = make_series()
    ends[0].PixelData = ends[-1].PixelData = bytes(2 * ROWS * COLUMNS)  # scanners do pad the ends
    assert (read_series(save(ends, tmp_path / "b")).hu[:, :, 0] == -1024).all()


def test_blank_volume_is_refused(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.PixelData = b"\x00\x04" * (ROWS * COLUMNS)  # 0 HU throughout
    assert refusal(save(series, tmp_path / "s")).code == "E-HU-RANGE"


def test_nothing_but_air_is_refused(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.RescaleIntercept = "-9999"
    assert refusal(save(series, tmp_path / "s")).code == "E-HU-RANGE"


def test_uncalibrated_values_are_refused_or_warned(tmp_path: Path) -> None:
    slightly = make_series()
    for dataset in slightly:
        dataset.RescaleIntercept = "0"  # 1024 HU too high
    volume = read_series(save(slightly, tmp_path / "a"))
    assert "W-HU" in codes(volume)
    grossly = make_series()
    for dataset in grossly:
        dataset.RescaleIntercept = "1024"
    assert refusal(save(grossly, tmp_path / "b")).code == "E-HU-RANGE"


@pytest.mark.parametrize(("intercept", "warns"), [(-1024, False), (-724, True), (-874, True)])
def test_shifted_air_is_warned_of_though_padding_is_lower(tmp_path: Path, intercept: int, warns: bool) -> None:
    series = make_series()
    for dataset in series:
        stored = dataset.pixel_array.copy()
        stored[:8] = 24  # air at -1000 HU
        stored[0] = 0  # declared padding
        dataset.PixelData = stored.tobytes()
        dataset.PixelPaddingValue = 0
        dataset.RescaleIntercept = str(intercept)
    volume = read_series(save(series, tmp_path / "s"))
    assert volume.hu.min() == -1024 and ("W-HU" in codes(volume)) == warns


WRONG_RESCALES = [("0.5", "-1024"), ("2", "-1024"), ("1", "-2048"), ("1", "-1424"), ("1.7", "-1700")]


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-1024"), *WRONG_RESCALES])
def test_a_scale_that_cannot_be_hu_is_told(tmp_path: Path, phantom_dir: Path, slope: str, intercept: str) -> None:
    for file in phantom_dir.iterdir():
        dataset = dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.save_as(tmp_path / file.name)
    assert ("W-HU" in codes(read_series(tmp_path))) == ((slope, intercept) != ("1", "-1024"))


def test_no_meta_information_is_read_with_a_warning(tmp_path: Path) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        folder = write_as(make_series(), tmp_path / syntax, syntax)
        for file in folder.iterdir():
            content = file.read_bytes()
            start = 144 + int.from_bytes(content[140:144], "little")
            file.write_bytes(content[start:])
        volume = read_series(folder)
        assert_exact(volume)
        assert "W-NO-META" in codes(volume)


LAYOUT_12 = PixelFormat(1, 1, 16, 12, True)


@pytest.mark.parametrize(
    ("bits", "value"), [(0x0FFF, -1), (0xFFFF, -1), (0x0800, -2048), (0x07FF, 2047), (0xF430, -3024)]
)
def test_sign_is_taken_from_bits_stored_or_as_written(bits: int, value: int) -> None:
    assert to_signed(np.array([[bits]], np.uint16), 12, LAYOUT_12)[0, 0] == value


def test_values_beyond_bits_stored_are_refused_unless_an_overlay_is_declared() -> None:
    raw, layout = np.array([[0x1388]], np.uint16), PixelFormat(1, 1, 16, 12, False)
    with pytest.raises(FrameError, match="BitsStored"):
        to_signed(raw, 12, layout)
    assert to_signed(raw, 12, layout, may_hold_overlay=True)[0, 0] == 0x388


def test_volume_is_writeable_float32_and_slices_are_contiguous(tmp_path: Path) -> None:
    volume = read_series(save(make_series(), tmp_path / "s"))
    assert volume.hu.flags.writeable and volume.hu[:, :, 3].T.flags.c_contiguous
    assert field_error_hu(volume) < 0.501


def left_justified(series: list[FileDataset], overlay: bool = False) -> list[FileDataset]:
    """The same values in the upper 12 of 16 bits, with an overlay in bit 3 where that is asked for."""
    for dataset in series:
        stored = np.frombuffer(dataset.PixelData, "<u2") << 4
        if overlay:
            stored, dataset[0x60000102] = stored | 8, DataElement(0x60000102, "US", 4)
        dataset.BitsStored, dataset.HighBit, dataset.PixelData = 12, 15, stored.tobytes()
        dataset["PixelData"].VR = "OW"
    return series


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("bits_stored", [12, 14])
def test_left_justified_values_are_refused(tmp_path: Path, bits_stored: int, overlay: bool) -> None:
    series = left_justified(make_series(), overlay)
    for dataset in series:
        dataset.BitsStored = bits_stored
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-TAG-VALUE" and "HighBit" in str(error)


@pytest.mark.parametrize("signed", [False, True])
def test_a_wrong_high_bit_alone_is_no_fault(tmp_path: Path, signed: bool) -> None:
    series = make_series(signed=signed, bits_stored=12)
    for dataset in series:
        dataset.HighBit = 15
    assert_exact(read_series(save(series, tmp_path / "s")))


@pytest.mark.parametrize("group", [0x6000, 0x6004, 0x601E])
def test_overlays_of_any_group_may_lie_in_unused_bits(tmp_path: Path, group: int) -> None:
    series = make_series(bits_stored=12)
    for dataset in series:
        dataset[group << 16 | 0x0102] = DataElement(group << 16 | 0x0102, "US", 13)
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 1 << 13).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
    assert_exact(read_series(save(series, tmp_path / "s")))


def test_float_pixels_are_refused_by_name(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.FloatPixelData = np.zeros(ROWS * COLUMNS, "<f4").tobytes()
        del dataset.PixelData
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-PIXELS" and "float pixels" in str(error)
