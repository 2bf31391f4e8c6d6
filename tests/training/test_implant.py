# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from small_cases import write_image, write_table

from lungcad.geometry import to_world
from lungcad.training.cases import Sphere
from lungcad.training.composites import ImplantedCases, is_hard, load_nodules
from lungcad.training.implant import Tissue, paste
from lungcad.training.placement import Placement, Places
from lungcad.training.sampling import clear_of_lesions


def ball_tissue(diameter_mm: float = 9.0, spacing: tuple[float, float, float] = (0.7, 0.8, 2.0)) -> Tissue:
    """A bright ball in lung, off the middle of its crop."""
    shape = (43, 39, 11)
    center = np.array([20.3, 21.4, 5.2])
    grid = np.moveaxis(np.indices(shape), 0, -1)
    mask = np.linalg.norm((grid - center) * spacing, axis=-1) <= diameter_mm / 2
    return Tissue(np.where(mask, 50.0, -850.0).astype(np.float32), mask, np.array(spacing), center, diameter_mm, "ball")


def brightness_centre(hu: np.ndarray) -> np.ndarray:
    bright = np.argwhere(hu > -500)
    return (bright * (hu[hu > -500] + 500)[:, None]).sum(axis=0) / (hu[hu > -500] + 500).sum()


def test_turned_tissue_has_its_nodule_at_its_centre_and_scales() -> None:
    rng, seen = np.random.default_rng(0), set()
    for _ in range(150):
        turned = ball_tissue().turned(rng, 1.1)
        aside_mm = (brightness_centre(turned.hu) - turned.center) * turned.spacing_mm
        np.testing.assert_allclose(aside_mm, 0, atol=0.5)
        assert turned.diameter_mm == pytest.approx(9.9)
        assert (turned.mask == (turned.hu > 0)).all()
        assert sorted(turned.spacing_mm / 1.1) == pytest.approx([0.7, 0.8, 2.0])
        assert turned.spacing_mm[2] == pytest.approx(2.2)  # never turned out of the transverse plane
        seen.add((turned.hu.shape, tuple(turned.center)))
    assert len(seen) == 16  # 8 flips times a transposition


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("place", [(24.0, 25.0, 26.0), (24.4, 25.3, 25.6)])
def test_a_pasted_nodule_lies_at_its_place_and_little_else_changes(place: tuple[float, ...], wide: bool) -> None:
    before = np.full((50, 50, 50), -860.0, dtype=np.float32)
    after = before.copy()
    paste(after, ball_tissue(), np.array(place), wide)
    np.testing.assert_allclose(brightness_centre(after), place, atol=0.4)
    volume_mm3 = (after > -400).sum()
    assert (6 * volume_mm3 / np.pi) ** (1 / 3) == pytest.approx(9.0, abs=1.0)
    changed = np.abs(after - before) > 20
    assert np.linalg.norm(np.argwhere(changed) - place, axis=1).max() < 9.0 / 2 + 4


