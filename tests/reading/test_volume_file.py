# SPDX-License-Identifier: Apache-2.0
"""Volume files that are not DICOM."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import field_error_hu, field_hu
from scipy.spatial.transform import Rotation

from lungcad.errors import InputError
from lungcad.reading.volume_file import read_volume


def write(
    path: Path, size: tuple[int, int, int] = (30, 36, 20), direction: np.ndarray | None = None, compressed: bool = False
) -> Path:
    """A file whose voxels are the phantom's field at their places."""
    axes = np.eye(3) if direction is None else direction
    spacing, center = np.array([0.7, 0.9, 1.25]), np.array([0.0, 0.0, -100.0])
    origin = center - axes @ (spacing * (np.array(size) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    hu = field_hu(origin + (index * spacing) @ axes.T).astype(np.float32)
    image = sitk.GetImageFromArray(hu.transpose(2, 1, 0))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(axes.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def refused_as(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_volume(path, **options)  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nii", "a.nii.gz", "a.nrrd"])
def test_formats_are_exact(tmp_path: Path, name: str) -> None:
    volume = read_volume(write(tmp_path / name))
    assert volume.hu.shape == (30, 36, 20) and field_error_hu(volume) < 0.01
    assert volume.series_uid == "a" and volume.sop_instance_uids == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_any_storage_order_is_exact_with_z_up(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    direction = np.eye(3)[:, order] * signs
    if np.linalg.det(direction) < 0:
        direction[:, 0] *= -1
    volume = read_volume(write(tmp_path / "a.nii.gz", direction=direction))
    assert field_error_hu(volume) < 0.01
    nearest = np.abs(volume.affine[:3, :3]).argmax(axis=0)
    assert list(nearest) == [0, 1, 2] and volume.affine[2, 2] > 0


def test_padding_is_clipped(tmp_path: Path) -> None:
    image = sitk.ReadImage(str(write(tmp_path / "a.mha")))
    image[0, 0, 0] = -3024.0
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert read_volume(tmp_path / "a.mha").hu[0, 0, 0] == -1024


def test_refusals(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mhd")
    assert refused_as(tmp_path / "missing.nii") == "E-NO-DICOM"
    assert refused_as(path, memory_limit_bytes=1000) == "E-SIZE"
    assert refused_as(path, max_spacing_mm=1.0) == "E-SPACING-THICK"
    assert refused_as(path, min_slices=21) == "E-FEW-SLICES"
    assert refused_as(path, nonsense=1) == "E-CONFIG"
    (tmp_path / "text.nii").write_text("no image")
    assert refused_as(tmp_path / "text.nii") == "E-CORRUPT"
    (tmp_path / "a.raw").write_bytes(b"\0" * 100)
    assert refused_as(path) == "E-CORRUPT"


@pytest.mark.parametrize("place", ["../a.raw", "LIST\na.raw", "a%03d.raw 1 20 1", "a.raw\0"])
@pytest.mark.parametrize(("name", "key"), [("a.mhd", "ElementDataFile = "), ("a.nhdr", "data file: ")])
def test_pixels_elsewhere_or_in_several_files_are_refused(tmp_path: Path, name: str, key: str, place: str) -> None:
    path = write(tmp_path / name)
    attached = path.with_suffix({".mhd": ".mha", ".nhdr": ".nrrd"}[path.suffix])  # may point elsewhere all the same
    for file in (path, attached):
        file.write_text(path.read_text().replace(f"{key}a.raw", f"{key}{place}"))
        assert refused_as(file) == "E-ARCHIVE"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.mhd", "ElementDataFile = a.raw", "elementdatafile = a.raw\nElementDataFile = ../a.raw"),
        ("a.nhdr", "data file: a.raw", "datafile:=a.raw\ndata file: ../a.raw"),
    ],
)
def test_the_check_looks_where_itk_looks(tmp_path: Path, name: str, old: str, new: str) -> None:
    (tmp_path / "s").mkdir()
    path = edited(write(tmp_path / "s" / name), old, new)
    (tmp_path / "a.raw").write_bytes((tmp_path / "s" / "a.raw").read_bytes())
    assert refused_as(path) == "E-ARCHIVE"


def test_no_folder_is_named_in_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "Doe_Jane").mkdir()
    for name, data in (("a.mhd", "a.zraw"), ("a.mhd", "a.raw"), ("a.nii", "")):
        path = write(tmp_path / "Doe_Jane" / name, compressed=data == "a.zraw")
        if data:
            (path.parent / data).unlink()
        else:
            path.write_bytes(path.read_bytes()[:340] + b"nonsense" + path.read_bytes()[348:])
        with pytest.raises(InputError, match="E-CORRUPT") as caught:
            read_volume(path)
        assert "Doe" not in str(caught.value)


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text("NRRD0004\n" + "# words\n" * 200_000)
    assert refused_as(tmp_path / "a.nrrd") == "E-CORRUPT"


def test_each_suffix_has_its_reader(tmp_path: Path) -> None:
    write(tmp_path / "a.nrrd").rename(tmp_path / "a.mha")
    assert refused_as(tmp_path / "a.mha") == "E-CORRUPT"


def edited(path: Path, old: str, new: str) -> Path:
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    return path


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.mhd", "ElementSpacing", "elementspacing"),  # no field to ITK, which would assume 1 mm
        ("a.mha", "Offset", "Comment"),
        ("a.nhdr", "space: left-posterior-superior", "space dimension: 3"),
        ("a.nrrd", "space directions:", "# space directions:"),
        ("a.nrrd", "space origin: ", "space origin:="),  # a key/value pair, no field
    ],
)
def test_a_place_that_is_not_stated_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert refused_as(edited(write(tmp_path / name), old, new)) == "E-TAG-MISSING"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.mhd", "Offset = ", "Offset = nan "),
        ("a.mhd", "Offset = ", "Comment = "),
        ("a.mhd", "TransformMatrix = 1", "TransformMatrix = one"),
        ("a.mhd", "TransformMatrix = 1", "TransformMatrix = 2"),
        ("a.mha", "ElementSpacing = 0", "ElementSpacing = x0"),
        ("a.mha", "ElementSpacing = 0", "ElementSpacing = 9 0"),
        ("a.mha", "ElementSpacing = 0", "ElementSpacing = -0"),
        ("a.nrrd", "space: left-posterior-superior", "space: scanner-xyz"),
        ("a.nrrd", "kinds: domain domain domain", 'space units: "cm" "cm" "cm"'),
        ("a.nrrd", "space directions: (0.69999999999999996,0,0)", "space directions: none"),
        ("a.nrrd", "space directions: (0.69999999999999996,0,0)", "space directions: (nan,nan,nan)"),
        ("a.nrrd", "space directions: (0.69999999999999996,0,0)", "space directions: (0,0,0)"),
    ],
)
def test_a_place_that_itk_would_guess_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    path = edited(write(tmp_path / name), old, new)
    if new == "Comment = ":
        edited(path, "AnatomicalOrientation = RAI", "Offset = 1 2")
    assert refused_as(path) == "E-TAG-VALUE"


