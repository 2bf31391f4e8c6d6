# SPDX-License-Identifier: Apache-2.0
"""Inputs made, or claiming, to be too large are refused from their headers."""

import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from dicom_phantom import assert_exact, make_series, save
from pydicom import uid
from pydicom.encaps import encapsulate

from lungcad.dicom import DicomSeriesError, read_series
from lungcad.dicom.inflate import inflate


def refused_as(folder: Path, **options: object) -> str:
    """Code of the refusal; no more than 100 MB may be used on the way."""
    tracemalloc.start()
    with pytest.raises(DicomSeriesError) as caught:
        read_series(folder, **options)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    return caught.value.code


def test_size_is_refused_before_decoding(tmp_path: Path) -> None:
    folder = save(make_series(), tmp_path / "s")
    assert refused_as(folder, memory_limit_bytes=4 * 20 * 40 * 48 - 1) == "E-SIZE"
    assert_exact(read_series(folder, memory_limit_bytes=4 * 20 * 40 * 48))


@pytest.mark.parametrize("one", [slice(None), slice(3, 4)])
def test_rle_claiming_huge_dimensions_is_refused(tmp_path: Path, one: slice) -> None:
    series = make_series()
    for dataset in series[one]:
        dataset.Rows = dataset.Columns = 65535
        dataset.PixelData = encapsulate([bytes(64)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = uid.RLELossless
    assert refused_as(save(series, tmp_path / "s")) == "E-SIZE"


def test_no_frames_by_its_own_word_is_one_image(tmp_path: Path) -> None:
    series = make_series()
    for dataset in series:
        dataset.NumberOfFrames = 0
    folder = save(series, tmp_path / "s")
    assert refused_as(folder, memory_limit_bytes=4 * 20 * 40 * 48 - 1) == "E-SIZE"
    assert_exact(read_series(folder))


def test_number_of_frames_beyond_reason_is_refused(tmp_path: Path) -> None:
    series = make_series()
    series[0].NumberOfFrames = 2**31 - 1
    assert refused_as(save(series, tmp_path / "s")) == "E-SIZE"


@pytest.mark.parametrize("honest_length", [True, False])
def test_deflated_bomb_is_refused(tmp_path: Path, honest_length: bool) -> None:
    folder = save(make_series(), tmp_path / "s")
    file = folder / "IM003.dcm"
    content = file.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    body, bomb_bytes = bytearray(content[start:]), 300_000_000
    pixels = body.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    if honest_length:
        body[pixels : pixels + 4] = bomb_bytes.to_bytes(4, "little")
    meta = content[:start].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = meta[:140] + (int.from_bytes(meta[140:144], "little") + 2).to_bytes(4, "little") + meta[144:]
    at = meta.index(b"1.2.840.10008.1.2.1.99")
    meta = meta[: at - 2] + (22).to_bytes(2, "little") + meta[at:]
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    with file.open("wb") as out:
        out.write(meta + engine.compress(bytes(body)))
        for _ in range(bomb_bytes // 10_000_000):
            out.write(engine.compress(bytes(10_000_000)))
        out.write(engine.flush())
    assert refused_as(folder) == "E-SIZE"
    if honest_length:
        assert refused_as(file) == "E-SIZE"  # told from the header, before anything else


def test_inflate_stops_at_its_limit() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    stream = engine.compress(bytes(5_000_000)) + engine.flush()
    assert inflate(BytesIO(stream), 1000) == (bytes(1000), False)
    whole, ended = inflate(BytesIO(stream), 6_000_000)
    assert len(whole) == 5_000_000 and ended
    assert not inflate(BytesIO(stream[:-50]), 6_000_000)[1]