def visible_growth(tissue: Tissue) -> tuple[int, float, float]:
    """What is seen of a nodule set into even lung, above half of its brightness, against its mask.

    Returns:
        Slices seen less slices of the mask; depth seen over that of the mask, in columns through the nodule's middle;
        the same of its width.
    """
    side = int(3 * tissue.diameter_mm + 40)
    volume = np.full((side,) * 3, -860.0, dtype=np.float32)
    here, inside = paste(volume, tissue, np.full(3, side // 2), wide=False)
    mask = np.zeros(volume.shape, dtype=bool)
    mask[here] = inside
    near = ndimage.binary_dilation(mask, iterations=3)
    seen = volume > (np.median(volume[mask]) - 860) / 2
    shadow, slices = mask.any(axis=2), mask.any(axis=(0, 1))
    middle = ndimage.binary_erosion(shadow) if shadow.sum() > 20 else shadow
    depth = seen[middle].sum() / mask[middle].sum()
    width = np.sqrt((seen & near)[:, :, slices].sum() / mask.sum())
    return int((seen & shadow[:, :, None]).any(axis=(0, 1)).sum() - slices.sum()), float(depth), float(width)


@pytest.mark.parametrize("spacing_z", [1.0, 1.25, 2.5])
@pytest.mark.parametrize("diameter_mm", [4.0, 7.0, 15.0])
def test_a_nodule_that_fills_its_crop_is_set_in_as_long_as_its_mask(diameter_mm: float, spacing_z: float) -> None:
    slices = round(diameter_mm / spacing_z) | 1  # odd: its middle is a voxel of the lung
    center = np.array([22.0, 22.0, (slices - 1) / 2])
    grid = (np.moveaxis(np.indices((45, 45, slices)), 0, -1) - center) * (0.7, 0.7, spacing_z)
    mask = (grid[..., :2] ** 2).sum(axis=-1) <= (diameter_mm / 2) ** 2  # a cylinder: bright to its last slice
    hu = ndimage.gaussian_filter(np.where(mask, 40.0, -850.0), (0.7, 0.7, 0)).astype(np.float32)
    longer, depth, _ = visible_growth(Tissue(hu, mask, np.array([0.7, 0.7, spacing_z]), center, diameter_mm))
    assert abs(longer) <= 1
    assert depth == pytest.approx(1, abs=0.25)


def test_lung_behind_the_last_slice_has_its_noise_and_no_nodule() -> None:
    tissue = ball_tissue()
    rng = np.random.default_rng(0)
    short = Tissue(tissue.hu[:, :, 4:7] + rng.normal(0, 25, (43, 39, 3)).astype(np.float32), tissue.mask[:, :, 4:7],
                   tissue.spacing_mm, tissue.center - (0, 0, 4), tissue.diameter_mm)  # fmt: skip
    longer = short.with_ends()
    assert longer.hu.shape == (43, 39, 5)
    np.testing.assert_array_equal(longer.hu[:, :, 1:-1], short.hu)
    np.testing.assert_allclose(longer.center, (*short.center[:2], short.center[2] + 1))
    for end in (0, -1):
        assert not longer.mask[:, :, end].any()
        assert longer.hu[:, :, end].max() < -700
        assert longer.hu[:, :, end].std() == pytest.approx(25, rel=0.2)


@pytest.mark.slow
@pytest.mark.shared_data
def test_real_nodules_are_set_in_as_long_as_their_masks(shared: Path) -> None:
    tissues = load_nodules(shared / "data" / "nodules3d", range(5))
    without_margin = [t for t in tissues if t.mask[:, :, 0].any() and t.mask[:, :, -1].any()]
    grown = np.array([(t.diameter_mm, *visible_growth(t)) for t in without_margin])
    for low, high in ((0, 5), (5, 8), (8, 12), (12, 40)):
        diameter, longer, depth, width = grown[(grown[:, 0] >= low) & (grown[:, 0] < high)].T
        assert len(diameter) >= 20
        assert np.median(longer) <= 1
        assert np.median(depth / width) == pytest.approx(1.0, abs=0.05)


def test_walls_and_vessels_behind_a_paste_stay() -> None:
    volume = np.full((50, 50, 50), -860.0, dtype=np.float32)
    volume[:20] = 30.0
    before = volume.copy()
    paste(volume, ball_tissue(), np.array([24.0, 25.0, 25.0]), wide=False)
    assert (volume[:20] >= before[:20] - 0.1).all()


def test_a_vessel_stays_with_its_soft_edge() -> None:
    volume = np.full((50, 50, 50), -860.0, dtype=np.float32)
    volume[24:27, 33:36] = 30.0
    volume = ndimage.gaussian_filter(volume, 1.0)
    before = volume.copy()
    paste(volume, lung_tissue(level=-860.0, noise=0.0), np.array([25.0, 30.0, 25.0]), wide=False)
    np.testing.assert_allclose(volume[22:29, 31:38, 20:30], before[22:29, 31:38, 20:30], atol=90)  # of 890


def lung_tissue(level: float, noise: float) -> Tissue:
    """Nodule-free lung of some density and noise, a ball of it to be set in."""
    tissue = ball_tissue(12.0, (1.0, 1.0, 1.5))
    hu = np.random.default_rng(1).normal(level, noise, (43, 39, 27)).astype(np.float32)
    mask = np.linalg.norm((np.moveaxis(np.indices(hu.shape), 0, -1) - (20, 20, 13)) * tissue.spacing_mm, axis=-1) <= 6
    return Tissue(hu, mask, tissue.spacing_mm, np.array([20.0, 20.0, 13.0]), 12.0, "control")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("level", "noise"), [(-860, 30), (-900, 22), (-800, 45)])
def test_lung_set_into_lung_leaves_no_other_density_or_noise(level: float, noise: float, wide: bool) -> None:
    volume = np.random.default_rng(0).normal(-860, 30, (50, 50, 50)).astype(np.float32)
    before = volume.copy()
    paste(volume, lung_tissue(level, noise), np.array([25.0, 25.0, 25.0]), wide)
    distance = np.linalg.norm(np.moveaxis(np.indices(volume.shape), 0, -1) - 25.0, axis=-1)
    for low, high in ((0, 4), (4, 8), (8, 12)):  # within the ball, at its seam, around it
        here = volume[(distance >= low) & (distance < high)]
        assert here.mean() == pytest.approx(-860, abs=8)
        assert here.std() == pytest.approx(30, rel=0.3)
    assert np.abs(volume - before)[distance < 4].mean() > 10  # it has been set in


def test_places_lie_in_lung_apart_from_what_is_taken() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 60, 60), dtype=bool)
    mask[10:50, 10:50, 10:50] = True
    lung = np.where(mask, -860.0, 40.0)
    lung[30:50, 10:50, 10:50] = -100.0  # consolidated: no room
    taken: list[Sphere] = []
    places = Places(lung, mask, Placement(clearance_mm=12.0))
    while (place := places.find_place(6.0, taken, rng)) is not None:
        assert mask[tuple(np.rint(place).astype(int))]
        assert place[0] < 31
        assert all(np.linalg.norm(place - t.index) - 6.0 > 11 for t in taken)  # 12 mm, less the shift within a voxel
        taken.append(Sphere(place, 6.0))
    assert len(taken) >= 3


