# SPDX-License-Identifier: Apache-2.0
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged
from small_cases import NODULE_VOX, small_chest, small_volume, write_image

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import to_index, to_world
from lungcad.papers.dou2017.inference import DecodeHybridd, ScoreVolumeToFindingsd, encode_targets, with_prior
from lungcad.papers.transforms import CandidateCropsd, LungGridd, prepare_case
from lungcad.reading.monai_reader import to_volume
from lungcad.results.transforms import LoadCandidatesd, WriteFindingsd
from lungcad.scan.blanking import BLANK_HU, blanked_grid
from lungcad.scan.scan import Scan

SPACING = (2.0, 2.0, 3.0)
PATCH = (20, 20, 12)


@pytest.fixture(scope="module")
def scan() -> Scan:
    return Scan(small_volume())


def oblique_affine() -> np.ndarray:
    """A grid that stands askew in the patient."""
    a, b = np.radians(20), np.radians(-9)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ tilt @ np.diag(SPACING)
    affine[:3, 3] = (-120.0, 35.0, -400.0)
    return affine


def test_grid_is_blank_far_from_the_lungs_and_untouched_near_them(scan: Scan) -> None:
    grid, plain = blanked_grid(scan, SPACING, 12.0), scan.resampled(SPACING)
    assert (grid.affine == plain.affine).all()
    changed = grid.hu != plain.hu
    assert changed.any()
    assert (grid.hu[changed] == BLANK_HU).all()
    assert not changed[grid.lungs].any()
    inside = np.rint(to_index(grid.affine, to_world(scan.volume.affine, NODULE_VOX))).astype(int)
    assert grid.lungs[tuple(inside)]  # the nodule belongs to the lung
    assert grid.hu[tuple(inside)] > -100
    air = plain.hu < -950  # in this body only around it, or beyond the volume
    assert air.any()
    assert (grid.hu[air & ~plain.lungs] == BLANK_HU).all()


def test_beyond_the_scan_is_blank_however_near_the_lungs() -> None:
    volume = small_volume()
    volume.hu = volume.hu[:, :, 12:]  # cuts the lungs
    volume.affine[2, 3] += 12 * 4.0
    grid = blanked_grid(Scan(volume), SPACING, 12.0)
    z = grid.affine[2, 3] + SPACING[2] * np.arange(grid.hu.shape[2])
    below = torch.from_numpy(z < volume.affine[2, 3] - 2.0)
    assert below.any()
    assert (grid.hu[:, :, below] == BLANK_HU).all()
    assert (grid.hu[:, :, ~below] < -700).any()


def test_only_the_last_grid_is_kept_and_the_scan_stays_as_it_is() -> None:
    scan = Scan(small_volume())
    before = scan.volume.hu.copy()
    first = weakref.ref(blanked_grid(scan, (1.0, 1.0, 1.0), 12.0).hu)
    second = blanked_grid(scan, SPACING, 12.0)
    gc.collect()
    assert first() is None and blanked_grid(scan, SPACING, 12.0) is second
    assert second.hu.dtype == torch.float32 and np.array_equal(scan.volume.hu, before)


def test_stages_share_a_grid_and_it_goes_with_its_scan(scan: Scan) -> None:
    assert blanked_grid(scan, SPACING, 12.0) is blanked_grid(scan, list(SPACING), 12.0)
    assert blanked_grid(scan, SPACING, 5.0) is not blanked_grid(scan, SPACING, 12.0)
    from lungcad.scan.blanking import _BLANKED

    gc.collect()  # grids of scans that other tests left in cycles
    before = len(_BLANKED)
    other = Scan(small_volume())
    blanked_grid(other, SPACING, 12.0)
    assert len(_BLANKED) == before + 1
    del other
    gc.collect()
    assert len(_BLANKED) == before


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
def test_what_the_reader_loads_becomes_the_same_volume(tmp_path: Path, suffix: str) -> None:
    hu, affine = small_chest()
    affine[:3, :3] = oblique_affine()[:3, :3] / SPACING @ affine[:3, :3]
    path = write_image(tmp_path / f"scan{suffix}", hu, affine)
    image = LoadImaged("image", reader="lungcad.reading.monai_reader.CTSeriesReader")({"image": str(path)})["image"]
    for loaded in (image, image[None]):
        volume = to_volume(loaded)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-3)
        np.testing.assert_allclose(volume.hu, hu, atol=1e-3)
        assert volume.series_uid == "scan"


