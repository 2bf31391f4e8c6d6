# SPDX-License-Identifier: Apache-2.0
"""Volume files that are not DICOM (LUNA16's .mhd, .mha, .nii, .nii.gz, .nrrd), and the one door for any input."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.dicom import Leniency, read_series
from lungcad.errors import InputError
from lungcad.geometry import affine_of, to_world
from lungcad.reading.header import VolumeHeader
from lungcad.reading.nifti_header import read_nifti
from lungcad.reading.rules import check_axes, judged_volume
from lungcad.reading.text_header import read_meta_image, read_nrrd
from lungcad.volume import Origin, Volume

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
    check_axes(file.name, header.place)
    return header


SUFFIXES = tuple(READERS)
SAME_PLACE_MM = 0.1
"""Between what ITK makes of a header and what it says, at the corners of the volume."""
SLACK_BYTES = 1 << 20
"""That compressed data may hold besides the image."""


def volume_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix of a volume file in lower case, empty where the name is none."""
    name = Path(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def is_volume_file(path: str | os.PathLike[str]) -> bool:
    """Whether the path is read as a volume file, not as DICOM."""
    return bool(volume_suffix(path)) and not os.path.isdir(path)


def read_volume(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> Volume:
    """Read a CT from whatever is given: a DICOM folder, file or DICOMDIR, or a volume file.

    Args:
        path: where it lies.
        series_uid: SeriesInstanceUID, where a folder holds several series; no meaning for a volume file.
        acquisition: label of one acquisition, where a series holds several; no meaning for a volume file.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        InputError: refused; ``code`` says why.
    """
    if is_volume_file(path):
        volume = read_volume_file(path, **leniency)
    else:
        volume = read_series(path, series_uid, acquisition, **leniency)
    chosen = {} if acquisition is None else {"acquisition": acquisition}
    volume.origin = Origin(Path(path), {**chosen, **leniency})
    return volume


def read_volume_file(path: str | os.PathLike[str], **leniency: Any) -> Volume:
    """Read a volume file in HU through SimpleITK.

    Args:
        path: a file with one of SUFFIXES.
        **leniency: ``max_spacing_mm``, ``min_slices``, ``memory_limit_bytes`` count here.

    Returns:
        ``hu`` (X, Y, Z) float32 with Z nearest to the patient's long axis, ``affine`` index to LPS mm.

    Raises:
        InputError: E-NO-DICOM (no such file, no permission), E-CORRUPT, E-NOT-CT (not one grey 3D image), E-SIZE,
            E-TAG-MISSING and E-TAG-VALUE (its place), E-GEOM-TILT (axes not at right angles), E-FEW-SLICES,
            E-SPACING-THICK, E-HU-RANGE, E-ARCHIVE (the header points to several files or another folder).
    """
    import SimpleITK as sitk

    options = Leniency.of(leniency)
    file = Path(path)
    if not (os.path.isfile(file) and os.access(file, os.R_OK)):
        raise InputError("E-NO-DICOM", f"No such file, or no permission: {file.name[:80]}.", "Check the path.")
    reader = sitk.ImageFileReader()
    try:
        str(file).encode()  # ITK aborts the process over a name that is not UTF-8
        header = read_volume_header(file, volume_suffix(file))
        reader.SetImageIO(header.image_io)
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        _check_header(reader, options)
        affine = _place_of(reader)
        _check_place(file, header.place, affine, reader.GetSize()[:3])
        _check_whole(header, reader)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        reader.SetExtractSize([*reader.GetSize()[:3], 0][: reader.GetDimension()])  # of four axes the last has length 1
        image = reader.Execute()
    except UnicodeEncodeError as error:
        raise InputError("E-NO-DICOM", "A file name that is not UTF-8.", "Rename the file.") from error
    except (RuntimeError, EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
        reason = reason.replace(f"{file.parent}{os.sep}", "")[:160]  # folders are often named after patients
        raise InputError("E-CORRUPT", f"{file.name} cannot be read: {reason}.", "Copy the file again.") from error
    hu = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return judged_volume(hu, affine, options, file.name[: len(file.name) - len(volume_suffix(file))])


def _place_of(reader: Any) -> np.ndarray:
    """(4, 4) index to LPS mm as ITK has it."""
    axes = reader.GetDimension()
    direction = np.reshape(reader.GetDirection(), (axes, axes))[:3, :3]
    return affine_of(direction * reader.GetSpacing()[:3], reader.GetOrigin()[:3])


def _check_place(file: Path, stated: np.ndarray, place: np.ndarray, size: Sequence[int]) -> None:
    """Refuse a header of which ITK makes something else than it says."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(size) - 1)
    apart = np.linalg.norm(to_world(stated, corners) - to_world(place, corners), axis=1).max()
    if not apart < SAME_PLACE_MM:
        text = f"Two readings of the header of {file.name} lie {apart:.2f} mm apart."
        raise InputError("E-TAG-VALUE", text, "Write the file again with one spacing, origin and orientation.")


def _check_whole(header: VolumeHeader, reader: Any) -> None:
    """Refuse pixels that are damaged or end early, where ITK would give what memory happens to hold."""
    import SimpleITK as sitk

    if not header.packing and header.voxel_bytes is None:
        return  # ITK notices
    voxel_bytes = header.voxel_bytes or sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    needed = header.lead + voxel_bytes * int(np.prod(reader.GetSize(), dtype=np.int64))
    held = 0
    for length in header.unpacked():
        held += length
        if header.packing and held > needed + SLACK_BYTES:
            text = f"The compressed data hold more than the {needed} bytes of the header's image."
            raise InputError("E-SIZE", text, "Do not use this file: it is damaged or made to exhaust memory.")
    if held < needed:
        raise EOFError(f"{held} bytes (expected {needed})")


def _check_header(reader: Any, options: Leniency) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1 or len(size) not in (3, 4) or (len(size) == 4 and size[3] != 1):
        text = f"Not one grey 3D image: size {size}, {reader.GetNumberOfComponents()} component(s)."
        raise InputError("E-NOT-CT", text, "Give a CT volume in HU.")
    if 4 * int(np.prod(size, dtype=np.int64)) > options.memory_limit_bytes:
        text = f"{' x '.join(map(str, size))} voxels exceed the limit of {options.memory_limit_bytes} bytes."
        raise InputError("E-SIZE", text, "Raise memory_limit_bytes if the data are right.")