def lung_with_vessels() -> tuple[np.ndarray, np.ndarray]:
    """HU and mask of a lung with vessels 20 mm apart."""
    mask = np.zeros((90, 90, 60), dtype=bool)
    mask[8:82, 8:82, 6:54] = True
    hu = np.where(mask, np.random.default_rng(0).normal(-860, 25, mask.shape), 40.0).astype(np.float32)
    for x in range(20, 80, 20):
        hu[x : x + 3, 40:43, 6:54] = 20.0
    return hu, mask


@pytest.mark.parametrize("kind", ["clear", "vessel", "wall"])
def test_places_are_of_the_kind_that_was_asked_for(kind: str) -> None:
    hu, mask = lung_with_vessels()
    placement = Placement(vessel_share=float(kind == "vessel"), wall_share=float(kind == "wall"))
    places, rng = Places(hu, mask, placement), np.random.default_rng(1)
    vessel = ndimage.distance_transform_edt(~((hu > -200) & mask))
    wall = ndimage.distance_transform_edt(mask)
    for _ in range(30):
        place = places.find_place(8.0, [], rng)
        assert place is not None
        here = tuple(np.rint(place).astype(int))
        assert kind != "vessel" or vessel[here] < 4 + 3.5  # radius, 1.5 mm, rounding and the shift within a voxel
        assert kind != "wall" or wall[here] < 4.5
        assert kind == "wall" or wall[here] > 2.5


def test_a_lung_without_vessels_still_has_room() -> None:
    mask = np.ones((40, 40, 40), dtype=bool)
    places = Places(np.full(mask.shape, -860.0), mask, Placement(vessel_share=1.0, wall_share=0.0))
    assert places.find_place(6.0, [], np.random.default_rng(0)) is not None