def test_a_scan_that_is_there_is_used(scan: Scan) -> None:
    data = LungGridd("image", SPACING, 12.0)({"image": None, "scan": scan})
    assert data["scan"] is scan
    assert data["image"].shape == (1, 1, *data["lungs"].shape)
    image, label, args, kwargs = prepare_case(data, torch.device("cpu"), non_blocking=False)
    assert (image is data["image"], label, args) == (True, None, ())
    assert kwargs == {"lungs": data["lungs"]}


def test_score_volume_becomes_findings_in_patient_millimetres() -> None:
    affine = oblique_affine()
    score = torch.full((1, 1, 16, 14, 12), -torch.inf)
    score[0, 0, 3, 4, 5], score[0, 0, 12, 10, 8] = 2.0, 4.0
    step = ScoreVolumeToFindingsd("pred", SPACING, threshold=0.5, radius_mm=8.0, max_candidates=10, shift_mm=4.0)
    findings = step({"pred": score, "grid_affine": affine})["findings"]
    assert [f.detection_score for f in findings] == pytest.approx([0.98201, 0.88080], abs=1e-4)  # 1 / (1 + e^-4), e^-2
    for finding, output in zip(findings, [(12, 10, 8), (3, 4, 5)], strict=True):
        x, y, z = output
        expected = to_world(affine, (2 * x + 14.5, 2 * y + 14.5, z + 4.5))
        np.testing.assert_allclose(finding.center_lps_mm, expected, atol=1e-3)
        assert finding.nodule_probability is None


def test_distance_between_candidates_is_between_outputs() -> None:
    score = torch.full((1, 1, 16, 14, 12), -torch.inf)
    score[0, 0, 3, 4, 5], score[0, 0, 5, 4, 5] = 2.0, 4.0  # two outputs = four voxels of 2 mm = 8 mm apart
    for radius, count in ((7.5, 2), (8.5, 1)):
        step = ScoreVolumeToFindingsd("pred", SPACING, 0.5, radius, 10, 4.0)
        assert len(step({"pred": score, "grid_affine": oblique_affine()})["findings"]) == count


def candidates(affine: np.ndarray, *places: tuple[float, float, float]) -> list[Finding]:
    world = to_world(affine, np.array(places))
    return [Finding((x, y, z), detection_score=0.9 - n / 10) for n, (x, y, z) in enumerate(world.tolist())]


def test_crops_hold_what_lies_at_their_proposals() -> None:
    affine, image = oblique_affine(), torch.zeros(1, 1, 50, 48, 40)
    places = [(20.3, 21.6, 15.2), (1.0, 47.0, 39.0)]
    for x, y, z in places:
        image[0, 0, round(x), round(y), round(z)] = 1.0
    found = candidates(affine, *places)
    data = CandidateCropsd("image", PATCH)({"image": image, "grid_affine": affine, "findings": found})
    assert data["image"].shape == (2, 1, *PATCH)
    for crop, proposal, place in zip(data["image"], data["proposals"], places, strict=True):
        bright = crop[0].nonzero().numpy()
        assert len(bright) == 1
        voxel = bright[0] - (np.array(PATCH) - 1) / 2 + proposal
        np.testing.assert_allclose(voxel, [round(v) for v in place])
        assert np.abs(proposal - place).max() <= 0.5


def decode_input(truth: list[tuple[float, float, float, float]], logits: list[float]) -> dict[str, Any]:
    """What the second network would say if it knew: nodules (x, y, z as grid index, diameter in mm)."""
    affine, nodules = oblique_affine(), np.array(truth).reshape(-1, 4)
    found = candidates(affine, *(nodules[:, :3] + (0.8, -1.1, 0.6))) if truth else []
    image = torch.zeros(1, 1, 50, 48, 40)
    data = CandidateCropsd("image", PATCH)({"image": image, "grid_affine": affine, "findings": found})
    spacing = np.array(SPACING)
    target = encode_targets(nodules[:, :3] * spacing, nodules[:, 3], data["proposals"] * spacing, spacing * PATCH)
    classes = np.stack([np.zeros(len(truth)), np.array(logits)], axis=1).reshape(-1, 2)
    return data | {"pred": torch.from_numpy(np.concatenate([classes, target], axis=1)).float()}


