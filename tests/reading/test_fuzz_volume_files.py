# SPDX-License-Identifier: Apache-2.0
"""Mutated volume files are read as the unmutated truth, flagged, or refused; never silently wrong.

LUNGCAD_FUZZ_VOLUMES sets the number of mutations, LUNGCAD_FUZZ_SEED the seed.
"""

import gzip
import os
import re
import resource
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungcad.dicom import Leniency
from lungcad.errors import InputError
from lungcad.reading.volume_file import read_volume, read_volume_header, volume_suffix
from lungcad.reading.voxels import read_voxels

COUNT = int(os.environ.get("LUNGCAD_FUZZ_VOLUMES", "400"))
SEED = int(os.environ.get("LUNGCAD_FUZZ_SEED", "11"))
SIZE = (24, 20, 16)
NAMES = ["a.mhd", "b.mha", "c.mha", "d.nhdr", "e.nrrd", "f.nrrd", "g.nii", "h.nii.gz"]
PACKED = {"c.mha", "f.nrrd", "h.nii.gz"}
PLACE_KEYS = re.compile(r"(Offset|ElementSpacing|TransformMatrix|space\b.*|space directions|space origin) ?[=:]")
NIFTI_PLACE = [(76, 92), (252, 328)]
NIFTI_RESCALE = (112, 120)
GZIP = b"\x1f\x8b"
MAX_SECONDS, MAX_KIB = 10.0, 1 << 20


def image() -> sitk.Image:
    values = np.random.default_rng(5).integers(-1000, 1500, SIZE[::-1], dtype=np.int16)
    made = sitk.GetImageFromArray(values)
    made.SetSpacing((0.7, 0.9, 1.25))
    made.SetOrigin((-12.5, 7.25, -103.5))
    made.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    return made


def header_end(name: str, content: bytes) -> int:
    """Bytes of the header, all of the file where the pixels lie in another."""
    if name.endswith((".nii", ".gz")):
        return 352
    mark = {".mha": b"LOCAL\n", ".nrrd": b"\n\n"}.get(Path(name).suffix)
    return content.index(mark) + len(mark) if mark else len(content)


def mutated(content: bytes, header: int, rng: np.random.Generator) -> bytes:
    """One to three small changes, two thirds of them in the header."""
    result = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, min(header, len(result)) if rng.random() < 0.67 else len(result)))
        kind = rng.integers(0, 7)
        lines = bytes(result[:header]).split(b"\n")
        if kind <= 2:
            result[at] = rng.integers(0, 256) if kind else result[at] ^ (1 << rng.integers(0, 8))
        elif kind == 3:
            result[at] = rng.choice(np.frombuffer(b"0123456789- =:\t\n", np.uint8))
        elif kind == 4:
            del result[at : at + int(rng.integers(1, 40))]
        elif kind == 5:
            result[at:at] = rng.bytes(int(rng.integers(1, 40)))
        elif len(lines) > 3:  # a line lost, or there twice
            number = int(rng.integers(0, len(lines) - 1))
            lines[number : number + 1] = [lines[number]] * int(rng.integers(0, 2) * 2)
            result[:header] = b"\n".join(lines)
        else:
            del result[at:]
        if not result:
            return b""
    return bytes(result)


def may_lie_elsewhere(name: str, before: bytes, after: bytes) -> bool:
    """Whether the mutated header states another place, which nothing could tell from a true one."""
    if name.endswith((".nii", ".gz")):
        return any(before[a:b] != after[a:b] for a, b in NIFTI_PLACE)
    old = before.decode("latin-1").split("\n")
    return any(PLACE_KEYS.match(line) and line not in old for line in after.decode("latin-1").split("\n"))


def verdict(path: Path, change: tuple[bytes, bytes], truth: np.ndarray, place: np.ndarray) -> str:
    """How one mutated file is read; ``change`` is what it was and what it is."""
    try:
        volume = read_volume(path)
        header = read_volume_header(path, volume_suffix(path))
        hu, _ = read_voxels(header, Leniency())
    except InputError as refusal:
        return refusal.code
    if any(notice.code == "W-HEADER" for notice in volume.warnings):
        return "W-HEADER"
    name, (before, after) = path.name, change
    unpacked = name.endswith(".nii") or (before[:2] != GZIP and name == "h.nii.gz")
    if unpacked and before[slice(*NIFTI_RESCALE)] != after[slice(*NIFTI_RESCALE)]:
        return "other rescale stated"
    if (name in PACKED and not unpacked) or name in ("a.mhd", "d.nhdr"):
        same = np.array_equal(hu, truth)
    else:  # nothing tells a changed byte of a plain pixel; but no other pixel may differ
        same = hu.shape == truth.shape and (hu != truth).sum() <= 60
    if not same:
        return "SILENTLY WRONG"
    elsewhere = (unpacked or name != "h.nii.gz") and may_lie_elsewhere(name, before, after)
    return "right" if elsewhere or np.allclose(header.affine, place, atol=1e-3) else "SILENTLY WRONG"


@pytest.mark.slow
def test_mutated_volume_files_are_never_silently_wrong(tmp_path: Path) -> None:
    truth = sitk.GetArrayFromImage(image()).transpose(2, 1, 0).astype(np.float32)
    for name in NAMES:
        sitk.WriteImage(image(), str(tmp_path / name), useCompression=name in PACKED)
    place = read_volume_header(tmp_path / "a.mhd", ".mhd").affine
    contents = {name: (tmp_path / name).read_bytes() for name in NAMES}
    rng, counts, slowest = np.random.default_rng(SEED), Counter[str](), 0.0
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(COUNT):
        name = NAMES[number % len(NAMES)]
        path, content = tmp_path / name, contents[name]
        inside = name == "h.nii.gz" and rng.random() < 0.5  # else its checksum catches everything
        source = gzip.decompress(content) if inside else content
        changed = mutated(source, header_end(name, content), rng)
        path.write_bytes(gzip.compress(changed, 1) if inside else changed)
        start = time.process_time()  # a busy machine is no fault
        kind = verdict(path, (source, changed), truth, place)
        slowest = max(slowest, time.process_time() - start)
        assert kind != "SILENTLY WRONG", f"mutation {number} of {name}"
        counts[kind] += 1
        path.write_bytes(content)
    print(dict(counts.most_common()), f"slowest {slowest:.2f} s")
    assert counts["E-CORRUPT"] > COUNT / 20 and counts["right"] > COUNT / 20
    assert slowest < MAX_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MAX_KIB
