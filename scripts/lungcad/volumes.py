# SPDX-License-Identifier: Apache-2.0
"""Volume files that are not DICOM (LUNA16's .mhd, .mha, .nii, .nii.gz, .nrrd), and the one door for any input."""

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.dicom import Leniency, read_series
from lungcad.errors import InputError
from lungcad.volume import LOWEST_HU, MAX_HU, Volume, air_hu, no_air
from lungcad.volume_header import IMAGE_IO, check_place, check_whole, read_text_header

SUFFIXES = tuple(IMAGE_IO)


def volume_suffix(path: str | os.PathLike[str]) -> str:
    """Suffix of a volume file in lower case, empty where the name is none."""
    name = Path(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def read_volume(path: str | os.PathLike[str], series_uid: str | None = None, **leniency: Any) -> Volume:
    """Read a CT from whatever is given: a DICOM folder, file or DICOMDIR, or a volume file.

    Args:
        path: where it lies.
        series_uid: as for :func:`lungcad.dicom.read_series`; no meaning for a volume file.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        InputError: refused; ``code`` says why.
    """
    if volume_suffix(path) and not os.path.isdir(path):  # unlike Path's, it never raises
        return read_volume_file(path, **leniency)
    return read_series(path, series_uid, **leniency)


def read_volume_file(path: str | os.PathLike[str], **leniency: Any) -> Volume:
    """Read a volume file in HU through SimpleITK.

    Args:
        path: a file with one of SUFFIXES.
        **leniency: ``max_spacing_mm``, ``min_slices``, ``memory_limit_bytes`` count here.

    Returns:
        ``hu`` (X, Y, Z) float32 with Z nearest to the patient's long axis, ``affine`` index to LPS mm.

    Raises:
        InputError: E-NO-DICOM (no such file, no permission), E-CORRUPT, E-NOT-CT (not one grey 3D image), E-SIZE,
            E-TAG-MISSING and E-TAG-VALUE (its place), E-FEW-SLICES, E-SPACING-THICK, E-HU-RANGE, E-ARCHIVE (the
            header points to several files or another folder).
    """
    import SimpleITK as sitk

    options = Leniency.of(leniency)
    file = Path(path)
    if not (os.path.isfile(file) and os.access(file, os.R_OK)):
        raise InputError("E-NO-DICOM", f"No such file, or no permission: {file.name[:80]}.", "Check the path.")
    reader = sitk.ImageFileReader()
    try:
        str(file).encode()  # ITK aborts the process over a name that is not UTF-8
        header = read_text_header(file)
        reader.SetImageIO(IMAGE_IO[volume_suffix(file)])
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        _check_header(reader, options)
        check_place(file, header, reader)
        check_whole(file, header, reader)
        image = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    except UnicodeEncodeError as error:
        raise InputError("E-NO-DICOM", "A file name that is not UTF-8.", "Rename the file.") from error
    except (RuntimeError, EOFError, OSError, zlib.error) as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")[:160]
        raise InputError("E-CORRUPT", f"{file.name} cannot be read: {reason}.", "Copy the file again.") from error
    size = image.GetSize()
    image = image[:, :, :, 0] if len(size) == 4 else image
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    hu = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return _volume(file, hu, affine, options)


def _check_header(reader: Any, options: Leniency) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1 or len(size) not in (3, 4) or (len(size) == 4 and size[3] != 1):
        text = f"Not one grey 3D image: size {size}, {reader.GetNumberOfComponents()} component(s)."
        raise InputError("E-NOT-CT", text, "Give a CT volume in HU.")
    if 4 * int(np.prod(size, dtype=np.int64)) > options.memory_limit_bytes:
        text = f"{' x '.join(map(str, size))} voxels exceed the limit of {options.memory_limit_bytes} bytes."
        raise InputError("E-SIZE", text, "Raise memory_limit_bytes if the data are right.")


def _volume(file: Path, hu: np.ndarray, affine: np.ndarray, options: Leniency) -> Volume:
    from lungcad.dicom.plan import describe_grid
    from lungcad.dicom.regrid import to_axial_order

    hu, affine = to_axial_order(hu, affine)
    spacing = float(np.linalg.norm(affine[:3, 2]))
    if hu.shape[2] < options.min_slices:
        text = f"{hu.shape[2]} slice(s) (expected at least {options.min_slices})."
        raise InputError("E-FEW-SLICES", text, "Give a whole CT volume of the chest.")
    if spacing > options.max_spacing_mm + 1e-3:
        text = f"Slices are {spacing:.2f} mm apart (expected at most {options.max_spacing_mm:g} mm)."
        raise InputError("E-SPACING-THICK", text, "Choose a thinner reconstruction, or raise max_spacing_mm.")
    lowest, highest = float(hu.min()), float(hu.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)) or highest > MAX_HU:
        text = f"Not plausible for CT: values from {lowest:g} to {highest:g} (expected HU)."
        raise InputError("E-HU-RANGE", text, "Give a CT volume in HU.")
    notices = describe_grid(affine, hu.shape) + no_air(air_hu(hu[::4, ::4]))
    np.maximum(hu, np.float32(LOWEST_HU), out=hu)
    name = file.name[: len(file.name) - len(volume_suffix(file))]
    return Volume(hu=hu, affine=affine, series_uid=name, description=name, warnings=notices)
