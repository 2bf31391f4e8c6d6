# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from measured_ball import ball_crop

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.papers.unet.crops import INSIDE, NODULE, OUTLINED, load_crops, save_crop
from lungcad.papers.unet.inference import MeasureFindingsd, cube_spacing_mm
from lungcad.papers.unet.scoring import MeasurementScorer, kappa, nodule_row, texture_kind
from lungcad.papers.unet.sources import nodule_voxels, without_outline
from lungcad.papers.unet.training import CropFindings, NoduleCubes

WINDOW = (-1000.0, 400.0)


def test_crops_are_read_as_they_were_written(tmp_path: Path) -> None:
    crop = ball_crop()
    save_crop(tmp_path / "outlined", crop)
    (read,) = load_crops(tmp_path)
    for name in ("hu", "label", "box", "center", "texture"):
        assert np.array_equal(getattr(read, name), getattr(crop, name))
    assert (read.name, read.patient_id, read.diameter_mm) == (crop.name, "LIDC-IDRI-0001", 8.0)
    assert read.volume_mm3(OUTLINED) > read.volume_mm3(INSIDE)
    with pytest.raises(InputError, match="no outlined nodule"):
        load_crops(tmp_path / "outlined")


def test_the_outline_is_no_part_of_the_nodule_unless_it_is_filled() -> None:
    """A square of 5 pixels with its outline around it; one pixel of the outline is nearly full."""
    mask = np.zeros((11, 11, 3), bool)
    mask[2:9, 2:9, 1] = True
    hu = np.full(mask.shape, -850.0)
    hu[3:8, 3:8, 1], hu[2, 5, 1], hu[8, 5, 1] = 0.0, -100.0, -700.0
    assert np.array_equal(np.argwhere(without_outline(mask)).min(axis=0), (3, 3, 1))
    nodule = nodule_voxels(hu, mask)
    assert nodule.sum() == 26 and nodule[2, 5, 1] and not nodule[8, 5, 1]


def test_cubes_are_repeatable_off_centre_and_show_the_nodule() -> None:
    cubes = NoduleCubes([ball_crop()], 40, 0.7, 2.0, WINDOW, length=8, seed=3)
    cubes.set_epoch(2)
    sample, again = cubes[1], cubes[1]
    assert torch.equal(sample["image"], again["image"])
    assert not torch.equal(sample["image"], cubes[2]["image"])
    assert sample["image"].shape == sample["label"].shape == (1, 40, 40, 40)
    assert sample["image"].min() >= 0 and sample["image"].max() <= 1
    place = (sample["label"][0] > 0.5).nonzero().float().mean(dim=0)
    assert 0 < float((place - 19.5).norm()) * 0.7 < 3.5
    inside = sample["image"][0][sample["label"][0] > 0.9].mean()
    assert inside > sample["image"][0][sample["label"][0] < 0.1].mean() + 0.3


def test_without_augmentation_the_label_has_the_nodules_volume() -> None:
    crop = ball_crop()
    (sample,) = [NoduleCubes([crop], 40, 0.7, 2.0, WINDOW, augment=False, diameter_jitter=0.0)[0]]
    assert float(sample["label"].sum()) * 0.7**3 == pytest.approx(crop.volume_mm3(NODULE), rel=0.03)


def test_a_large_nodule_gets_larger_voxels() -> None:
    assert cube_spacing_mm(None, 40, 0.7, 2.0) == cube_spacing_mm(14.0, 40, 0.7, 2.0) == 0.7
    assert cube_spacing_mm(28.0, 40, 0.7, 2.0) == pytest.approx(1.4)


def test_a_perfect_network_is_scored_as_one(tmp_path: Path) -> None:
    crops = [ball_crop(3.0), ball_crop(6.0, "LIDC-IDRI-0002_R_1"), ball_crop(4.0, "LIDC-IDRI-0003_R_1", readings=0)]
    scorer = MeasurementScorer(str(tmp_path / "out"), "balls")
    scorer.start()
    decode = MeasureFindingsd("pred", 0.5, "net 1")
    dataset = CropFindings(crops, lambda d: d, 40, 0.7, 2.0)
    for number in range(len(crops)):
        data = dataset[number]
        share = (data["image"] + 850) / 880
        scorer.add(decode(data | {"pred": torch.logit(share.clamp(0.01, 0.99))}), {})
    scorer.write()
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    every = figures["nodule"]["all"]
    assert (every["nodules"], every["measured"], every["diameter_within_1_mm"]) == (3, 3, 1.0)
    assert every["mean_dice"] > 0.9 and abs(every["median_volume_error_percent"]) < 10
    assert figures["with_outline"]["all"]["median_volume_error_percent"] < -30
    assert figures["nodule"]["5 to 8 mm"]["nodules"] == 1 and figures["nodule"]["12 mm or more"]["nodules"] == 1
    assert figures["effective_less_luna16_mm"]["within_1_mm"] == 1
    assert figures["kind"]["true_by_called"][2] == [0, 0, 2]  # nobody read the third
    assert figures["calcification"] == {"hit": 0, "missed": 0, "false": 0, "none": 2}
    assert len((tmp_path / "out" / "measurements.csv").read_text().splitlines()) == 4


def test_a_nodule_without_a_mask_has_dice_0_and_no_error() -> None:
    row = nodule_row(ball_crop(), Finding((24.0, 24.0, 24.0), 8.0))
    assert (row["dice_nodule"], row["volume_mm3"], row["kind"]) == (0.0, None, None)


def test_kappa_and_texture_by_hand() -> None:
    assert kappa(np.diag([3, 4, 5])) == 1
    assert kappa(np.array([[2, 1, 0], [1, 1, 0], [0, 0, 5]])) == pytest.approx((0.8 - 0.38) / 0.62)
    assert kappa(np.diag([0, 0, 5])) is None
    assert [texture_kind(score) for score in (1.0, 2.4, 2.5, 3.4, 3.5, 5.0, np.nan)] == [
        "non-solid", "non-solid", "part-solid", "part-solid", "solid", "solid", None
    ]  # fmt: skip
    assert replace(ball_crop(), texture=np.array([])).texture.size == 0