def test_decoding_gives_back_centre_and_diameter_in_patient_millimetres() -> None:
    truth = [(20.0, 22.0, 15.0, 8.0), (33.0, 30.0, 25.0, 14.0)]
    findings = DecodeHybridd("pred", SPACING, PATCH, 0.01)(decode_input(truth, [1.0, 3.0]))["findings"]
    assert [f.nodule_probability for f in findings] == pytest.approx([0.95257, 0.73106], abs=1e-4)  # best first
    assert [f.detection_score for f in findings] == pytest.approx([0.8, 0.9])
    for finding, (x, y, z, diameter) in zip(findings, truth[::-1], strict=True):
        np.testing.assert_allclose(finding.center_lps_mm, to_world(oblique_affine(), (x, y, z)), atol=1e-2)
        assert finding.diameter_mm == pytest.approx(diameter, rel=1e-4)


def test_improbable_findings_are_dropped_and_two_of_one_nodule_become_one() -> None:
    truth = [(20.0, 22.0, 15.0, 8.0), (20.5, 22.0, 15.0, 8.0), (33.0, 30.0, 25.0, 14.0)]
    findings = DecodeHybridd("pred", SPACING, PATCH, 0.5)(decode_input(truth, [1.0, 2.0, -1.0]))["findings"]
    assert [f.nodule_probability for f in findings] == pytest.approx([0.8808], abs=1e-4)


def test_the_detection_score_weighs_in_as_log_odds() -> None:
    truth = [(20.0, 22.0, 15.0, 8.0), (33.0, 30.0, 25.0, 14.0)]
    data = decode_input(truth, [1.0, 3.0])  # log odds; detection scores of 0.9 and 0.8
    findings = DecodeHybridd("pred", SPACING, PATCH, 0.01, prior_weight=0.25)(data)["findings"]
    odds = [0.75 * 3 + 0.25 * np.log(4), 0.75 * 1 + 0.25 * np.log(9)]
    assert [f.nodule_probability for f in findings] == pytest.approx([1 / (1 + np.exp(-x)) for x in odds], abs=1e-4)
    assert [f.detection_score for f in findings] == pytest.approx([0.8, 0.9])


def test_a_prior_of_nothing_changes_nothing_and_a_sure_one_stays_finite() -> None:
    own = np.array([0.2, 0.7, 1.0])
    np.testing.assert_array_equal(with_prior(own, [None, None, None], 0.5), own)
    np.testing.assert_array_equal(with_prior(own, [0.1, 0.9, 0.5], 0.0), own)
    assert np.isfinite(with_prior(own, [0.0, 1.0, 1.0], 0.5)).all()


def test_no_candidate_is_no_finding() -> None:
    assert DecodeHybridd("pred", SPACING, PATCH, 0.5)(decode_input([], []))["findings"] == []
    empty = torch.full((1, 1, 4, 4, 4), -torch.inf)
    step = ScoreVolumeToFindingsd("pred", SPACING, 0.5, 8.0, 10, 4.0)
    assert step({"pred": empty, "grid_affine": np.eye(4)})["findings"] == []


def test_candidates_of_a_file_are_the_findings(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "c.json").write_text(json.dumps([Finding((1.0, 2.0, 3.0), detection_score=0.5).as_dict()]))
    data = LoadCandidatesd("candidates")({"candidates": str(tmp_path / "c.json"), "scan": scan})
    assert data["findings"] == [Finding((1.0, 2.0, 3.0), detection_score=0.5)]
    with pytest.raises(InputError, match="E-CANDIDATES"):
        LoadCandidatesd("candidates")({"candidates": str(tmp_path / "none.json"), "scan": scan})


def test_an_unknown_operating_point_is_refused_before_the_work(tmp_path: Path) -> None:
    meta = {"name": "some_bundle", "version": "0.1.0", "weights_sha256": "00ff"}
    with pytest.raises(InputError, match=r"E-CONFIG.*operating point: wrong \(expected balanced\)"):
        WriteFindingsd(str(tmp_path), meta, "wrong", {"balanced": 0.5}, torch.device("cpu"))


def test_results_of_a_bundle_on_its_own_are_written(tmp_path: Path, scan: Scan) -> None:
    meta = {"name": "some_bundle", "version": "0.1.0", "weights_sha256": "00ff"}
    write = WriteFindingsd(str(tmp_path), meta, "balanced", {"balanced": 0.5}, torch.device("cpu"))
    write({"scan": scan, "findings": [Finding((1.0, 2.0, -230.0), 5.0, 0.9, 0.7)]})
    document = json.loads((tmp_path / "1.2.3" / "nodules.json").read_text())
    assert len(document["findings"]) == 1
    assert document["software"]["bundles"] == {"some_bundle": "0.1.0"}
    assert json.loads((tmp_path / "1.2.3" / "run.json").read_text())["weights_sha256"] == {"some_bundle": "00ff"}
