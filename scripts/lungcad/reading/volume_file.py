# SPDX-License-Identifier: Apache-2.0
"""Reading of volume files that are not DICOM (.mhd, .mha, .nii, .nii.gz, .nrrd), and of any input by its path."""

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.dicom import BEST, Leniency
from lungcad.dicom.neighbours import row_length
from lungcad.dicom.series import BegunSeries, begin_series
from lungcad.errors import InputError
from lungcad.printable import file_label
from lungcad.reading.header import VolumeHeader
from lungcad.reading.nifti_header import read_nifti
from lungcad.reading.rules import check_axes, judged_volume
from lungcad.reading.text_header import read_meta_image, read_nrrd
from lungcad.reading.voxels import check_size, read_voxels
from lungcad.volume import Origin, Volume

READERS = {
    ".mhd": read_meta_image, ".mha": read_meta_image, ".nrrd": read_nrrd, ".nhdr": read_nrrd, ".nii": read_nifti,
    ".nii.gz": read_nifti, ".hdr": read_nifti,
}  # fmt: skip
"""Reader of the header by suffix in lower case."""


def read_volume_header(file: Path, suffix: str) -> VolumeHeader:
    """Read the header of a MetaImage, NRRD or NIfTI-1 file.

    Args:
        file: the volume file.
        suffix: its suffix, one of READERS.

    Raises:
        InputError: E-CORRUPT (no such header), E-TAG-MISSING (spacing, place or type of the pixels), E-TAG-VALUE (one
            that is no number, stated twice, or in a space or unit that is not known), E-NOT-CT (not one grey 3D image),
            E-GEOM-TILT (axes not at right angles), E-ARCHIVE (the pixels lie in another folder, which could make us
            read any file, or in several files).
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    header = READERS[suffix](file)
    check_axes(file_label(file.name), header.affine)
    return header


SUFFIXES = tuple(READERS)


def volume_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix of a volume file in lower case; empty for other files."""
    name = Path(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def is_volume_file(path: str | os.PathLike[str]) -> bool:
    """Whether the path is read as a volume file, not as DICOM."""
    return bool(volume_suffix(path)) and not os.path.isdir(path)


def read_volume(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> Volume:
    """Read a CT from a DICOM folder, file or DICOMDIR, or from a volume file.

    Args:
        path: folder or file.
        series_uid: SeriesInstanceUID, where a folder holds several series, or ``best``; for a volume file the name of
            its results.
        acquisition: label of one acquisition, where a series holds several; no meaning for a volume file.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        InputError: the input is refused; ``code`` says why.
    """
    return begin_volume(path, series_uid, acquisition, **leniency).decode()


def begin_volume(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> "BegunSeries | BegunFile":
    """Check the headers of a CT, and read no pixel; arguments and errors as for :func:`read_volume`."""
    if is_volume_file(path):
        return begin_volume_file(path, None if series_uid == BEST else series_uid, acquisition, **leniency)
    return begin_series(path, series_uid, acquisition, **leniency)


def published_name(name: str) -> str:
    """Name of a volume file for results: its UID, else a checksum, since files can be named after patients.

    Example:
        >>> published_name("1.3.6.1.4.1.14519.5.2.1"), published_name("Doe_Jane")
        ('1.3.6.1.4.1.14519.5.2.1', 'volume-05490c79')
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+){4,}", name) and len(name) <= 64:
        return name
    return f"volume-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


@dataclass(frozen=True)
class BegunFile:
    """Volume file whose header was checked; no voxel has been read yet.

    Attributes:
        path: path as the caller gave it.
        header: its header.
        series_uid: name of the results; None for the file's name.
        options: exceptions to the strict rules.
        chosen: options as the caller gave them.
    """

    path: Path
    header: VolumeHeader
    series_uid: str | None
    options: Leniency
    chosen: Mapping[str, Any]

    @property
    def voxels(self) -> int:
        """Number of voxels that :meth:`decode` fills."""
        return self.header.voxels

    def decode(self, out: np.ndarray | None = None) -> Volume:
        """Read the voxels, and check that they can be HU; raises InputError as :func:`begin_volume_file`.

        Args:
            out: (voxels,) float32 to read into; None for a new array.

        Returns:
            ``hu`` (X, Y, Z) float32 with Z nearest to the patient's long axis, ``affine`` index to LPS mm.
        """
        with _refusals(self.path):
            hu, left_over = read_voxels(self.header, self.options, out)
            _check_row_length(hu)
        name = self.path.name[: len(self.path.name) - len(volume_suffix(self.path))]
        notices, published = (*self.header.notices, *left_over), self.series_uid or published_name(name)
        volume = judged_volume(hu, self.header.affine, self.options, self.series_uid or name, notices, published)
        volume.origin = Origin(self.path, self.chosen)
        return volume


def _check_row_length(hu: np.ndarray) -> None:
    """Refuse voxels (X, Y, Z), in the order of the file, of which the header exchanges the axes (E-CORRUPT)."""
    x, y, z = hu.shape
    length = row_length(hu[:, :, z // 2].T)
    if length != x and length in (y, z):
        text = f"The voxels form rows of {length}, but the header states {x} x {y} x {z} voxels: exchanged axes."
        raise InputError("E-CORRUPT", text, "Repair the size in the header, or write the file again.")


def begin_volume_file(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> BegunFile:
    """Check the header of a volume file; :meth:`BegunFile.decode` then reads the voxels that it describes.

    Args:
        path: a file with one of SUFFIXES.
        series_uid: name of the results; None for the file's name, which only the results' folder shows.
        acquisition: kept among the options; a volume file has no acquisitions.
        **leniency: options ``max_spacing_mm``, ``min_slices`` and ``memory_limit_bytes``; the others have no effect.

    Raises:
        InputError: E-NO-DICOM (no such file, no permission), E-CORRUPT, E-NOT-CT (not one grey 3D image), E-SIZE,
            E-TAG-MISSING and E-TAG-VALUE (its place and pixels), E-GEOM-TILT (axes not at right angles), E-FEW-SLICES,
            E-SPACING-THICK, E-HU-RANGE, E-ARCHIVE (the header points to several files or another folder); some of them
            only when it is decoded.
    """
    options, file = Leniency.from_options(leniency), Path(path)
    if not (os.path.isfile(file) and os.access(file, os.R_OK)):
        text = f"No such file, or no permission: {file_label(file.name)}."
        raise InputError("E-NO-DICOM", text, "Check the path.")
    with _refusals(file):
        str(file).encode()  # a name that is not UTF-8 cannot name the results
        header = read_volume_header(file, volume_suffix(file))
        check_size(header, options)
    return BegunFile(file, header, series_uid, options, leniency if acquisition is None else {
        "acquisition": acquisition, **leniency})  # fmt: skip


@contextlib.contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Raise InputError for what goes wrong when a file is read: E-NO-DICOM for its name, E-CORRUPT for its bytes."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError("E-NO-DICOM", "A file name that is not UTF-8.", "Rename the file.") from error
    except (EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        text = f"{file_label(file.name)} cannot be read: {reason}."
        raise InputError("E-CORRUPT", text, "Copy the file again.") from error
