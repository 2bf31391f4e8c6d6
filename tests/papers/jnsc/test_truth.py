# SPDX-License-Identifier: Apache-2.0
"""Malignancy of the readers' regions."""

import numpy as np
import torch
from monai.transforms import Compose

from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.truth import OutlinedNodulesd, TrueRegionInferer, WithMasksd
from lungcad.papers.transforms import CandidateCropsd
from lungcad.training.cases import Case, Sphere
from lungcad.training.evaluation import CaseDataset

SIZE = (32, 32, 32)


def outlined_case() -> Case:
    """Two outlined nodules 12 voxels apart and one that nobody outlined; each outlined voxel is 100 HU."""
    masks = np.zeros((60, 60, 60), np.uint8)
    masks[10:16, 20:24, 30:35], masks[28:30, 20:24, 30:35] = 1, 3
    hu = np.where(masks, 100, -700).astype(np.int16)
    places = [(12.5, 21.5, 32.0), (50.0, 50.0, 50.0), (28.5, 21.5, 32.0)]
    nodules = [Sphere(np.array(place), 6.0) for place in places]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Case("c", hu, np.ones(hu.shape, bool), (1.0, 1.0, 1.0), nodules, masks=masks, affine=affine)


def crops(case: Case) -> dict:
    transforms = [OutlinedNodulesd(), CandidateCropsd("image", SIZE), WithMasksd(SIZE)]
    return CaseDataset([case], Compose(transforms))[0]


def test_crops_carry_the_mask_of_their_own_nodule_at_its_place() -> None:
    case = outlined_case()
    item = crops(case)
    image, mask = item["image"].unbind(dim=1)
    assert [tuple(f.center_lps_mm) for f in item["findings"]] == [(-12.5, -21.5, 32.0), (-28.5, -21.5, 32.0)]
    assert mask.sum(dim=(1, 2, 3)).tolist() == [6 * 4 * 5, 2 * 4 * 5]
    assert (image[mask > 0] == 100).all()
    # the crops begin at 12.5 - 15.5 and 28.5 - 15.5: one and three columns of the neighbour are seen, not in the mask
    assert (image == 100).sum(dim=(1, 2, 3)).tolist() == [120 + 20, 40 + 60]


@torch.no_grad()
def test_the_true_region_is_classified_by_its_box_and_size() -> None:
    torch.manual_seed(0)
    network = JNSCNet((2, 3, 4, 5, 6), (1,) * 5, features=3).eval()
    inputs = crops(outlined_case())["image"]
    found = TrueRegionInferer("float32")(inputs, network)
    assert [region.voxels for region in found.regions if region is not None] == [120, 40]
    boxes = [np.argwhere(crop[1].numpy()) for crop in inputs]
    box = torch.tensor(np.array([[*where.min(axis=0), *(where.max(axis=0) + 1)] for where in boxes]))
    maps = network.features(inputs[:, :1])
    logits = network.classify(maps, torch.arange(2), box, torch.tensor([120, 40]))
    torch.testing.assert_close(found.classes, logits.softmax(dim=1), atol=1e-4, rtol=1e-3)  # fused layers


def test_a_case_without_outlines_has_nothing_to_classify() -> None:
    case = outlined_case()
    case.masks = None
    item = crops(case)
    assert item["image"].shape == (0, 2, *SIZE)
    found = TrueRegionInferer("float32")(item["image"], JNSCNet((2, 3, 4, 5, 6), (1,) * 5, features=3).eval())
    assert (found.regions, tuple(found.classes.shape)) == ([], (0, 3))
