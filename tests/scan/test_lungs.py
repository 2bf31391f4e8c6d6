# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from lungcad.errors import InputError
from lungcad.geometry import to_index, to_world
from lungcad.scan.lungs import LungMask, block_means, segment_lungs
from lungcad.volume import Volume

SPACING = np.array([2.0, 2.0, 3.0])
SHAPE = np.array([160, 130, 100])  # 320 x 260 x 300 mm, centred on (0, 0, 0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = -(SHAPE - 1) / 2 * SPACING
X, Y, Z = np.moveaxis(to_world(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1)), -1, 0)
LUNG, FLESH, GAS = -850.0, 40.0, -1000.0


def ellipsoid(center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    return sum(((p - c) / r) ** 2 for p, c, r in zip((X, Y, Z), center, radii, strict=True)) < 1


def lung(side: int) -> np.ndarray:
    """One lung (side +1 is the patient's left): a bullet over a dome, hollowed by the heart."""
    shape = ellipsoid((side * 62, 0, -90), (52, 75, 200)) & (Z > -90)
    return shape & ~ellipsoid((side * 55, 0, -110), (45, 60, 50)) & ~ellipsoid((15, -10, -30), (50, 45, 60))


def chest(sides: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    """A trunk with lungs, windpipe and bowel gas on a table of foam in a shell."""
    hu = np.full(SHAPE, GAS)
    hu[((X / 145) ** 2 + (Y / 100) ** 2) < 1] = FLESH
    hu[(Y > 108) & (Y < 124) & (abs(X) < 150)] = 0.0
    hu[(Y > 111) & (Y < 121) & (abs(X) < 146)] = -900.0
    for side in sides:
        hu[lung(side)] = LUNG
        hu[ellipsoid((side * 22, 0, 10), (34, 6, 6))] = GAS  # main bronchus, from the windpipe into the lung
    hu[(X**2 + Y**2 < 9**2) & (Z > 5)] = GAS
    hu[ellipsoid((60, -20, -130), (35, 35, 15))] = GAS
    return hu


def volume(hu: np.ndarray) -> Volume:
    noise = np.random.default_rng(0).normal(0, 20, hu.shape)
    return Volume(np.maximum(hu + noise, -1024).astype(np.float32), AFFINE, "phantom")


def at(found: LungMask, lps_mm: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Look points (..., 3) up in the mask."""
    index = np.rint(to_index(found.affine, lps_mm)).astype(int)
    within = ((index >= 0) & (index < found.mask.shape)).all(-1)
    return within & found.mask[tuple(np.moveaxis(index.clip(0, np.array(found.mask.shape) - 1), -1, 0))]


def on_phantom(found: LungMask) -> np.ndarray:
    return at(found, np.stack([X, Y, Z], -1))


def test_finds_both_lungs_and_nothing_else() -> None:
    found = segment_lungs(volume(chest()))
    truth, mine = lung(-1) | lung(1), on_phantom(found)
    assert mine[truth].mean() > 0.99
    assert mine.sum() < 1.15 * truth.sum()
    assert found.volume_ml == pytest.approx(mine.sum() * 2 * 2 * 3 / 1000, rel=0.02)
    assert found.warnings == ()
    for place, name in [
        ((0, 116, 0), "table"), ((60, -20, -130), "bowel gas"), ((0, -120, 0), "air before the chest"),
        ((15, -10, -30), "heart"), ((55, 0, -100), "below the diaphragm"), ((0, 0, 145), "windpipe"),
    ]:  # fmt: skip
        assert not at(found, place), name


@pytest.mark.parametrize(
    "place", [(-108, 10, 0), (60, 62, 30), (70, -62, 20), (-62, 0, 103), (40, 30, 0), (-62, 60, -80)]
)
def test_keeps_nodules_at_the_wall(place: tuple[float, ...]) -> None:
    hu = chest()
    nodule = ellipsoid(place, (10, 10, 10)) & (lung(-1) | lung(1))
    assert nodule.any()
    hu[nodule] = FLESH
    found = segment_lungs(volume(hu))
    assert on_phantom(found)[nodule].mean() > 0.75  # all but the outermost rim
    assert at(found, np.stack([X, Y, Z], -1)[nodule].mean(0))


@pytest.mark.parametrize("place", [(-105, 10, 0), (62, 62, 20), (-80, -55, 10), (105, 20, -40)])
def test_keeps_masses_at_the_pleura(place: tuple[float, ...]) -> None:
    hu = chest()
    mass = ellipsoid(place, (27, 27, 27)) & (lung(-1) | lung(1))
    hu[mass] = FLESH
    found = segment_lungs(volume(hu))
    assert on_phantom(found)[mass].mean() > 0.6
    assert at(found, np.stack([X, Y, Z], -1)[mass].mean(0))


def test_keeps_consolidation_within_the_lung() -> None:
    hu = chest()
    inside = ellipsoid((82, 0, 10), (18, 30, 30))
    hu[inside] = FLESH
    assert on_phantom(segment_lungs(volume(hu)))[inside].all()


def test_accepts_one_lung_and_emphysema() -> None:
    hu = chest(sides=(1,))
    hu[lung(1)] = -930.0
    mine = on_phantom(segment_lungs(volume(hu)))
    assert mine[lung(1)].mean() > 0.99
    assert mine.sum() < 1.15 * lung(1).sum()


@pytest.mark.parametrize(
    ("kept", "ends"), [(np.s_[50:], ["feet"]), (np.s_[:60], ["head"]), (np.s_[45:65], ["feet", "head"])]
)
def test_warns_where_the_scan_cuts_the_lungs(kept: slice, ends: list[str]) -> None:
    full = volume(chest())
    warnings = segment_lungs(Volume(full.hu[:, :, kept], AFFINE, "cut")).warnings
    assert [w.code for w in warnings] == ["W-COVERAGE"] * len(ends)
    assert all(end in text for end, text in zip(ends, warnings, strict=True))


def test_a_narrow_field_of_view_keeps_the_lung_at_its_edge() -> None:
    full = volume(chest())
    affine = AFFINE.copy()
    affine[0, 3] += 34 * SPACING[0]  # the field begins at x = -91 mm, inside the right lung
    found = segment_lungs(Volume(full.hu[34:], affine, "narrow"))
    assert on_phantom(found)[34:][lung(-1)[34:]].mean() > 0.99


def head() -> np.ndarray:
    hu = np.full(SHAPE, GAS)
    hu[ellipsoid((0, 0, 0), (75, 95, 110))] = 1000.0
    hu[ellipsoid((0, 0, 0), (68, 88, 103))] = 35.0
    for side in (-1, 1):
        hu[ellipsoid((side * 28, -60, -50), (14, 16, 18))] = GAS  # maxillary sinus
        hu[ellipsoid((side * 55, 20, -50), (10, 15, 15))] = -600.0  # mastoid cells
    return hu


def abdomen() -> np.ndarray:
    hu = np.full(SHAPE, GAS)
    hu[((X / 150) ** 2 + (Y / 105) ** 2) < 1] = FLESH
    for z in (-100, -50, 0, 50):
        hu[ellipsoid((0, -50, z), (90, 22, 18))] = GAS  # 150 ml of colon gas each
    for side in (-1, 1):
        hu[ellipsoid((side * 95, 0, 0), (18, 18, 70))] = -500.0  # colon full of stool
    return hu


@pytest.mark.parametrize(
    "hu",
    [head(), abdomen(), np.full(SHAPE, GAS), np.zeros(SHAPE), np.full(SHAPE, LUNG)],
    ids=["head", "abdomen", "air", "water", "foam"],
)
def test_refuses_what_has_no_lungs(hu: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected at least \d+ ml") as refused:
        segment_lungs(volume(hu))
    assert refused.value.code == "E-NO-LUNG"


def test_axis_order_and_direction_of_storage_do_not_matter() -> None:
    plain = volume(chest())
    stored = np.flip(plain.hu.transpose(2, 0, 1), (0, 2))  # Z against the head, X, Y against the back
    affine = AFFINE[:, [2, 0, 1, 3]] @ np.diag([-1.0, 1, -1, 1])
    affine[:3, 3] = to_world(AFFINE, [0, SHAPE[1] - 1, SHAPE[2] - 1])
    one, other = segment_lungs(plain), segment_lungs(Volume(stored, affine, "stored"))
    np.testing.assert_allclose(one.affine, other.affine)
    np.testing.assert_array_equal(one.mask, other.mask)


def lungs_of(folder: Path, name: str) -> tuple[Volume, np.ndarray]:
    """One of the shared lungs, and its reference mask on the same grid."""
    import SimpleITK as sitk

    from lungcad.reading.volume_file import read_volume

    mask = sitk.ReadImage(str(folder / "lungs" / f"{name}_lung.nii.gz"))
    return read_volume(folder / "lungs" / f"{name}.nii.gz"), sitk.GetArrayFromImage(mask).T > 0


LUNGS = ["LIDC-IDRI-0001", "LIDC-IDRI-0314", "TotalSegmentator-aorta", "TCGA-DE-A4MA", "LCTSC-Test-S1-101"]
LUNGS += ["LungFCP-01-0001"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", LUNGS)
def test_covers_the_shared_lungs(shared: Path, name: str) -> None:
    given, reference = lungs_of(shared / "data", name)
    found = segment_lungs(given)
    mine = at(found, to_world(given.affine, np.moveaxis(np.indices(reference.shape), 0, -1)))
    both = (mine & reference).sum()
    assert both / reference.sum() > 0.985
    assert 2 * both / (mine.sum() + reference.sum()) > 0.95
    with (shared / "data/lungs/lesions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lung_id"] == name and row["kind"] != "luna16_excluded"]
    assert all(at(found, np.array([[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in rows])))


@pytest.mark.shared_data
@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0314"])
def test_every_nodule_of_a_whole_scan_lies_inside(shared: Path, patient: str) -> None:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared / "data/ct" / patient)))
    image = reader.Execute()
    hu = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32).clip(-1024)
    affine = np.diag([*image.GetSpacing(), 1.0])
    affine[:3, 3] = image.GetOrigin()
    found = segment_lungs(Volume(hu, affine, patient))
    with (shared / "data/ct/findings.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["patient_id"] == patient]
    places = [[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in rows if row["source"] != "luna16_excluded"]
    assert len(places) >= 2
    assert at(found, np.array(places)).all()
    given, reference = lungs_of(shared / "data", patient)
    inside = at(found, to_world(given.affine, np.argwhere(reference)))
    assert inside.mean() > 0.98
    assert found.volume_ml * 1000 < 1.15 * reference.sum()
    assert bool(found.warnings) == (patient == "LIDC-IDRI-0314")  # the one of which only a part is stored


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_block_means_are_those_of_pooling(signs: tuple[int, int, int], order: Literal["C", "F"]) -> None:
    """Bit by bit those of PyTorch's average pooling in the order of the memory, blocks at the far ends cut."""
    hu = np.asarray(np.random.default_rng(1).normal(-500, 400, (11, 7, 9)), np.float32, order=order)
    kept = hu.copy()
    means, affine = block_means(Volume(hu, np.diag([0.7 * signs[0], 0.9 * signs[1], 1.1 * signs[2], 1]), "x"), 2.0)
    flipped = hu[:: signs[0], :: signs[1], :: signs[2]]
    axes, block = ((0, 1, 2), (3, 2, 2)) if order == "C" else ((2, 1, 0), (2, 2, 3))
    pooled = torch.nn.functional.avg_pool3d(
        torch.from_numpy(np.ascontiguousarray(flipped.transpose(axes)))[None], block, ceil_mode=True
    )[0].numpy().transpose(axes)  # fmt: skip
    assert np.array_equal(means, pooled) and means.dtype == np.float32
    assert np.allclose(np.diag(affine)[:3], (2.1, 1.8, 2.2)) and np.array_equal(hu, kept)
