# SPDX-License-Identifier: Apache-2.0
"""Volume files that are not DICOM."""

import gzip
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import field_error_hu, field_hu
from scipy.spatial.transform import Rotation

from lungcad.dicom import Leniency
from lungcad.errors import InputError
from lungcad.reading import read
from lungcad.reading.volume_file import begin_volume_file, read_volume
from lungcad.reading.voxels import read_voxels
from lungcad.volume import Volume


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
def test_any_storage_order_is_exact_with_z_up(tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]) -> None:
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


def test_a_faulty_file_is_refused_with_its_code(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("degrees", [0.0, 0.3])
def test_the_forms_of_nifti_must_agree_at_the_corners(tmp_path: Path, degrees: float) -> None:
    path = write(tmp_path / "a.nii", size=(120, 120, 10))
    content = bytearray(path.read_bytes())
    content[264:268] = np.float32(np.cos(np.radians(degrees / 2))).tobytes()  # the qform turned about z
    path.write_bytes(content)
    if degrees:
        assert refused_as(path) == "E-TAG-VALUE"  # no step differs by 0.005 mm, a corner by 0.7 mm
    else:
        assert read_volume(path).hu.shape == (120, 120, 10)


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


def with_pixels(path: Path, values: np.ndarray, compressed: bool = False) -> Path:
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing((0.8, 0.8, 1.5))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def voxels_of(path: Path) -> np.ndarray:
    """Voxels as read, before anybody asks whether they can be HU."""
    return read_voxels(begin_volume_file(path).header, Leniency())[0]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nrrd", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_pixel_type_reads_as_itk_reads_it(tmp_path: Path, name: str, kind: str, compressed: bool) -> None:
    limits = (-100, 100) if kind[1] == "1" else (-1000, 1500)
    low = 0 if kind[0] == "u" else limits[0]
    values = np.random.default_rng(1).integers(low, limits[1], (12, 10, 9)).astype(kind)
    path = with_pixels(tmp_path / name, values, compressed)
    assert np.array_equal(voxels_of(path), np.asarray(values, np.float32))


@pytest.mark.parametrize(("old", "new"), [("endian: little", "endian: big"), ("OrderMSB = False", "OrderMSB = True")])
def test_big_endian(tmp_path: Path, old: str, new: str) -> None:
    values = np.random.default_rng(1).integers(-1000, 1500, (12, 10, 9)).astype("i2")
    path = with_pixels(tmp_path / ("a.nrrd" if "endian" in old else "a.mha"), values.byteswap())
    assert np.array_equal(read_volume(edited(path, old, new)).hu, values.astype(np.float32))


def test_a_nifti_rescale_is_applied(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 2500, (12, 10, 9)).astype("i2")
    path = with_pixels(tmp_path / "a.nii", values)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -1000], "<f4").tobytes()
    path.write_bytes(content)
    assert np.array_equal(read_volume(path).hu, (values * 0.5 - 1000).astype(np.float32))
    content[112:120] = np.array([np.nan, np.nan], "<f4").tobytes()  # as nibabel writes where there is none
    path.write_bytes(content)
    assert np.array_equal(voxels_of(path), values.astype(np.float32))
    content[112:120] = np.array([1, np.inf], "<f4").tobytes()
    path.write_bytes(content)
    assert refused_as(path) == "E-TAG-VALUE"