def nifti(path: Path, at: int, content: bytes, compressed: bool = False) -> Path:
    """A NIfTI file with some bytes of its header changed: 80 pixdim, 108 vox_offset, 252 the codes, 268 qoffset."""
    whole = bytearray(write(path).read_bytes())
    whole[at : at + len(content)] = content
    path.write_bytes(gzip.compress(whole) if compressed else whole)
    return path


@pytest.mark.parametrize(
    ("at", "values", "code"),
    [
        (252, np.zeros(2, "<i2"), "E-TAG-MISSING"),
        (80, np.array([1, 1], "<f4"), "E-TAG-VALUE"),  # against the sform
        (80, np.array([0], "<f4"), "E-TAG-VALUE"),
        (80, np.array([np.nan], "<f4"), "E-TAG-VALUE"),
        (108, np.array([0], "<f4"), "E-TAG-VALUE"),
        (108, np.array([np.inf], "<f4"), "E-TAG-VALUE"),
        (268, np.array([np.nan], "<f4"), "E-TAG-VALUE"),
        (268, np.array([3], "<f4"), "E-TAG-VALUE"),  # the qform elsewhere than the sform
        (280, np.array([-0.7, 0, 0.3], "<f4"), "E-TAG-VALUE"),  # the sform sheared
        (344, np.frombuffer(b"ni1\0", "<i4"), "E-CORRUPT"),  # the pixels are said to be in another file
    ],
)
def test_a_nifti_header_that_niftilib_would_repair_is_refused(
    tmp_path: Path, at: int, values: np.ndarray, code: str
) -> None:
    assert refused_as(nifti(tmp_path / "a.nii", at, values.tobytes())) == code
    assert refused_as(nifti(tmp_path / "a.nii", at, values.tobytes(), compressed=True)) == code


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (0, 2), (2, 0), (1, 2), (1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("degrees", [0, 37])
def test_either_form_of_nifti_places_it(
    tmp_path: Path, codes: tuple[int, int], order: tuple[int, ...], degrees: float
) -> None:
    turn = Rotation.from_euler("xz", [degrees / 3, degrees], degrees=True).as_matrix()
    path = write(tmp_path / "a.nii", direction=turn[:, order])  # (1, 0, 2) is mirrored: the third axis is turned
    content = bytearray(path.read_bytes())
    content[252:256] = np.array(codes, "<i2").tobytes()
    path.write_bytes(content)
    assert field_error_hu(read_volume(path)) < 0.02


def test_axes_off_right_angles_are_refused(tmp_path: Path) -> None:
    path = edited(write(tmp_path / "a.nrrd"), ",0) (0,0,1.25)", ",0) (0,0.05,1.25)")
    assert refused_as(path) == "E-GEOM-TILT"


@pytest.mark.parametrize("name", ["Müller.mhd", "list.mhd", "LUNA 1.MHD"])
@pytest.mark.parametrize("compressed", [False, True])
def test_names_of_any_kind(tmp_path: Path, name: str, compressed: bool) -> None:
    write(tmp_path / "a.mha", compressed=compressed)
    lower = (tmp_path / name).with_suffix(".mhd")  # ITK writes no other
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.mha")), str(lower), useCompression=compressed)
    lower.rename(tmp_path / name)
    assert field_error_hu(read_volume(tmp_path / name)) < 0.01


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.nrrd", "endian: little", "endian: little\nPosition:=HFS\nElementDataFile:=../x"),
        ("a.mhd", "NDims = 3", "NDims = 3\nSpace = ours\nEncoding = gzip"),
        ("a.mhd", " = ", "="),
        ("a.mhd", "\n", "\r\n"),
        ("a.nrrd", "left-posterior-superior", "LPS"),
    ],
)
def test_headers_of_other_writers(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert field_error_hu(read_volume(edited(write(tmp_path / name), old, new))) < 0.01


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz"])
def test_a_fourth_axis_of_length_one(tmp_path: Path, name: str) -> None:
    image = sitk.ReadImage(str(write(tmp_path / "b.mha")))
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / name))
    assert field_error_hu(read_volume(tmp_path / name)) < 0.01
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / name))
    assert refused_as(tmp_path / name) == "E-NOT-CT"


