# SPDX-License-Identifier: Apache-2.0
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged
from small_cases import CPU, ROOT, edit_json, export_weights_to, small_chest, small_volume, write_image
from small_nodules import MeanNetwork

from lungcad.chain.stage import BundleStage
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.geometry import to_world
from lungcad.papers.inferers import CropInferer
from lungcad.papers.mtmrnet.inference import DecodeMalignancyd, FindingSlicesd, LoadedScand, SliceCropper
from lungcad.papers.transforms import prepare_case
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

BUNDLE = "lung_nodule_malignancy_mtmrnet"
SPACING = (0.5, 0.8, 4.0)


def scan(hu: np.ndarray) -> Scan:
    """No lungs in it, and none needed."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-20.0, 30.0, -400.0)
    return Scan(Volume(hu.astype(np.float32), affine, "1.2.3"))


def numbered_slices() -> Scan:
    """Slices of -1000 HU, -990 HU and so on to -710 HU."""
    return scan(np.broadcast_to(10.0 * np.arange(30) - 1000, (40, 50, 30)))


def finding(x: float, y: float, z: float, diameter_mm: float | None, probability: float | None = None) -> Finding:
    """At these indices."""
    a, b, c = to_world(numbered_slices().volume.affine, (x, y, z)).tolist()
    return Finding((a, b, c), diameter_mm, 0.9, probability)


def cropper(size: int = 16, crop: int = 12) -> SliceCropper:
    return SliceCropper((-1000, -710), (0, 0, 0), crop_factor=2.0, size=size, crop=crop)


def step(most: int = 99) -> FindingSlicesd:
    return FindingSlicesd("image", cropper(), most, least_probability=0.1)


def test_each_finding_gets_the_slices_that_enclose_it() -> None:
    findings = [
        finding(20, 25, 10.0, 12.0),  # 6 mm = 1.5 slices: 9 to 11
        finding(20, 25, 15.0, None, 0.9),  # no diameter
        finding(20, 25, 15.0, 12.0, 0.099),  # improbable
        finding(20, 25, 20.0, 20.0, 0.1),  # as probable as it must be; 2.5 slices: 18 to 22
        finding(20, 25, 3.2, 1.0, 0.5),  # thinner than a slice
    ]
    data = step(most=3)({"image": None, "scan": numbered_slices(), "findings": findings})
    assert data["slice_counts"] == [3, 0, 0, 3, 1]
    assert data["findings"] == findings
    assert data["image"].shape == (7, 3, 12, 12)
    seen = data["image"].mean(dim=(1, 2, 3)) / 255 * 29  # black is slice 0, white is slice 29
    torch.testing.assert_close(seen, torch.tensor([9.0, 10, 11, 18, 20, 22, 3]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("axis", "spacing"), [(0, 0.5), (1, 0.8)])
def test_the_square_measures_diameters_in_the_patient(axis: int, spacing: float) -> None:
    ramp = np.moveaxis(np.broadcast_to(5.0 * np.arange(40) - 1000, (40, 30, 40)), -1, axis)
    place = [20.0, 20.0, 10.0]
    data = step()({"image": None, "scan": scan(ramp), "findings": [finding(*place, 8.0)]})
    hu = data["image"][0, 0] / 255 * 290 - 1000
    index = (hu + 1000) / 5
    along = index[0] if axis == 0 else index[:, 0]  # columns to the left, rows to the back
    # the square's 16 pixels are 2 diameters = 16 mm: 1 mm each; 12 are shown, from -5.5 to 5.5 mm of the centre
    expected = 20 + (torch.arange(12) - 5.5) / spacing
    torch.testing.assert_close(along, expected, atol=1e-3, rtol=0)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def decode_input() -> dict:
    """Three findings of 2, 0 and 1 slices."""
    output = torch.tensor([
        [0.75, 0.25, 0.5, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 0.75, 0.5, 1.0, 1.0, 0.0, 0.5, 0.0, 1.0],
        [0.1, *[0.5] * 8],
    ]).logit(eps=1e-7)  # fmt: skip
    findings = [finding(1, 1, 1, 8.0, 0.8), finding(2, 2, 2, None, 0.9), finding(3, 3, 3, 5.0, 0.7)]
    return {"pred": output, "slice_counts": [2, 0, 1], "findings": findings}


def test_a_nodule_is_the_mean_over_its_slices_on_lidcs_scales() -> None:
    given = decode_input()
    first, second, third = DecodeMalignancyd("pred", temperature=1.0)(given)["findings"]
    assert first.malignancy_probability == pytest.approx((0.75 + 0.5) / 2)  # of probabilities, not of logits: 0.634
    expected = {
        "subtlety": 3.0,  # 1 + 4 * (0.25 + 0.75) / 2
        "internalStructure": 2.5,  # of 1 to 4: 1 + 3 * 0.5
        "calcification": 6.0,  # of 1 to 6
        "sphericity": 5.0,
        "margin": 1.0,
        "lobulation": 2.0,  # 1 + 4 * 0.25
        "spiculation": 1.0,
        "texture": 3.0,
    }
    assert list(first.attributes) == list(ATTRIBUTES)
    assert first.attributes == pytest.approx(expected, abs=1e-5)
    assert second.malignancy_probability is None and second.attributes is None
    assert third.malignancy_probability == pytest.approx(0.1)
    assert third.attributes["calcification"] == pytest.approx(3.5)  # 1 + 5 * 0.5
    for finding_in, finding_out in zip(given["findings"], (first, second, third), strict=True):  # all else stays
        assert finding_out.center_lps_mm == finding_in.center_lps_mm
        assert (finding_out.diameter_mm, finding_out.detection_score, finding_out.nodule_probability) == (
            finding_in.diameter_mm, finding_in.detection_score, finding_in.nodule_probability,
        )  # fmt: skip


def test_temperature_divides_the_logits_and_the_shift_is_added() -> None:
    findings = DecodeMalignancyd("pred", temperature=2.0)(decode_input())["findings"]
    # log(1 / 9) / 2 = log(1 / 3): a quarter
    assert findings[2].malignancy_probability == pytest.approx(0.25)
    shifted = DecodeMalignancyd("pred", temperature=2.0, shift=math.log(3))(decode_input())["findings"]
    assert shifted[2].malignancy_probability == pytest.approx(0.5)


@pytest.mark.parametrize("findings", [[], [finding(1, 2, 3, None), finding(1, 2, 3, 9.0, 0.01)]])
def test_nothing_to_look_at_goes_through(findings: list[Finding]) -> None:
    data = step()({"image": None, "scan": numbered_slices(), "findings": findings})
    assert data["image"].shape == (0, 3, 12, 12)
    data["pred"] = CropInferer(precision="float32")(data["image"], MeanNetwork())
    assert DecodeMalignancyd("pred", 1.0)(data)["findings"] == findings


def test_slices_go_through_the_inferer_in_batches() -> None:
    data = step()({"image": None, "scan": numbered_slices(), "findings": [finding(20, 25, 15, 40.0)]})
    # 20 mm = 5 slices: 10 to 20; slice n is n / 29 * 255 grey, its logit is that / 128
    data["pred"] = CropInferer(4, "float32")(data["image"], MeanNetwork())
    (found,) = DecodeMalignancyd("pred", 1.0)(data)["findings"]
    logits = np.arange(10, 21) / 29 * 255 / 128
    assert found.malignancy_probability == pytest.approx((1 / (1 + np.exp(-logits))).mean(), abs=1e-5)


def test_loaded_images_become_a_scan_and_a_shared_one_stays(tmp_path: Path) -> None:
    hu, affine = small_chest()
    path = write_image(tmp_path / "scan.nii.gz", hu, affine)
    image = LoadImaged("image", reader="lungcad.reading.monai_reader.CTSeriesReader")({"image": str(path)})["image"]
    made = LoadedScand("image")({"image": image})["scan"]
    np.testing.assert_allclose(made.volume.hu, hu, atol=1e-3)
    np.testing.assert_allclose(made.volume.affine, affine, atol=1e-3)
    shared = numbered_slices()
    assert LoadedScand("image")({"image": None, "scan": shared})["scan"] is shared


def test_a_stage_without_lungs_gives_its_network_the_image_alone() -> None:
    image = torch.rand(2, 3, 4, 4)
    prepared = prepare_case({"image": image, "slice_counts": [2]}, CPU, non_blocking=False)
    assert prepared[0] is image
    assert prepared[1:] == (None, (), {})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> BundleStage:
    """The bundle as it is, with another network."""
    root = tmp_path_factory.mktemp("bundles") / BUNDLE
    shutil.copytree(ROOT / "bundles" / BUNDLE / "configs", root / "configs")
    network = {"network_def": {"_target_": "small_nodules.MeanNetwork"}}
    edit_json(root / "configs" / "inference.json", lambda config: config.update(network))
    export_weights_to(root, MeanNetwork())
    overrides = {"window_hu": [-1000, 400], "temperature": 2.0, "logit_shift": 0.0, "least_probability": 0.1,
                 "precision": "float32"}  # fmt: skip
    return BundleStage(root, CPU, overrides)


def test_the_bundle_is_a_stage_that_needs_no_lungs(stage: BundleStage) -> None:
    body = scan(np.full((40, 50, 30), -300.0))
    given = [finding(20, 25, 15, None), finding(20, 25, 15, 10.0, 0.5), finding(20, 25, 15, 10.0, 0.05)]
    found = stage(body, given)
    assert [found[0], found[2]] == [given[0], given[2]]
    # (-300 + 1000) / 1400 * 255 = 127.5, less the first channel's mean; the logit is that / 128, over 2
    expected = 1 / (1 + np.exp(-(127.5 - 103.939) / 128 / 2))
    assert found[1].malignancy_probability == pytest.approx(expected, abs=1e-5)
    assert found[1].attributes == pytest.approx(dict.fromkeys(ATTRIBUTES, 3.0) | {
        "internalStructure": 2.5, "calcification": 3.5})  # fmt: skip
    assert stage(body, []) == []
    assert "lungs" not in vars(body)  # never looked for


def test_a_finding_of_another_stage_is_characterised_where_it_lies(stage: BundleStage) -> None:
    volume = small_volume()
    volume.hu[:] = -1000
    volume.hu[:40] = 400  # white to the patient's right
    x, y, z = (to_world(volume.affine, (index, 30, 20)).tolist() for index in (15, 39.5, 65))
    found = stage(Scan(volume), [Finding(tuple(place), 12.0, 0.5, 0.9) for place in (x, y, z)])
    grey = np.array([255, 127.5, 0]) - 103.939
    expected = 1 / (1 + np.exp(-grey / 128 / 2))
    assert [one.malignancy_probability for one in found] == pytest.approx(expected.tolist(), abs=1e-3)