@pytest.mark.parametrize("size", ["1", "99999999", None])
def test_compressed_pixels_need_no_stated_length(tmp_path: Path, size: str | None) -> None:
    path = write(tmp_path / "a.mha", compressed=True)
    content = path.read_bytes()
    start = content.index(b"CompressedDataSize")
    line = content[start : content.index(b"\n", start) + 1]
    stated = b"" if size is None else f"CompressedDataSize = {size}\n".encode()
    path.write_bytes(content.replace(line, stated))
    assert field_error_hu(read_volume(path)) < 0.01


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("ElementDataFile = LOCAL", "ElementDataFile\t= ../../secret.raw\nElementDataFile = LOCAL", "E-ARCHIVE"),
        ("ElementDataFile = LOCAL", "HeaderSize = 5\nElementDataFile = LOCAL", "E-TAG-VALUE"),
        ("DimSize = 30", "DimSize = 31", "E-CORRUPT"),
        ("DimSize = 30", "DimSize = 29", "E-CORRUPT"),
        ("DimSize = 30 36 20", "DimSize = 900000 36 20", "E-CORRUPT"),
        ("DimSize = 30 36 20", "DimSize = 999999 999999 999999", "E-SIZE"),
        ("DimSize = 30", "DimSize = 1e1", "E-TAG-VALUE"),
        ("DimSize = 30", "DimSize = 99999999999999999999", "E-TAG-VALUE"),
        ("DimSize = 30 36 20", "DimSize = 30 36 20\nDimSize = 20 36 30", "E-TAG-VALUE"),
        ("ElementType = MET_FLOAT", "ElementType = MET_FLOAT_ARRAY", "E-NOT-CT"),
        ("BinaryDataByteOrderMSB = False", "BinaryDataByteOrderMSB = Folse", "E-TAG-VALUE"),
        ("BinaryData = True", "BinaryData = False", "E-TAG-VALUE"),
        ("ElementSpacing = 0", "ElementSpacing = 1e9", "E-TAG-VALUE"),
        ("Offset = -", "Offset = -9e9", "E-TAG-VALUE"),
        ("NDims = 3", "NDims = 3\nElementToIntensityFunctionSlope = 2", "E-TAG-VALUE"),
    ],
)
def test_headers_that_readers_take_differently_are_refused(tmp_path: Path, old: str, new: str, code: str) -> None:
    assert refused_as(edited(write(tmp_path / "a.mha"), old, new)) == code


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_small_file_never_expands_to_gigabytes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, compressed=True)
    content = path.read_bytes()
    content = content.replace(b"30 36 20", b"1000 1000 1000")
    path.write_bytes(content[:1300])
    assert refused_as(path) == "E-SIZE"


def test_what_a_header_leaves_open_is_said(tmp_path: Path) -> None:
    path = edited(write(tmp_path / "a.mha"), "BinaryDataByteOrderMSB = False\n", "")
    volume = read_volume(edited(path, "TransformMatrix", "Comment"))
    assert [notice.code for notice in volume.warnings if notice.code == "W-HEADER"] == ["W-HEADER"]
    assert field_error_hu(volume) < 0.01


@pytest.mark.parametrize(("end", "code"), [(b"", ""), (bytes(7), "W-HEADER"), (bytes(4 * 36 * 20), "E-CORRUPT")])
def test_bytes_behind_the_pixels(tmp_path: Path, end: bytes, code: str) -> None:
    path = write(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + end)
    if code == "E-CORRUPT":
        assert refused_as(path) == code
    else:
        volume = read_volume(path)
        assert field_error_hu(volume) < 0.01
        assert {n.code for n in volume.warnings if n.code == "W-HEADER"} == {code} - {""}


def test_pixels_at_the_end_of_a_file_of_their_own(tmp_path: Path) -> None:
    path = edited(write(tmp_path / "a.mhd"), "NDims = 3", "NDims = 3\nHeaderSize = -1")
    (tmp_path / "a.raw").write_bytes(b"words before" + (tmp_path / "a.raw").read_bytes())
    assert field_error_hu(read_volume(path)) < 0.01


def test_no_name_of_a_file_is_told_in_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "Doe_Jane.nii"
    path.write_text("no image")
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert "Doe" not in str(caught.value)


