# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.inferers import Inferer
from small_cases import ready
from torch import Tensor, nn

from lungcad.errors import InputError
from lungcad.papers.dou2017.inference import LungFCNInferer
from lungcad.papers.dou2017.network import CandidateFCN
from lungcad.papers.inferers import CropInferer, PrecisionInferer
from lungcad.papers.peaks import IndexMap
from lungcad.papers.yao2018.inference import LungUNetInferer
from lungcad.papers.yao2018.network import SimplifiedUNet


@pytest.fixture
def network() -> CandidateFCN:
    return CandidateFCN((2, 3, 4), head_channels=5, init_std=0.2).eval()


def inferer(gate: float | None, tile: tuple[int, int, int]) -> LungFCNInferer:
    return LungFCNInferer(gate, tile, precision="float32")


def random_lungs(size: tuple[int, ...]) -> Tensor:
    """About half of the volume, in lumps."""
    coarse = torch.rand(1, 1, *(n // 6 + 1 for n in size)) > 0.5
    return torch.nn.functional.interpolate(coarse.float(), size, mode="nearest")[0, 0] > 0


@pytest.mark.parametrize("size", [(30, 30, 10), (53, 47, 19), (60, 41, 24)])
@pytest.mark.parametrize("tile", [(5, 7, 3), (48, 48, 40), (1, 16, 16)])
def test_tiled_equals_whole_network(network: CandidateFCN, size: tuple[int, ...], tile: tuple[int, int, int]) -> None:
    image, lungs = torch.rand(1, 1, *size), torch.ones(size, dtype=torch.bool)
    with torch.no_grad():
        logits = network(image)[0]
    score = inferer(None, tile)(image, network, lungs)
    torch.testing.assert_close(score[0, 0], logits[1] - logits[0], atol=1e-5, rtol=1e-4)


def test_scores_in_lungs_of_any_shape_equal_the_whole_networks(network: CandidateFCN) -> None:
    image = torch.rand(1, 1, 61, 50, 23)
    lungs = random_lungs((61, 50, 23))
    with torch.no_grad():
        logits = network(image)[0]
    score = inferer(None, (7, 5, 6))(image, network, lungs)[0, 0]
    done = score.isfinite()
    assert 0.2 < done.float().mean() < 0.9
    torch.testing.assert_close(score[done], (logits[1] - logits[0])[done], atol=1e-5, rtol=1e-4)
    assert (score[~done] == -torch.inf).all()


def test_gate_only_removes(network: CandidateFCN) -> None:
    image = torch.rand(1, 1, 48, 44, 20)
    lungs = torch.ones(48, 44, 20, dtype=torch.bool)
    full = inferer(None, (9, 9, 9))(image, network, lungs)
    gated = inferer(0.5, (9, 9, 9))(image, network, lungs)
    left = gated.isfinite()
    assert 0.2 < left.float().mean() < 0.8
    torch.testing.assert_close(gated[left], full[left], atol=1e-5, rtol=1e-4)


def test_no_lung_no_score_and_no_network_call() -> None:
    nowhere = torch.zeros(32, 32, 12, dtype=torch.bool)
    score = inferer(None, (9, 9, 9))(torch.rand(1, 1, 32, 32, 12), nn.Module(), nowhere)
    assert score.shape[2:] == IndexMap().outputs((32, 32, 12))
    assert (score == -torch.inf).all()


@pytest.fixture
def unet() -> SimplifiedUNet:
    return ready(SimplifiedUNet((2, 3, 4)))


def lungs_of_size(*sides: int) -> Tensor:
    lungs = torch.zeros(sides, dtype=torch.bool)
    lungs[7:-9, 6:-5, 9:-8] = True
    return lungs


def in_slabs(slab: int, context: int = 4) -> LungUNetInferer:
    return LungUNetInferer(context, slab, "float32")


@pytest.mark.parametrize("slab", [8, 20, 32])
def test_slabs_equal_the_whole_box(unet: SimplifiedUNet, slab: int) -> None:
    image, lungs = torch.rand(1, 1, 30, 27, 120), lungs_of_size(30, 27, 120)
    torch.testing.assert_close(in_slabs(slab)(image, unet, lungs), in_slabs(1000)(image, unet, lungs))


def test_box_is_what_the_network_makes_of_it_and_beyond_nothing_is_scored(unet: SimplifiedUNet) -> None:
    image, lungs = torch.rand(1, 1, 33, 31, 64), lungs_of_size(33, 31, 64)
    score = in_slabs(1000)(image, unet, lungs)
    assert score.shape == (1, 1, 16, 15, 32)
    low, high = (2, 2, 4), (30, 30, 60)  # 3, 2 and 5 made even; 28, 30 and 60, sides made multiples of four
    expected = unet(image[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]])
    torch.testing.assert_close(score[0, 0, 1:15, 1:15, 2:30], expected[0, 0], atol=1e-3, rtol=1e-3)
    assert score.isfinite().sum() == 14 * 14 * 28


def test_lungs_that_touch_the_images_border_are_scored_to_the_border(unet: SimplifiedUNet) -> None:
    image = torch.rand(1, 1, 22, 18, 26)
    score = in_slabs(1000)(image, unet, torch.ones(22, 18, 26, dtype=torch.bool))
    assert score.shape == (1, 1, 11, 9, 13)
    assert score.isfinite().all()


def test_fast_path_of_the_unet_is_near_float32(unet: SimplifiedUNet) -> None:
    image, lungs = torch.rand(1, 1, 32, 32, 32), lungs_of_size(32, 32, 32)
    exact, fast = (LungUNetInferer(4, 320, p)(image, unet, lungs) for p in ("float32", "bfloat16"))
    done = exact.isfinite()
    assert (exact[done] - fast[done]).abs().mean() < 0.02 * exact[done].std()
    assert not torch.equal(exact[done], fast[done])


class BrightnessTimesDiameter(nn.Module):
    def forward(self, x: Tensor, diameter: Tensor) -> Tensor:
        return (x.mean(dim=(1, 2, 3, 4)) * diameter)[:, None]


def test_every_crop_gets_its_own_diameter() -> None:
    crops, diameters = torch.rand(5, 1, 4, 4, 4), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    output = CropInferer(2, "float32", mirror=[[], [0]])(
        crops, BrightnessTimesDiameter(), diameters=diameters, lungs=torch.ones(1)
    )
    torch.testing.assert_close(output[:, 0], crops.mean(dim=(1, 2, 3, 4)) * diameters)


def crop_network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 3, 3), nn.BatchNorm3d(3), nn.Flatten(), nn.Linear(3 * 4 * 4 * 3, 6)).eval()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_crops_in_batches_equal_one_batch(batch_size: int) -> None:
    network, crops = crop_network(), torch.rand(7, 1, 6, 6, 5)
    with torch.no_grad():
        expected = network(crops)
    torch.testing.assert_close(CropInferer(batch_size, "float32")(crops, network), expected)


