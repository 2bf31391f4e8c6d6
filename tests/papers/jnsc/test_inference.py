# SPDX-License-Identifier: Apache-2.0
"""The joint network over the lungs of a scan and over crops, and what becomes of its regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import scaled_affine, to_index, to_world
from lungcad.papers.jnsc.inference import ClassifiedRegions, CropJNSCInferer, LungJNSCInferer, nearest_region
from lungcad.papers.jnsc.network import JNSCNet
from lungcad.papers.jnsc.regions import Region, find_regions
from lungcad.papers.jnsc.transforms import ClassifyFindingsd, FindingDiametersd, RegionsToFindingsd, region_mask

WINDOW = 32
AFFINE = scaled_affine(np.diag([1.0, 1.0, 1.0, 1.0]), (-10, 5, 100), (1, 1, 1))


@pytest.fixture(scope="module")
def network() -> JNSCNet:
    torch.manual_seed(3)
    made = JNSCNet((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), features=3)
    nn.init.normal_(made.out.weight)
    nn.init.zeros_(made.out.bias)
    return made.eval()


class Bright(JNSCNet):
    """Segments what is bright, and judges a region by the darkest and the brightest voxel in its box."""

    def __init__(self) -> None:
        super().__init__((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), features=3)

    def segment(self, features: list[Tensor]) -> Tensor:
        return features[0] * 20 - 10

    def features(self, x: Tensor) -> list[Tensor]:
        return [x]

    def forward(self, x: Tensor) -> Tensor:
        return self.segment(self.features(x))

    def classify(self, features: list[Tensor], image: Tensor, boxes: Tensor, voxels: Tensor) -> Tensor:
        logits = []
        for n, box in zip(image.tolist(), boxes.tolist(), strict=True):
            crop = features[0][n, 0, box[0] : box[3], box[1] : box[4], box[2] : box[5]]
            logits.append(torch.stack([crop.min(), crop.max(), torch.tensor(0.5)]) * 4)
        return torch.stack(logits)


def inferer(**options: object) -> LungJNSCInferer:
    return LungJNSCInferer(**{"window": WINDOW, "stride": 16, "precision": "float32"} | options)


def everywhere(image: Tensor) -> Tensor:
    return torch.ones(image.shape[2:], dtype=torch.bool)


def balls(*spheres: tuple[tuple[float, float, float], float], size: tuple[int, ...] = (64, 48, 56)) -> Tensor:
    """A dark image with bright balls."""
    place = np.moveaxis(np.indices(size), 0, -1)
    bright = sum(np.linalg.norm(place - center, axis=-1) <= diameter / 2 for center, diameter in spheres)
    return torch.from_numpy(np.asarray(bright > 0, np.float32))[None, None]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_are_averaged_as_monai_averages_them(network: JNSCNet, batch_size: int) -> None:
    image = torch.rand(1, 1, 64, 48, 80)
    ours = inferer(batch_size=batch_size).probability(image, network, everywhere(image))
    with torch.no_grad():
        reference = sliding_window_inference(image, WINDOW, 1, lambda x: network(x).sigmoid(), overlap=0.5)[0, 0]
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4)


def test_only_windows_with_lung_in_their_middle_are_computed() -> None:
    image = torch.rand(1, 1, 96, 64, 64)
    lungs = torch.zeros(image.shape[2:], dtype=torch.bool)
    lungs[20:24, 20:24, 20:24] = lungs[70:74, 20:24, 20:24] = True
    probability = inferer(batch_size=1).probability(image, Bright(), lungs)
    assert (probability[lungs] > 0).all()
    assert (probability[:, 60:] == 0).all()
    # the box is 4 to 100, 4 to 52, 4 to 52; middles meet at x = 28, 44, 60 and 76, y and z = 28
    assert (probability > 0).sum() == 2 * WINDOW**3  # two windows, apart


def test_regions_in_the_lungs_are_found_where_they_are_and_small_ones_are_not() -> None:
    image = balls(((20.0, 20, 20), 9.0), ((40.0, 30, 40), 5.0), ((20.0, 30, 44), 2.0), ((58.0, 8, 8), 7.0))
    lungs = everywhere(image)
    lungs[48:] = False
    judged = inferer()(image, Bright(), lungs)
    assert [tuple(region.center) for region in judged.regions] == [(20, 20, 20), (40, 30, 40)]
    for region, diameter in zip(judged.regions, (9.0, 5.0), strict=True):
        assert region.diameter == pytest.approx(diameter, abs=0.4)
    # their boxes hold bright and dark voxels: logits 0, 4, 2
    torch.testing.assert_close(judged.classes, torch.tensor([0.0, 4.0, 2.0]).softmax(0).expand(2, 3))


def test_what_one_region_joins_is_told_apart_by_its_cores() -> None:
    """As weights of 99 to 1 leave it: two nodules in one region, one of which makes the network sure."""

    class Halo(Bright):
        def segment(self, maps: list[Tensor]) -> Tensor:
            return torch.where(maps[0] > 0.9, 5.0, torch.where(maps[0] > 0.5, 0.2, -5.0))

    image = 0.7 * balls(((20.0, 20, 20), 14.0), ((30.0, 20, 20), 14.0))
    for place, diameter in (((18.0, 20, 20), 7.0), ((31.0, 20, 20), 5.0)):
        image = torch.maximum(image, balls((place, diameter)))
    regions = inferer(core_threshold=0.9)(image, Halo(), everywhere(image)).regions
    assert [tuple(region.center) for region in regions] == [(18, 20, 20), (31, 20, 20)]
    assert len(inferer()(image, Halo(), everywhere(image)).regions) == 1
    crop = image[..., 8:40, 4:36, 4:36]  # its middle is within the first
    given = CropJNSCInferer(core_threshold=0.9, precision="float32")
    (region,) = given(crop, Halo(), diameters=torch.tensor([12.0])).regions
    assert region.voxels == regions[0].voxels


def test_a_region_at_the_edge_is_classified_in_a_window_inside() -> None:
    image = balls(((2.0, 3, 2), 7.0), size=(24, 48, 40))
    judged = inferer()(image, Bright(), everywhere(image))
    assert len(judged.regions) == 1
    torch.testing.assert_close(judged.classes[0], torch.tensor([0.0, 4.0, 2.0]).softmax(0))


def test_regions_of_the_network_are_those_of_its_probability_and_classes_sum_to_one(network: JNSCNet) -> None:
    image = torch.rand(1, 1, 64, 48, 48)
    judged = inferer(threshold=0.55, max_regions=7)(image, network, everywhere(image))
    assert 0 < len(judged.regions) <= 7
    torch.testing.assert_close(judged.classes.sum(dim=1), torch.ones(len(judged.regions)))
    alone = inferer(threshold=0.55, max_regions=7, classify=False)(image, network, everywhere(image))
    assert [r.box.tolist() for r in alone.regions] == [r.box.tolist() for r in judged.regions]
    assert alone.classes.isnan().all()
    nothing = inferer(threshold=1.0)(image, network, everywhere(image))
    assert nothing.regions == []
    assert nothing.classes.shape == (0, 3)


def test_class_logits_are_the_mean_over_mirrored_windows(network: JNSCNet) -> None:
    image = torch.rand(1, 1, 64, 48, 48)
    sets: list[list[int]] = [[], [0, 1], [2]]
    by_set = [
        inferer(threshold=0.55, mirror=[axes])(image, network, everywhere(image)).classes.log() for axes in sets
    ]
    assert (by_set[0] - by_set[1]).abs().max() > 1e-4
    mean = torch.stack(by_set).mean(dim=0).softmax(dim=1)
    together = inferer(threshold=0.55, mirror=sets)(image, network, everywhere(image)).classes
    torch.testing.assert_close(together, mean, atol=1e-5, rtol=1e-4)
    nodule = 1 - by_set[0].exp()[:, 2]
    limit = float(nodule.median())
    some = inferer(threshold=0.55, mirror=sets, mirror_from=limit)(image, network, everywhere(image)).classes
    expected = torch.where((nodule >= limit)[:, None], mean, by_set[0].exp())
    torch.testing.assert_close(some, expected, atol=1e-5, rtol=1e-4)


def test_a_mirrored_window_has_its_region_where_the_window_shows_it() -> None:
    image = balls(((9.0, 33, 20), 7.0), ((40.0, 10, 30), 11.0)) * 0.9 + 0.05
    plain, mirrored = (inferer(mirror=m)(image, Bright(), everywhere(image)) for m in ([[]], [[0, 2], [1]]))
    assert len(plain.regions) == 2
    torch.testing.assert_close(mirrored.classes, plain.classes)


@pytest.mark.parametrize("coverage", [4, 2])
def test_fewer_windows_still_see_all_of_the_lungs(coverage: int) -> None:
    lungs = torch.zeros(96, 80, 112, dtype=torch.bool)
    lungs[9:70, 20:61, 30:100] = True
    image = torch.ones(1, 1, *lungs.shape)
    whole = inferer().probability(image, Bright(), lungs)
    some = inferer(coverage=coverage).probability(image, Bright(), lungs)
    torch.testing.assert_close(some[lungs], whole[lungs])
    assert some[lungs].min() > 0.9


def test_an_impossible_coverage_is_refused() -> None:
    with pytest.raises(InputError, match="coverage is 3"):
        inferer(coverage=3)


def test_bfloat16_is_near_float32(network: JNSCNet) -> None:
    image = torch.rand(1, 1, 48, 48, 48)
    exact, fast = (inferer(precision=p).probability(image, network, everywhere(image)) for p in ("float32", "bfloat16"))
    assert 0 < (exact - fast).abs().mean() < 0.03


def test_crops_give_the_region_nearest_to_their_middle() -> None:
    middle = (WINDOW - 1) / 2
    own, beside = ((middle, middle + 2, middle), 6.0), ((6.0, 6, 6), 9.0)
    crops = torch.cat([balls(*some, size=(WINDOW,) * 3) for some in ((own, beside), (beside,), (beside,))])
    judged = CropJNSCInferer(precision="float32")(
        crops, Bright(), diameters=torch.tensor([6.0, 8.0, torch.nan])
    )
    assert [region is not None for region in judged.regions] == [True, False, False]
    np.testing.assert_allclose(judged.regions[0].center, own[0], atol=0.5)
    torch.testing.assert_close(judged.classes[0], torch.tensor([0.0, 4.0, 2.0]).softmax(0))
    torch.testing.assert_close(judged.classes[1], torch.tensor([0.0, 0.0, 2.0]).softmax(0))  # the box of 8, dark
    assert judged.classes[2].isnan().all()
    assert nearest_region([], 3.0, (8, 8, 8)) is None


def test_without_a_classification_nothing_is_judged() -> None:
    crop, diameters = torch.rand(1, 1, WINDOW, WINDOW, WINDOW), torch.tensor([6.0])
    with_path, without = (JNSCNet((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), features=3, classify=c) for c in (True, False))
    for network, asked in ((with_path, False), (without, True)):
        given = CropJNSCInferer(precision="float32", classify=asked)
        assert given(crop, network, diameters=diameters).classes.isnan().all()
    assert inferer(threshold=0.0)(crop, without, everywhere(crop)).classes.isnan().all()


def a_region(first: tuple[int, int, int], side: int, score: float) -> Region:
    return Region(np.array(first), np.ones((side,) * 3, bool), score)


def test_findings_have_place_size_scores_and_a_mask() -> None:
    regions = [a_region((10, 20, 30), 5, 0.7), a_region((40, 40, 40), 3, 0.9)]
    classes = torch.tensor([[0.2, 0.6, 0.2], [0.05, 0.05, 0.9]])
    spacing = (2.0, 2.0, 2.0)
    affine = AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0])
    step = RegionsToFindingsd("pred", spacing, 10)
    first, second = step({"pred": ClassifiedRegions(regions, classes), "grid_affine": affine})["findings"]
    assert first.center_lps_mm == (-10 + 24, 5 + 44, 100 + 64)
    assert first.volume_mm3 == pytest.approx(125 * 8)
    assert first.diameter_mm == pytest.approx(np.cbrt(6 / np.pi * 1000))
    assert (first.detection_score, first.nodule_probability) == pytest.approx((0.7, 0.8))
    assert first.malignancy_probability == pytest.approx(0.75)
    assert second.nodule_probability == pytest.approx(0.1)
    made = step({"pred": ClassifiedRegions(regions, classes), "grid_affine": affine})
    mask = made["findings"][1].mask
    assert mask.volume_mm3 == second.volume_mm3 == pytest.approx(27 * 8)
    np.testing.assert_allclose(to_world(mask.affine, (1, 1, 1)), second.center_lps_mm)
    assert Finding.from_dict(first.as_dict()) == first  # plain JSON, whatever the mask


def test_without_the_classification_only_the_segmentation_speaks() -> None:
    regions = [a_region((10, 20, 30), 5, 0.7), a_region((12, 20, 30), 3, 0.9), a_region((40, 40, 40), 3, 0.5)]
    judged = ClassifiedRegions(regions, torch.full((3, 3), torch.nan))
    found = RegionsToFindingsd("pred", [1.0], 2)({"pred": judged, "grid_affine": AFFINE})["findings"]
    assert [f.detection_score for f in found] == [0.9, 0.5]  # the one around the best is suppressed
    assert all(f.nodule_probability is None and f.malignancy_probability is None for f in found)
    only = RegionsToFindingsd("pred", [1.0], 1)({"pred": judged, "grid_affine": AFFINE})
    assert [finding.mask is not None for finding in only["findings"]] == [True]


def test_given_findings_get_malignancy_volume_and_a_mask_at_their_place() -> None:
    findings = [Finding((1.0, 2.0, 3.0), 6.0, 0.9, 0.8), Finding((9.0, 9.0, 9.0), None, 0.5, 0.4, 0.7, {"margin": 2.0})]
    size = (WINDOW,) * 3
    index = to_index(AFFINE, [f.center_lps_mm for f in findings])
    data = {"findings": findings, "grid_affine": AFFINE, "proposals": np.floor(index) + 0.5}
    assert FindingDiametersd([2.0])(data)["diameters"].tolist() == pytest.approx([3.0, np.nan], nan_ok=True)
    region = a_region((14, 14, 14), 4, 0.9)  # its middle is the crop's
    data["pred"] = ClassifiedRegions([region, None], torch.tensor([[0.3, 0.1, 0.6], [torch.nan] * 3]))
    data["findings"] = [replace(f, mask=region_mask(region, AFFINE)) for f in findings]  # of a stage before
    made = ClassifyFindingsd("pred", size)(data)
    first, second = made["findings"]
    assert (first.center_lps_mm, first.diameter_mm, first.nodule_probability) == ((1.0, 2.0, 3.0), 6.0, 0.8)
    assert (first.malignancy_probability, first.volume_mm3) == pytest.approx((0.25, 64.0))
    assert (second.malignancy_probability, second.volume_mm3, second.attributes) == (None, None, None)
    assert first.mask is not None
    np.testing.assert_allclose(to_world(first.mask.affine, (1.5, 1.5, 1.5)), to_world(AFFINE, data["proposals"][0]))
    assert second.mask is None
    for least, known in ((0.8, True), (0.81, False)):  # of what is improbable only the malignancy is left out
        (again, _) = ClassifyFindingsd("pred", size, least)(data)["findings"]
        assert (again.malignancy_probability is not None, again.volume_mm3) == (known, first.volume_mm3)


def test_regions_that_touch_are_one() -> None:
    assert len(find_regions(balls(((20.0, 20, 20), 8.0), ((27.0, 20, 20), 8.0))[0, 0].numpy())) == 1