@pytest.mark.shared_data
def test_the_case_without_a_compressed_size(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "cases" / "folders.tar.xz") as archive:
        for name in ("v", "truth"):
            archive.extract(f"folders/mha_no_compressed_size/{name}.mha", tmp_path, filter="data")
    folder = tmp_path / "folders" / "mha_no_compressed_size"
    assert np.array_equal(read_volume(folder / "v.mha").hu, read_volume(folder / "truth.mha").hu)
    assert np.array_equal(
        read_volume(folder / "truth.mha").hu,
        np.maximum(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "truth.mha"))).transpose(2, 1, 0), -1024),
    )


def test_a_folder_of_volume_files_is_told_to_give_one(tmp_path: Path) -> None:
    write(tmp_path / "a.mhd")
    with pytest.raises(InputError, match=r"E-NO-DICOM.*Volume files \(\.mhd\) are read one at a time"):
        read_volume(tmp_path)


@pytest.mark.parametrize(("name", "published"), [("Doe_Jane", "volume-05490c79"), ("1.2.840.99.1", "1.2.840.99.1")])
def test_a_files_name_is_no_identity_to_publish(tmp_path: Path, name: str, published: str) -> None:
    volume = read_volume(write(tmp_path / f"{name}.mhd"))
    assert (volume.series_uid, volume.public_uid, volume.description) == (name, published, published)
    asked = read_volume(write(tmp_path / f"{name}.mhd"), series_uid="case 7")
    assert (asked.series_uid, asked.public_uid) == ("case 7", "case 7")


def test_int16_arrays_are_read(tmp_path: Path) -> None:
    values = np.full((12, 10, 9), -1000, np.int16)
    values[4:] = 40
    volume = read(values, np.diag([-1, -1, 2, 1]))
    assert volume.hu.dtype == np.float32 and np.array_equal(volume.hu, values)
    assert Volume(values, np.eye(4), "a").hu.dtype == np.float32


def test_a_pipe_for_pixels_is_not_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mhd", compressed=True)
    (tmp_path / "a.zraw").unlink()
    os.mkfifo(tmp_path / "a.zraw")
    assert refused_as(path) == "E-CORRUPT"


CHEST = np.random.default_rng(2).normal(-300, 400, (12, 10, 9)).clip(-1000, 1500)
"""Values that could be HU of a chest."""


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((12, 10, 9)), np.full((12, 10, 9), -1024), CHEST < -500, (CHEST + 1000) / 2500, CHEST / 400,
        (CHEST + 1000) / 2500 * 255, CHEST + 2024, CHEST.astype("i2").byteswap(),
    ],
    ids=["zero", "air", "mask", "0 to 1", "standardised", "8 bits", "shifted", "byte order"],
)  # fmt: skip
def test_what_cannot_be_hu_is_refused_as_in_dicom(tmp_path: Path, values: np.ndarray) -> None:
    assert refused_as(with_pixels(tmp_path / "a.mha", values.astype("f4"))) == "E-HU-RANGE"
    assert not read_volume(with_pixels(tmp_path / "b.mha", CHEST.astype("f4"))).warnings[1:]  # but for its size


def test_values_that_are_no_number_are_counted(tmp_path: Path) -> None:
    values = CHEST.astype("f4")
    values[:2, 0, 0] = np.nan
    with pytest.raises(InputError, match="2 values are no finite number"):
        read_volume(with_pixels(tmp_path / "a.nrrd", values))


@pytest.mark.parametrize(("width_mm", "code"), [(2.4, ""), (4.0, "W-SPACING"), (8.0, "E-SPACING-THICK")])
def test_slices_of_any_plane_have_a_largest_distance(tmp_path: Path, width_mm: float, code: str) -> None:
    image = sitk.GetImageFromArray(CHEST.astype("f4"))
    image.SetSpacing((0.8, width_mm, 0.8))  # a coronal stack
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    if code.startswith("E"):
        assert refused_as(tmp_path / "a.nii") == code
    else:
        codes = [notice.code for notice in read_volume(tmp_path / "a.nii").warnings]
        assert ("W-SPACING" in codes) == bool(code)