class CentreOfBrightness(nn.Module):
    """Sum, then the first moments about the middle: an even output and three odd ones."""

    def forward(self, x: Tensor) -> Tensor:
        axes = [torch.arange(n) - (n - 1) / 2 for n in x.shape[2:]]
        moments = [(x * axis.reshape([-1 if a == n else 1 for a in range(3)])).sum(dim=(1, 2, 3, 4))
                   for n, axis in enumerate(axes)]  # fmt: skip
        return torch.stack([x.sum(dim=(1, 2, 3, 4)), *moments], dim=1)


def test_averaging_over_mirrored_crops_turns_directions_back() -> None:
    crops = torch.rand(5, 1, 6, 8, 4)
    every = [[], [0], [1], [2], [0, 1, 2]]
    mirrored = CropInferer(2, "float32", mirror=every, vector_channels=[1, 2, 3])
    plain = CropInferer(5, "float32")
    torch.testing.assert_close(mirrored(crops, CentreOfBrightness()), plain(crops, CentreOfBrightness()))
    lopsided = nn.Sequential(nn.Flatten(), nn.Linear(6 * 8 * 4, 4))
    assert not torch.allclose(mirrored(crops, lopsided), plain(crops, lopsided), atol=1e-3)


def test_volumes_of_mirrored_crops_are_mirrored_back() -> None:
    crops = torch.rand(5, 1, 6, 8, 4)
    mirrored = CropInferer(2, "float32", mirror=[[], [0], [1, 2]])
    torch.testing.assert_close(mirrored(crops, nn.AvgPool3d(3, 1, 1)), nn.AvgPool3d(3, 1, 1)(crops))


@pytest.mark.parametrize(
    ("network", "inferer", "image", "more"),
    [
        (nn.Conv2d(1, 2, 3), CropInferer(), (3, 1, 8, 8), {}),
        (CandidateFCN((2, 3, 4), 5).eval(), inferer(None, (5, 7, 3)), (1, 1, 34, 34, 12), {"lungs": True}),
        (SimplifiedUNet((2, 3, 4)).eval(), LungUNetInferer(), (1, 1, 32, 32, 32), {"lungs": True}),
    ],
    ids=["crops", "fcn", "unet"],
)  # fmt: skip
def test_a_network_can_be_trained_after_inference(
    network: nn.Module, inferer: Inferer, image: tuple[int, ...], more: dict[str, bool]
) -> None:
    lungs = {name: torch.ones(image[2:], dtype=torch.bool) for name in more}
    inferer(torch.rand(image), network, **lungs)
    network(torch.rand(image)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_no_crop_gives_an_empty_result() -> None:
    output = CropInferer(precision="float32")(torch.zeros(0, 1, 6, 6, 5), crop_network())
    assert output.numel() == 0


def test_unknown_precision_is_refused(network: CandidateFCN) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*float16.*expected auto, float32 or bfloat16"):
        CropInferer(precision="float16")(torch.zeros(1, 1, 6, 6, 5), network)


def test_training_in_bfloat16_gives_float32_outputs_and_gradients_near_those_of_float32(network: CandidateFCN) -> None:
    network.train()
    image = torch.rand(2, 1, 30, 30, 10)
    gradients = []
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        output = PrecisionInferer(precision)(image, network)
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, network(image), atol=0.02, rtol=0.02)
        output[:, 1].sum().backward()
        gradients.append(network.c5.weight.grad.flatten().clone())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.05, atol=0.02)
    assert not torch.equal(gradients[0], gradients[1])  # it did run in another precision


def test_only_crops_that_may_be_nodules_are_mirrored() -> None:
    lopsided = nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 4, 6)).eval()
    crops, every = torch.rand(9, 1, 4, 4, 4), [[], [0], [1, 2]]
    once, all_three = (CropInferer(2, "float32", mirror=sets)(crops, lopsided) for sets in ([[]], every))
    probability = once[:, :2].softmax(dim=1)[:, 1]
    least = float(probability.median())
    mixed = CropInferer(2, "float32", mirror=every, mirror_from=least)(crops, lopsided)
    likely = probability >= least
    torch.testing.assert_close(mixed[likely], all_three[likely])
    torch.testing.assert_close(mixed[~likely], once[~likely])
    assert 0 < likely.sum() < 9
