# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz files: written whole, and mapped instead of read: all processes share them in the page cache.

``numpy.load`` maps .npy files only; an uncompressed .npz holds .npy files one after the other.
"""

import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.atomic import whole_file
from lungcad.errors import InputError

LOCAL_HEADER = 30
"""Bytes of a zip's header before each file, without the file's name and extra field."""


@dataclass(frozen=True)
class MappedArray:
    """Array in a file, mapped anew at each access, so that thousands of them hold no memory and no open file.

    Attributes:
        path: the file.
        offset: first byte of the array.
        dtype: type of its elements.
        shape: shape of the array.
        fortran: whether the first axis is contiguous.
        stamp: size and time of change of the file when it was opened.
    """

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    stamp: tuple[int, int]

    def __call__(self) -> np.ndarray:
        """Map the array; changes of it stay in this process.

        Raises:
            InputError: E-CONFIG, the file was changed since it was opened.
        """
        if _stamp(self.path) != self.stamp:
            text = f"case {self.path.stem} was changed while it was in use."
            raise InputError("E-CONFIG", text, "Make cases in another folder, and start again.")
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        return np.asarray(np.memmap(self.path, self.dtype, "c", self.offset, self.shape, "F" if self.fortran else "C"))


def save_arrays(path: Path, arrays: Mapping[str, Any], compressed: bool = False) -> Path:
    """Write arrays by name to an .npz file, completely or not at all, and return its path.

    :func:`map_arrays` maps the arrays of a file that is not compressed.
    """
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    with whole_file(path) as part, part.open("wb") as stream:
        save(stream, **arrays)
    return path


def map_arrays(path: Path) -> dict[str, MappedArray]:
    """Arrays of an .npz file by name, without the compressed ones.

    Args:
        path: file that ``numpy.savez`` wrote.
    """
    arrays, stamp = {}, _stamp(path)
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        for member in archive.infolist():
            if member.compress_type == zipfile.ZIP_STORED:
                stream.seek(member.header_offset)
                name, extra = struct.unpack("<HH", stream.read(LOCAL_HEADER)[26:30])
                stream.seek(member.header_offset + LOCAL_HEADER + name + extra)
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(stream)
                arrays[member.filename.removesuffix(".npy")] = MappedArray(
                    path, stream.tell(), dtype, shape, fortran, stamp
                )
    return arrays


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
