# SPDX-License-Identifier: Apache-2.0
"""Volume files that are not DICOM (LUNA16's .mhd, .mha, .nii, .nii.gz, .nrrd), and the one door for any input."""

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.dicom import Leniency, read_series
from lungcad.errors import InputError
from lungcad.volume import LOWEST_HU, MAX_HU, Volume, no_air

SUFFIXES = (".nii.gz", ".mhd", ".mha", ".nii", ".nrrd", ".nhdr")
HEADER_BYTES = 1 << 16
"""Of a text header; it must end within so many."""


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
    if volume_suffix(path) and not Path(path).is_dir():
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
        InputError: E-NO-DICOM (no such file), E-CORRUPT, E-NOT-CT (not one grey 3D image), E-SIZE, E-TAG-VALUE,
            E-FEW-SLICES, E-SPACING-THICK, E-HU-RANGE, E-ARCHIVE (the header points to data in another folder).
    """
    import SimpleITK as sitk

    options = Leniency.of(leniency)
    file = Path(path)
    if not file.is_file():
        raise InputError("E-NO-DICOM", f"No such file: {file.name}.", "Check the path.")
    _check_data_file(file)
    reader = sitk.ImageFileReader()
    try:
        str(file).encode()  # ITK aborts the process over a name that is not UTF-8
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        _check_header(reader, options)
        _check_length(file, reader)
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


def _check_data_file(file: Path) -> None:
    """Refuse a header whose pixels lie outside its folder: it could make us read any file."""
    if not file.name.lower().endswith((".mhd", ".nhdr")):
        return
    with file.open("rb") as opened:
        header = opened.read(HEADER_BYTES).decode("latin-1")
    for name in re.findall(r"(?im)^\s*(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", header):
        if name.upper().startswith(("LOCAL", "LIST")):
            continue
        if not (file.parent / name).resolve().is_relative_to(file.parent.resolve()):
            text = f"{file.name} takes its pixels from another folder: {Path(name).name}."
            raise InputError("E-ARCHIVE", text, "Put header and data side by side.")


def _check_length(file: Path, reader: Any) -> None:
    """Refuse a NIfTI file that ends early or is damaged; ITK would leave the rest of the volume as it happens to be."""
    if not reader.HasMetaDataKey("vox_offset"):
        return
    voxels = int(np.prod(reader.GetSize(), dtype=np.int64))
    needed = int(float(reader.GetMetaData("vox_offset"))) + int(reader.GetMetaData("bitpix")) // 8 * voxels
    held = file.stat().st_size
    if file.name.lower().endswith(".gz"):
        with gzip.open(file) as opened:  # to its end, where the checksum is
            held = sum(len(part) for part in iter(lambda: opened.read(1 << 20), b""))
    if held < needed:
        raise EOFError(f"{held} bytes (expected {needed})")


def _check_header(reader: Any, options: Leniency) -> None:
    size, spacing = reader.GetSize(), reader.GetSpacing()
    if reader.GetNumberOfComponents() != 1 or len(size) not in (3, 4) or (len(size) == 4 and size[3] != 1):
        text = f"Not one grey 3D image: size {size}, {reader.GetNumberOfComponents()} component(s)."
        raise InputError("E-NOT-CT", text, "Give a CT volume in HU.")
    if 4 * int(np.prod(size, dtype=np.int64)) > options.memory_limit_bytes:
        text = f"{' x '.join(map(str, size))} voxels exceed the limit of {options.memory_limit_bytes} bytes."
        raise InputError("E-SIZE", text, "Raise memory_limit_bytes if the data are right.")
    if not all(np.isfinite(step) and step > 0 for step in spacing):
        raise InputError("E-TAG-VALUE", f"Spacing is {spacing} (expected above 0).", "Repair the file's header.")


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
    notices = describe_grid(affine, hu.shape) + no_air(lowest)
    np.maximum(hu, np.float32(LOWEST_HU), out=hu)
    name = file.name[: len(file.name) - len(volume_suffix(file))]
    return Volume(hu=hu, affine=affine, series_uid=name, description=name, warnings=notices)
