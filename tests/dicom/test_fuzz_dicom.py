# SPDX-License-Identifier: Apache-2.0
"""Mutated series against the unmutated truth: read alike, read with a warning, or refused with a code.

LUNGCAD_FUZZ_COUNT sets the number of mutations, LUNGCAD_FUZZ_SEED the first seed. Changes that no reader can see are
not counted: values off by less than 20 HU on average over every slice (25 in JPEG lossless, 45 in JPEG 2000, whose
streams carry no check), a slice removed at an end without a trace, and a multi-frame object that states another grid or
rescale for all its frames.
"""

import os
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import gdcm_jpeg, save
from enhanced_phantom import enhanced
from pydicom import uid
from pydicom.encaps import encapsulate

from lungcad.dicom import list_series, read_series
from lungcad.errors import InputError
from lungcad.phantom import make_phantom, write_series
from lungcad.volume import Volume

COUNT = int(os.environ.get("LUNGCAD_FUZZ_COUNT", "400"))
SEED = int(os.environ.get("LUNGCAD_FUZZ_SEED", "0"))
SLICES = slice(28, 50)
SMALL_HU, MOST_SECONDS, MOST_BYTES = 20.0, 10.0, 1 << 30
SMALL_HU_WITHOUT_CHECK = {"j2k": 45.0, "jpeg": 25.0}
"""By base, where a stream carries no check of its contents."""
Rng = np.random.Generator

BASES = {
    "explicit": uid.ExplicitVRLittleEndian, "implicit": uid.ImplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian, "rle": uid.RLELossless, "jpegls": uid.JPEGLSLossless,
    "j2k": uid.JPEG2000Lossless, "jpeg": uid.JPEGLosslessSV1, "enhanced": uid.ExplicitVRLittleEndian,
}  # fmt: skip