@pytest.mark.parametrize("value", [np.nan, 40000.0])
def test_values_that_are_no_hu_are_refused(tmp_path: Path, value: float) -> None:
    image = sitk.ReadImage(str(write(tmp_path / "a.mha")))
    image[3, 3, 3] = value
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert refused_as(tmp_path / "a.mha") == "E-HU-RANGE"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nhdr", "a.nrrd", "a.nii", "a.nii.gz"])
def test_pixels_that_end_early_are_refused(tmp_path: Path, name: str, compressed: bool) -> None:
    path = write(tmp_path / name, compressed=compressed)
    assert read_volume(path).hu.shape == (30, 36, 20)
    data = next((file for file in tmp_path.iterdir() if file != path), path)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert refused_as(path) == "E-CORRUPT"


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii.gz"])
def test_one_damaged_byte_in_compressed_pixels_is_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, compressed=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert refused_as(path) == "E-CORRUPT"


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii.gz"])
def test_compressed_data_that_never_end_are_not_read_to_their_end(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, compressed=True)
    if name == "a.nii.gz":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2_000_000)))
    else:
        content = path.read_bytes()
        header = content[: content.index(b"LOCAL\n") + 6] if name == "a.mha" else content[: content.index(b"\n\n") + 2]
        pack = zlib.compress if name == "a.mha" else gzip.compress
        path.write_bytes(header + pack(bytes(4 * 30 * 36 * 20 + 2_000_000)))
    assert refused_as(path) == "E-SIZE"


def test_a_compressed_nifti_that_holds_too_little_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-4]))
    assert refused_as(path) == "E-CORRUPT"


@pytest.mark.parametrize(
    "options",
    [{"correct_tilt": "maybe"}, {"max_spacing_mm": "7"}, {"max_spacing_mm": float("nan")}, {"min_slices": True}],
)
def test_leniency_takes_switches_and_numbers(tmp_path: Path, options: dict[str, object]) -> None:
    path = write(tmp_path / "a.mha")
    assert refused_as(path, **options) == "E-CONFIG"
    assert read_volume(path, allow_derived="false", max_spacing_mm=7).hu.shape == (30, 36, 20)


def test_colour_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([16, 16, 16], sitk.sitkVectorUInt8, 3), str(tmp_path / "a.nii"))
    assert refused_as(tmp_path / "a.nii") == "E-NOT-CT"


@pytest.mark.shared_data
def test_real_nifti(shared: Path) -> None:
    volume = read_volume(shared / "data" / "lungs" / "LCTSC-Test-S1-101.nii.gz")
    assert volume.spacing_mm == pytest.approx((1.0, 1.0, 1.0), abs=1e-3)
    assert volume.hu.min() >= -1024 and volume.hu.shape[2] > 100
