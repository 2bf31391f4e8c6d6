# SPDX-License-Identifier: Apache-2.0
"""Pixel streams as they come: fewer bits than stored, filling bytes, undefined lengths, deflated headers that lie."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import COLUMNS, ROWS, assert_exact, gdcm_jpeg, make_series, save
from pydicom import uid
from pydicom.encaps import encapsulate

from lungcad.dicom import DicomSeriesError, list_series, read_series
from lungcad.dicom.codecs import decode_frame, to_signed
from lungcad.dicom.frames import PixelFormat


def refusal(folder: Path, **options: object) -> DicomSeriesError:
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    return caught.value


def encoded(values: np.ndarray, syntax: uid.UID, bits: int, folder: Path) -> bytes:
    """One frame as a stream of so many bits."""
    if syntax == uid.JPEG2000Lossless:
        from openjpeg.utils import encode_array

        return bytes(encode_array(values, bits_stored=bits, photometric_interpretation=2))
    dataset = make_series(1, bits_stored=bits, rows=values.shape[0], columns=values.shape[1])[0]
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == uid.JPEGLSLossless:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset = gdcm_jpeg(dataset, folder, syntax)
    from pydicom.encaps import generate_frames

    return next(generate_frames(dataset.PixelData, number_of_frames=1))


STREAMS = [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.JPEGLossless]


@pytest.mark.parametrize("syntax", STREAMS)
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_streams_of_fewer_bits_keep_their_values_though_signed(tmp_path: Path, syntax: uid.UID, bits: int) -> None:
    values = np.arange(48 * 40).reshape(48, 40) % (1 << bits)
    layout = PixelFormat(48, 40, 16, 16, True)
    kind = np.uint8 if bits == 8 and syntax == uid.JPEG2000Lossless else np.uint16
    raw, used = decode_frame(encoded(values.astype(kind), syntax, bits, tmp_path), syntax, layout)
    np.testing.assert_array_equal(to_signed(raw, used, layout), values)


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_jpeg_2000_of_fewer_bits_keeps_its_sign(tmp_path: Path, bits: int) -> None:
    values = np.arange(48 * 40).reshape(48, 40) - 960
    layout = PixelFormat(48, 40, 16, 16, True)
    stream = encoded(values.astype(np.int16), uid.JPEG2000Lossless, bits, tmp_path)
    raw, used = decode_frame(stream, uid.JPEG2000Lossless, layout)
    np.testing.assert_array_equal(to_signed(raw, used, layout), values)


@pytest.mark.parametrize("syntax", STREAMS)
@pytest.mark.parametrize("behind", [bytes(2), bytes(70), bytes(5000), b"\xff" * 90])
def test_filling_behind_the_end_mark_is_read(tmp_path: Path, syntax: uid.UID, behind: bytes) -> None:
    values = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40)
    layout = PixelFormat(48, 40, 16, 12, False)
    raw, _ = decode_frame(encoded(values, syntax, 12, tmp_path) + behind, syntax, layout)
    np.testing.assert_array_equal(raw, values)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("extra", [bytes(128), bytes(3000), b"\xff" * 512])
def test_filling_behind_the_pixels_is_read_and_noted(tmp_path: Path, syntax: uid.UID, extra: bytes) -> None:
    series = make_series()
    for dataset in series:
        dataset.PixelData += extra
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = syntax
    volume = read_series(save(series, tmp_path / "s"))
    assert_exact(volume)
    assert any(notice.startswith("N-TRAILING the pixel elements of 20") for notice in volume.warnings)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(
    "tags",
    [
        {"Columns": COLUMNS // 2}, {"Rows": ROWS // 2}, {"BitsAllocated": 8, "BitsStored": 8}, {"Columns": COLUMNS * 2},
        {"Rows": ROWS * 2}, {"BitsAllocated": 32}, {"Rows": ROWS - 7}, {"Rows": COLUMNS, "Columns": ROWS},
        {"Rows": ROWS * 2, "Columns": COLUMNS // 2}, {"Rows": ROWS // 2, "Columns": COLUMNS * 2},
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_their_pixels_are_refused(
    tmp_path: Path, syntax: uid.UID, tags: dict[str, int]
) -> None:
    series = make_series()
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = syntax
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
    assert refusal(save(series, tmp_path / "s")).code == "E-PIXELS"


def undefined(folder: Path, delimiter: bytes) -> Path:
    """Native pixels whose element has no length, with what ends it."""
    for file in folder.iterdir():
        content = file.read_bytes()
        at = content.rindex(b"\xe0\x7f\x10\x00OW") + 8
        file.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :] + delimiter)
    return folder


def test_native_pixels_of_undefined_length_are_read(tmp_path: Path) -> None:
    folder = undefined(save(make_series(), tmp_path / "s"), b"\xfe\xff\xdd\xe0" + bytes(4))
    assert_exact(read_series(folder))
    assert list_series(folder)[0].usable


def test_native_pixels_of_undefined_length_without_an_end_are_refused(tmp_path: Path) -> None:
    error = refusal(undefined(save(make_series(), tmp_path / "s"), b""))
    assert error.code == "E-PIXELS" and "undefined length" in str(error)


def rewritten(file: Path, change: object) -> None:
    """Change the inflated body of a deflated file."""
    content = file.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    body = change(zlib.decompress(content[start:], -15))  # type: ignore[operator]
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    file.write_bytes(content[:start] + engine.compress(body) + engine.flush())


@pytest.mark.parametrize(
    "change",
    [lambda body: body[:-7], lambda body: body + b"\x01\x02", lambda body: body[:-500] + b"\x05" + body[-500:]],
    ids=["shorter", "longer", "inserted"],
)
def test_deflated_bodies_of_another_length_are_refused(tmp_path: Path, change: object) -> None:
    series = make_series()
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    folder = save(series, tmp_path / "s")
    rewritten(folder / "IM004.dcm", change)
    assert refusal(folder).code == "E-PIXELS"


def test_a_header_that_inflates_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    series = make_series()
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    folder = save(series, tmp_path / "s")
    element = b"\x08\x00\x3e\x10UT\0\0" + (1 << 30).to_bytes(4, "little")
    file = folder / "IM004.dcm"
    content = file.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    with file.open("wb") as out:
        out.write(content[:start] + engine.compress(element))
        for _ in range(100):
            out.write(engine.compress(bytes(1 << 20)))
        out.write(engine.flush())
    tracemalloc.start()
    assert refusal(folder).code in ("E-SIZE", "E-CORRUPT")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def test_damaged_rle_is_told_in_one_line(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.compress(uid.RLELossless, generate_instance_uid=False)
    series[4].PixelData = encapsulate([bytes([2, 0, 0, 0, 64, 0, 0, 0, 80, 0, 0, 0]) + bytes(900)])
    series[4]["PixelData"].is_undefined_length = True
    error = refusal(save(series, tmp_path / "s"))
    assert error.code == "E-PIXELS" and str(error).isprintable()


def test_a_few_bytes_of_rle_cannot_claim_a_large_image(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.Rows = dataset.Columns = 8000
        dataset.PixelData = encapsulate([bytes(64)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = uid.RLELossless
    assert "RLE cannot hold" in str(refusal(save(series, tmp_path / "s")))


def test_ultra_high_resolution_fits_the_default_limit(tmp_path: Path) -> None:
    series = make_series(1100, step_mm=0.25)
    for dataset in series:
        dataset.Rows = dataset.Columns = 1024
        dataset.PixelData = bytes(64)
        dataset["PixelData"].VR = "OW"
    (summary,) = list_series(save(series, tmp_path / "s"))
    assert summary.usable and summary.matrix == (1024, 1024) and summary.slices == 1100


@pytest.mark.parametrize(
    ("value", "limit", "warns"), [(0, None, True), (-2000, -600, True), (-2000, None, False), (-3024, -2000, False)]
)
def test_padding_declared_over_tissue_is_told(tmp_path: Path, value: int, limit: int | None, warns: bool) -> None:
    series = make_series(signed=True, intercept=0.0)
    for dataset in series:
        pixels = dataset.pixel_array.copy()
        pixels[:4], pixels[4:8] = 0, -2000
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.add_new("PixelPaddingValue", "SS", value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", "SS", limit)
    notices = read_series(save(series, tmp_path / "s")).warnings
    assert any(notice.startswith("W-PADDING") for notice in notices) == warns


def test_missing_intercept_is_read_as_hu_on_request(tmp_path: Path) -> None:
    series = make_series(signed=True, intercept=0.0)
    for dataset in series:
        del dataset.RescaleIntercept
    folder = save(series, tmp_path / "s")
    error = refusal(folder)
    assert error.code == "E-TAG-MISSING" and "--leniency \"{'assume_hu': True}\"" in str(error)
    assert_exact(read_series(folder, assume_hu=True))