def make_base(folder: Path, syntax: uid.UID) -> Path:
    """A chest of 22 slices of 64 x 64 pixels in an encoding; in one multi-frame object in a folder ``enhanced``."""
    hu, affine, _ = make_phantom(shape=(64, 64, 96), spacing_mm=(5.0, 5.0, 2.5))
    affine[2, 3] += affine[2, 2] * SLICES.start
    for file in write_series(folder, hu[:, :, SLICES], affine):
        dataset = pydicom.dcmread(file)
        if syntax == uid.JPEG2000Lossless:
            from openjpeg.utils import encode_array

            stream = encode_array(dataset.pixel_array, bits_stored=12, photometric_interpretation=2)
            dataset.PixelData = encapsulate([bytes(stream)])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.file_meta.TransferSyntaxUID = syntax
        elif syntax == uid.JPEGLosslessSV1:
            dataset = gdcm_jpeg(dataset, folder.parent, syntax)
        elif syntax.is_compressed and syntax != uid.DeflatedExplicitVRLittleEndian:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        implicit = syntax == uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(file, dataset, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    if folder.name == "enhanced":
        slices = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
        shutil.rmtree(folder)
        save([enhanced(slices)], folder)
    return folder


def flip_bytes(content: bytearray, rng: Rng) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    return content


def flip_header(content: bytearray, rng: Rng) -> bytearray:
    for _ in range(int(rng.integers(1, 4))):
        content[int(rng.integers(132, min(1400, len(content))))] ^= 1 << int(rng.integers(8))
    return content


def cut(content: bytearray, rng: Rng) -> bytearray:
    return content[: int(rng.integers(len(content)))]


def insert(content: bytearray, rng: Rng) -> bytearray:
    at = int(rng.integers(len(content)))
    return content[:at] + bytearray(rng.bytes(int(rng.integers(1, 5)))) + content[at:]


def remove(content: bytearray, rng: Rng) -> bytearray:
    at = int(rng.integers(len(content)))
    return content[:at] + content[at + int(rng.integers(1, 5)) :]


def zero_block(content: bytearray, rng: Rng) -> bytearray:
    begin, end = np.sort(rng.integers(len(content), size=2))
    content[begin:end] = bytes(int(end - begin))
    return content


def random_block(content: bytearray, rng: Rng) -> bytearray:
    begin = int(rng.integers(len(content)))
    end = min(begin + int(rng.integers(1, 2048)), len(content))
    content[begin:end] = rng.bytes(end - begin)
    return content


def zero_tail(content: bytearray, rng: Rng) -> bytearray:
    begin = int(rng.integers(len(content)))
    content[begin:] = bytes(len(content) - begin)
    return content


def empty(content: bytearray, rng: Rng) -> bytearray:
    return bytearray()


def overwrite_start(content: bytearray, rng: Rng) -> bytearray:
    length = int(rng.integers(132, 1000))
    content[:length] = rng.bytes(length)
    return content


BYTES: list[Callable[[bytearray, Rng], bytearray]] = [
    flip_bytes, flip_header, cut, insert, remove, zero_block, random_block, zero_tail, empty, overwrite_start,
]  # fmt: skip
TAGS: dict[str, list[object]] = {
    "PatientID": ["OTHER", ""], "PatientName": ["Other^One"], "PatientBirthDate": ["19700101"],
    "StudyInstanceUID": ["1.2.3.4"], "SeriesInstanceUID": ["1.2.3.4", ""], "FrameOfReferenceUID": ["1.2.3.5", ""],
    "SOPInstanceUID": ["1.2.3.6"], "SOPClassUID": ["1.2.3.7", uid.MRImageStorage], "Modality": ["MR", "", "OT"],
    "ImageType": [["DERIVED", "SECONDARY", "MPR"], ["DERIVED", "PRIMARY", "MIP"], ["ORIGINAL", "PRIMARY", "LOCALIZER"]],
    "ImagePositionPatient": [[0, 0, 0], [1e9, 0, 0], None],
    "ImageOrientationPatient": [[1, 0, 0, 0, 0, -1], [0] * 6, None],
    "PixelSpacing": [[1, 1], [0, 0], [1e-4, 1e-4], None], "Rows": [32, 128, 65535, 0], "Columns": [32, 128, 65535, 0],
    "BitsAllocated": [8, 32, 64], "BitsStored": [8, 16, 1], "PixelRepresentation": [1, 7], "SamplesPerPixel": [3],
    "RescaleIntercept": ["-24", "-1124", "0", None], "RescaleSlope": ["2", "0.5", "0", None],
    "NumberOfFrames": [2, 2**31 - 1],
    "PhotometricInterpretation": ["MONOCHROME1", "RGB"], "PixelPaddingValue": [0, 1000], "InstanceNumber": [99],
    "AcquisitionNumber": [2, None], "SpecificCharacterSet": ["nonsense"], "RescaleType": ["US"],
}  # fmt: skip


def mutate(folder: Path, rng: Rng) -> str:
    """Change one file of a folder, or the set of its files; says how."""
    files = sorted(folder.iterdir())
    file = files[int(rng.integers(len(files)))] if rng.random() < 0.8 else files[int(rng.choice([0, -1]))]
    kind = rng.random()
    if kind < 0.6:
        change = BYTES[int(rng.integers(len(BYTES)))]
        file.write_bytes(bytes(change(bytearray(file.read_bytes()), rng)))
        return change.__name__
    if kind < 0.9:
        keyword = str(rng.choice(list(TAGS)))
        value = TAGS[keyword][int(rng.integers(len(TAGS[keyword])))]
        dataset = pydicom.dcmread(file)
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        elif keyword == "PixelPaddingValue":
            dataset.add_new(keyword, "US", value)
        else:
            setattr(dataset, keyword, value)
        pydicom.dcmwrite(file, dataset)
        return f"{keyword}={value}"
    other = files[int(rng.integers(len(files)))]
    if kind < 0.94:  # the pixels of another slice
        first, second = pydicom.dcmread(file), pydicom.dcmread(other)
        first["PixelData"] = second["PixelData"]
        pydicom.dcmwrite(file, first)
        return "pixels of another slice" if file != other else "nothing"
    if kind < 0.97:
        file.unlink()
        return "removed at an end" if file in (files[0], files[-1]) else "removed"
    shutil.copy(file, folder / f"copy{file.name}")
    return "copied"


def states_another_grid(truth: Volume, volume: Volume, folder: Path) -> bool:
    """Whether a single multi-frame object states other spacing or rescale for all frames: nothing contradicts it."""
    files = list(folder.iterdir())
    if len(files) != 1:
        return False
    shared = pydicom.dcmread(files[0], stop_before_pixels=True).SharedFunctionalGroupsSequence[0]
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    rescale = shared.PixelValueTransformationSequence[0]
    return (
        not np.allclose(spacing[::-1], truth.spacing_mm[:2])
        or not np.allclose(volume.affine[:3, :3], truth.affine[:3, :3], atol=1e-3)
        or (float(rescale.get("RescaleSlope", 1)), float(rescale.get("RescaleIntercept", 0))) != (1.0, -1024.0)
    )


def verdict(truth: Volume, folder: Path, how: str, small_hu: float = SMALL_HU) -> str:
    """What came of a mutated folder: equal | told | refused | small, or what is wrong."""
    try:
        list_series(folder)
        volume = read_series(folder)
    except InputError:
        return "refused"
    except Exception as error:
        return f"crash {type(error).__name__}"
    known = {notice.code for notice in truth.warnings}
    if any(notice.code.startswith("W-") and notice.code not in known for notice in volume.warnings):
        return "told"
    if volume.hu.shape != truth.hu.shape:
        return "undetectable" if how.startswith("removed at an end") else "silently another shape"
    if states_another_grid(truth, volume, folder):
        return "undetectable"
    if not np.allclose(volume.affine, truth.affine, atol=1e-3):
        return "silently another place"
    apart = np.abs(volume.hu - truth.hu).mean(axis=(0, 1)).max()
    return "equal" if apart == 0 else "small" if apart < small_hu else f"silently other values, {apart:.0f} HU"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_series_are_equal_told_or_refused(tmp_path: Path) -> None:
    bases = {name: make_base(tmp_path / name, syntax) for name, syntax in BASES.items()}
    truths = {name: read_series(folder) for name, folder in bases.items()}
    for truth in truths.values():
        np.testing.assert_array_equal(truth.hu, truths["explicit"].hu)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(SEED, SEED + COUNT):
        rng = np.random.default_rng(seed)
        name = str(rng.choice(list(bases)))
        folder = tmp_path / "mutated"
        shutil.copytree(bases[name], folder)
        how = mutate(folder, rng)
        start = time.process_time()  # of all threads; a busy machine is no fault
        outcome = verdict(truths[name], folder, how, SMALL_HU_WITHOUT_CHECK.get(name, SMALL_HU))
        if time.process_time() - start > MOST_SECONDS:
            outcome = "slow"
        outcomes[outcome] += 1
        if outcome not in ("equal", "told", "refused", "small", "undetectable"):
            wrong.append(f"seed {seed} {name} {how}: {outcome}")
        shutil.rmtree(folder)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(dict(outcomes), f"{most >> 20} MiB", *wrong, sep="\n")
    assert not wrong, wrong[:20]
    assert most < MOST_BYTES or "torch" in sys.modules