def test_kinds_of_places_have_their_shares() -> None:
    rng = np.random.default_rng(0)
    kinds = [Placement().kind(rng) for _ in range(2000)]
    assert kinds.count("vessel") / 2000 == pytest.approx(0.30, abs=0.04)
    assert kinds.count("wall") / 2000 == pytest.approx(0.15, abs=0.04)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as the project's shared one: two lungs, six nodules of four patients, one of them not usable."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    lungs = []
    for name in ("lung-a", "lung-b"):
        mask = np.zeros((90, 84, 80), dtype=bool)
        mask[10:80, 10:74, 8:72] = True
        hu = np.where(mask, rng.normal(-860, 15, mask.shape), 0).round(-1)
        affine = np.eye(4)
        affine[:3, 3] = (-40, -30, -200)
        write_image(root / "lungs" / f"{name}.nii.gz", hu.astype(np.int16), affine)
        write_image(root / "lungs" / f"{name}_lung.nii.gz", mask.astype(np.uint8), affine)
        lungs.append({"lung_id": name, "hu_step": 10})
    write_table(root / "lungs" / "lungs.csv", lungs)
    write_table(root / "lungs" / "lesions.csv", [
        {"lung_id": "lung-a", "kind": "seen_by_eye", "x_mm": 0, "y_mm": 0, "z_mm": -170, "diameter_mm": 10},
        {"lung_id": "lung-b", "kind": "luna16_excluded", "x_mm": 5, "y_mm": 0, "z_mm": -150, "diameter_mm": -1},
    ])  # fmt: skip
    rows = []
    for number, (patient, fold) in enumerate([("p0", 0), ("p0", 0), ("p1", 1), ("p1", 1), ("p3", 3), ("p4", 0)]):
        tissue, affine = ball_tissue(6.0), np.diag([0.7, 0.8, 2.0, 1.0])
        name = f"{patient}_{number}"
        write_image(root / "nodules3d" / f"{name}.nii.gz", tissue.hu.astype(np.int16), affine)
        write_image(root / "nodules3d" / f"{name}_mask.nii.gz", tissue.mask.astype(np.uint8), affine)
        centre = {f"centre_{axis}": value for axis, value in zip("ijk", tissue.center, strict=True)}
        row = {"nodule_id": name, "patient_id": patient, "fold": fold, "usable": int(number != 1), "diameter_mm": 6.0}
        row |= {"r1_malignancy": 4, "r2_malignancy": "3.0", "r3_malignancy": "", "r4_malignancy": number}
        rows.append(row | centre)
    write_table(root / "nodules3d" / "nodules.csv", rows)
    return root


def test_nodules_are_chosen_by_patient(data_dir: Path) -> None:
    def names(*folds: int, without: tuple[str, ...] = ()) -> set[str]:
        return {nodule.name for nodule in load_nodules(data_dir / "nodules3d", folds, without)}

    assert names(0, 1) == {"p0_0", "p1_2", "p1_3", "p4_5"}  # p0_1 is not usable
    assert names(3) == {"p3_4"}
    assert names(0, 1, without=("p1",)) == {"p0_0", "p4_5"}


def test_nodules_are_read_with_their_centre(data_dir: Path) -> None:
    nodule = load_nodules(data_dir / "nodules3d", [3])[0]
    np.testing.assert_allclose(nodule.center, ball_tissue().center, atol=1e-4)
    np.testing.assert_allclose(nodule.spacing_mm, (0.7, 0.8, 2.0), atol=1e-6)
    assert nodule.hu[tuple(np.rint(nodule.center).astype(int))] == 50


@pytest.fixture(scope="module")
def composites(data_dir: Path) -> ImplantedCases:
    return ImplantedCases(data_dir, [0, 1], ["lung-a", "lung-b"], scans=4, nodules_per_scan=3, seed=5, controls=2)


def test_composites_list_what_was_set_in(composites: ImplantedCases) -> None:
    case = composites[0]
    assert case.spacing_mm == (1.0, 1.0, 2.0)
    assert case.hu.dtype == np.int16
    assert len(case.nodules) == 3
    assert [control.name for control in case.controls] == ["control", "control"]
    assert len(case.ignored) == 1
    for control in case.controls:
        x, y, z = np.rint(control.index).astype(int)
        assert case.lungs[x, y, z]
        assert case.hu[x, y, z] < -600
    assert clear_of_lesions(case, np.array([c.index for c in case.controls])).all()


