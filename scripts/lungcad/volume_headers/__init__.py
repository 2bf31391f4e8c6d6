# SPDX-License-Identifier: Apache-2.0
"""What the header of a volume file says in its own words: where its voxels lie in the patient, and its pixels on disk.

ITK fills in what is missing or no number, repairs what it finds odd, and may leave pixels as memory happens to be. So
the header is read here too, by the formats' own definitions, and a file is refused where the two do not agree.
"""

from pathlib import Path

from lungcad.volume_headers.header import VolumeHeader, check_axes
from lungcad.volume_headers.nifti import read_nifti
from lungcad.volume_headers.text import read_meta_image, read_nrrd

__all__ = ["READERS", "VolumeHeader", "read_volume_header"]

READERS = {
    ".mhd": read_meta_image, ".mha": read_meta_image, ".nrrd": read_nrrd, ".nhdr": read_nrrd, ".nii": read_nifti,
    ".nii.gz": read_nifti,
}  # fmt: skip
"""By suffix in lower case."""


def read_volume_header(file: Path, suffix: str) -> VolumeHeader:
    """Read the header of a MetaImage, NRRD or NIfTI-1 file.

    Args:
        file: the volume file.
        suffix: its suffix, one of READERS.

    Raises:
        InputError: E-CORRUPT (no such header), E-TAG-MISSING (spacing or place), E-TAG-VALUE (one that is no number,
            or in a space or unit that is not known), E-GEOM-TILT (axes not at right angles), E-ARCHIVE (the pixels lie
            in another folder, which could make us read any file, or in several files).
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    header = READERS[suffix](file)
    check_axes(file, header.place)
    return header