def nifti_pair(folder: Path) -> Path:
    """The phantom as NIfTI-1 in two files, as SPM and FSL write it."""
    content = bytearray(write(folder / "a.nii").read_bytes())
    start = int(np.frombuffer(content, "<f4", 1, 108)[0])
    content[108:112], content[344:348] = bytes(4), b"ni1\0"
    (folder / "a.hdr").write_bytes(content[:348])
    (folder / "a.img").write_bytes(content[start:])
    (folder / "a.nii").unlink()
    return folder / "a.hdr"


@pytest.mark.parametrize("packed", [False, True])
def test_nifti_in_two_files(tmp_path: Path, packed: bool) -> None:
    path, image = nifti_pair(tmp_path), tmp_path / "a.img"
    if packed:
        (tmp_path / "a.img.gz").write_bytes(gzip.compress(image.read_bytes()))
        image.unlink()
    volume = read_volume(path)
    assert volume.hu.shape == (30, 36, 20) and field_error_hu(volume) < 0.01


def test_nifti_in_two_files_of_which_one_is_short_or_missing(tmp_path: Path) -> None:
    path, image = nifti_pair(tmp_path), tmp_path / "a.img"
    image.write_bytes(image.read_bytes()[:-1])
    assert refused_as(path) == "E-CORRUPT"
    (tmp_path / "elsewhere").mkdir()
    image.rename(tmp_path / "elsewhere" / "a.img")
    (tmp_path / "folder").mkdir()
    image = tmp_path / "folder" / "a.img"
    path = path.rename(tmp_path / "folder" / "a.hdr")
    image.symlink_to(tmp_path / "elsewhere" / "a.img")
    assert refused_as(path) == "E-ARCHIVE"
    image.unlink()
    with pytest.raises(InputError, match="no file of the name"):
        read_volume(path)
    path.write_bytes(b"ENVI\nsamples = 5\n")
    assert refused_as(path) == "E-CORRUPT"


@pytest.mark.parametrize(("unit", "code"), [("mm", ""), ("?", ""), ("cm", "E-TAG-VALUE"), ("um", "E-TAG-VALUE")])
def test_units_of_meta_image(tmp_path: Path, unit: str, code: str) -> None:
    path = edited(write(tmp_path / "a.mha"), "NDims = 3", f"NDims = 3\nDistanceUnits = {unit}")
    if code:
        assert refused_as(path) == code
    else:
        assert field_error_hu(read_volume(path)) < 0.01


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png", "a.vtk"])
def test_other_files_are_told_what_can_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else" * 20)
    with pytest.raises(InputError, match=r"E-NO-DICOM.*\.nii\.gz"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize(("old", "new"), [("30 36 20", "36 30 20"), ("30 36 20", "20 36 30"), ("30 36 20", "30 20 36")])
def test_exchanged_axes_are_refused_where_rows_show_it(tmp_path: Path, old: str, new: str) -> None:
    path = edited(write(tmp_path / "a.mha"), f"DimSize = {old}", f"DimSize = {new}")
    if new.startswith("30"):  # the rows are right: nothing shows that the slices are not
        assert read_volume(path).hu.shape == (30, 20, 36)
    else:
        assert refused_as(path) == "E-CORRUPT"


def test_padding_of_volume_files_is_noted(tmp_path: Path) -> None:
    values = CHEST.astype("i2")
    values[0] = -3024
    volume = read_volume(with_pixels(tmp_path / "a.nrrd", values))
    assert any("N-PADDING values down to -3024" in notice for notice in volume.warnings)


def test_a_negative_slope_is_refused_as_in_dicom(tmp_path: Path) -> None:
    path = with_pixels(tmp_path / "a.nii", CHEST.astype("i2"))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([-1, 0], "<f4").tobytes()
    path.write_bytes(content)
    assert refused_as(path) == "E-TAG-VALUE"