def test_nodules_of_composites_lie_at_their_places(composites: ImplantedCases) -> None:
    aside = []
    for case in (composites[scan] for scan in range(4)):
        for nodule in case.nodules:
            x, y, z = np.rint(nodule.index).astype(int)
            assert case.lungs[x, y, z]
            assert case.hu[x, y, z] > -400
            assert 6 * 0.9 <= nodule.diameter_mm <= 6 * 1.1
            near = (slice(x - 4, x + 5), slice(y - 4, y + 5), slice(z - 2, z + 3))
            if case.lungs[near].all():  # away from walls
                found = brightness_centre(case.hu[near].astype(float)) - (4, 4, 2) + (x, y, z)
                aside.append((found - nodule.index) * case.spacing_mm)
    assert len(aside) >= 2
    np.testing.assert_allclose(aside, 0, atol=1.0)


def test_composites_know_the_voxels_and_the_ratings_of_their_nodules(composites: ImplantedCases) -> None:
    for case in (composites[scan] for scan in range(2)):
        assert case.masks is not None
        assert set(np.unique(case.masks)) == set(range(len(case.nodules) + 1))
        for number, nodule in enumerate(case.nodules, start=1):
            inside = np.argwhere(case.masks == number)
            np.testing.assert_allclose((inside.mean(axis=0) - nodule.index) * case.spacing_mm, 0, atol=1.0)
            volume_mm3 = len(inside) * np.prod(case.spacing_mm)
            assert (6 * volume_mm3 / np.pi) ** (1 / 3) == pytest.approx(nodule.diameter_mm, abs=1.0)
            assert nodule.malignancy == (4.0, 3.0, float(nodule.name[-1]))


def test_a_composite_is_the_same_whenever_it_is_made(composites: ImplantedCases, data_dir: Path) -> None:
    more = ImplantedCases(data_dir, [0, 1], ["lung-a", "lung-b"], scans=9, nodules_per_scan=3, seed=5, controls=2)
    np.testing.assert_array_equal(more[1].hu, composites[1].hu)
    assert composites[0].name != composites[2].name
    assert not np.array_equal(composites[0].hu, composites[2].hu)


def test_a_composite_has_the_same_places_in_millimetres_at_any_height_of_voxels(
    composites: ImplantedCases, data_dir: Path
) -> None:
    thin = ImplantedCases(data_dir, [0, 1], ["lung-a", "lung-b"], scans=4, nodules_per_scan=3, seed=5, controls=2,
                          slices_per_voxel=1)  # fmt: skip
    for scan in range(2):
        one, two = thin[scan], composites[scan]
        assert (one.name, one.spacing_mm, two.spacing_mm) == (two.name, (1.0, 1.0, 1.0), (1.0, 1.0, 2.0))
        for a, b in zip(one.nodules + one.controls, two.nodules + two.controls, strict=True):
            np.testing.assert_allclose(to_world(one.to_mm, a.index), to_world(two.to_mm, b.index), atol=1e-6)
            assert (a.name, a.diameter_mm) == (b.name, b.diameter_mm)


def test_every_nodule_is_used_before_any_is_used_again(composites: ImplantedCases) -> None:
    first, second = ({n.name for n in composites[scan].nodules} for scan in (0, 1))
    assert len(first) == 3
    assert first | second == {"p0_0", "p1_2", "p1_3", "p4_5"}


def test_small_and_faint_nodules_are_used_more_often(data_dir: Path) -> None:
    made = ImplantedCases(data_dir, [0, 1], ["lung-a"], scans=1, often=3)
    assert len(made.nodules) == 4  # none of 6 mm and 50 HU is hard
    small, faint = ball_tissue(4.0), ball_tissue(6.0)
    faint.hu = faint.hu - np.float32(600.0) * faint.mask
    assert is_hard(small)
    assert is_hard(faint)
    assert not is_hard(ball_tissue(6.0))


def test_untouched_places_are_listed_and_nothing_is_set_in(data_dir: Path) -> None:
    made = ImplantedCases(data_dir, [0], ["lung-a"], scans=1, nodules_per_scan=1, controls=0, untouched=3)[0]
    assert [place.name for place in made.controls] == ["untouched"] * 3


def test_healthy_scans_have_controls_and_their_own_lesions_alone(data_dir: Path) -> None:
    made = ImplantedCases(data_dir, [0], ["lung-a"], scans=1, nodules_per_scan=2, controls=2, healthy=True)[0]
    assert made.nodules == []
    assert [place.name for place in made.controls] == ["control", "control"]
    assert len(made.ignored) == 1
