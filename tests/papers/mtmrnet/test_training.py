# SPDX-License-Identifier: Apache-2.0
import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data.utils import no_collation
from monai.engines import SupervisedEvaluator
from small_cases import CPU
from small_nodules import MeanNetwork, rated
from torch.utils.data import DataLoader

from lungcad.errors import InputError
from lungcad.papers.inferers import CropInferer
from lungcad.papers.mtmrnet.inference import DecodeMalignancyd, SliceCropper
from lungcad.papers.mtmrnet.loss import MTMRLoss
from lungcad.papers.mtmrnet.nodules import RatedNodule
from lungcad.papers.mtmrnet.scoring import NoduleScorer
from lungcad.papers.mtmrnet.training import SliceSamples, WholeNodules
from lungcad.papers.transforms import prepare_case
from lungcad.scores.predictions import read_predictions

DRAWS = 2000


def cropper(size: int = 4, crop: int = 4) -> SliceCropper:
    """-1000 HU is 0, 1000 HU is 255."""
    return SliceCropper((-1000, 1000), (0, 0, 0), crop_factor=2.0, size=size, crop=crop)


def hu(image: torch.Tensor) -> torch.Tensor:
    """What the cropper saw."""
    return image[0] / 255 * 2000 - 1000


def slices(*levels: float) -> np.ndarray:
    """Each slice of one HU."""
    return np.broadcast_to(np.array(levels)[:, None, None], (len(levels), 21, 21))


FOUR = (
    rated("a", (1,), slices(100)), rated("b", (2,), slices(200)),
    rated("c", (4,), slices(310, 320, 330, 340, 350, 360)), rated("d", (5,), slices(400)),
)  # fmt: skip
"""Two benign and two malignant nodules; the HU tell which one, and which slice of c."""


def drawn(share: float) -> Counter[int]:
    samples = SliceSamples(FOUR, cropper(), DRAWS, malignant_share=share)
    assert len(samples) == DRAWS
    return Counter(round(hu(samples[n]["image"]).mean().item()) for n in range(DRAWS))


def near(share: float, trials: int) -> object:
    """Within four standard errors."""
    return pytest.approx(share * trials, abs=4 * (share * (1 - share) * trials) ** 0.5)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_classes_then_nodules_then_slices_are_drawn_evenly(share: float) -> None:
    met = drawn(share)
    assert set(met) == {100, 200, 310, 320, 330, 340, 350, 360, 400}
    malignant = sum(count for level, count in met.items() if level > 300)
    assert malignant == near(share, DRAWS)
    assert met[100] == near(0.5, DRAWS - malignant)
    assert met[400] == near(0.5, malignant)  # as often as the one of six slices
    for level in (310, 320, 330, 340, 350, 360):
        assert met[level] == near(1 / 6, malignant - met[400])


def test_every_slice_has_its_nodules_scores_from_0_to_1() -> None:
    nodules = [
        rated("a", (1, 2), slices(100), attributes=(1, 1, 1, 1, 1, 1, 1, 1)),
        rated("b", (5, 4, 5), slices(300, 310), attributes=(5, 4, 6, 5, 5, 5, 5, 2)),
    ]
    samples = SliceSamples(nodules, cropper(), 30)
    met = set()
    for sample in (samples[n] for n in range(30)):
        level = round(hu(sample["image"]).mean().item())
        met.add(level)
        # (1.5 - 1) / 4; (14 / 3 - 1) / 4 and (2 - 1) / 4
        expected = [0.125] + [0.0] * 8 if level == 100 else [11 / 12] + [1.0] * 7 + [0.25]
        torch.testing.assert_close(sample["label"], torch.tensor(expected))
    assert met == {100, 300, 310}


def jittered(**options: float) -> SliceSamples:
    ramp = np.broadcast_to(30 * np.arange(41)[:, None], (41, 31))[None]
    nodules = [rated("a", (1,), ramp), rated("b", (5,), ramp)]
    return SliceSamples(nodules, cropper(16, 12), 20, diameter_jitter=0.15, center_jitter_mm=0.7, **options)


def test_every_item_is_a_function_of_seed_epoch_and_index() -> None:
    samples, again, other = jittered(seed=3), jittered(seed=3), jittered(seed=4)
    first = [samples[n]["image"] for n in range(20)]
    for n in reversed(range(20)):  # in whatever order
        assert torch.equal(again[n]["image"], first[n])
    assert len({image.numpy().tobytes() for image in first}) == 20
    samples.set_epoch(1)
    for n in range(20):
        assert not torch.equal(samples[n]["image"], first[n])
        assert not torch.equal(other[n]["image"], first[n])
    samples.set_epoch(0)
    assert all(torch.equal(samples[n]["image"], first[n]) for n in range(20))


PIXEL_MM, DIAMETER_MM = (0.5, 0.8), 8.0
CENTER, SIDE = 30.0, 2.0 * DIAMETER_MM
"""The centre of 61 x 61 pixels; of the square the cropper shows 4 pixels, whose centres are 3 / 4 of a side apart."""


def measured(axis: int, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """Sides of 300 squares and how far off their centres lie along one axis, in mm."""
    ramp = np.broadcast_to(20 * np.arange(61)[:, None] - 600, (61, 61))
    field = (ramp if axis == 0 else ramp.T)[None]
    nodules = [rated(name, (score,), field, pixel_mm=PIXEL_MM, diameter_mm=DIAMETER_MM)
               for name, score in (("a", 1), ("b", 5))]  # fmt: skip
    samples = SliceSamples(nodules, cropper(), 300, **options)
    index = np.array([(hu(samples[n]["image"]).numpy() + 600) / 20 for n in range(300)])
    ends = np.ptp(index, axis=(1, 2))  # whichever way the picture was turned
    off = index.mean(axis=(1, 2)) - CENTER
    return ends / (3 / 4) * PIXEL_MM[axis], off * PIXEL_MM[axis]


@pytest.mark.parametrize("axis", [0, 1])
def test_diameter_and_centre_are_off_as_much_as_a_detectors(axis: int) -> None:
    side, off = measured(axis, diameter_jitter=0.25, center_jitter_mm=0.7)
    scale = side / SIDE
    assert 0.8 - 1e-3 < scale.min() < 0.82 and 1.22 < scale.max() < 1.25 + 1e-3  # 1 / 1.25 to 1.25
    assert (scale > 1).mean() == pytest.approx(0.5, abs=4 * 0.5 / 300**0.5)
    assert -0.7 - 1e-2 < off.min() < -0.65 and 0.65 < off.max() < 0.7 + 1e-2
    side, off = measured(axis)
    np.testing.assert_allclose(side, SIDE, rtol=1e-4)
    np.testing.assert_allclose(off, 0, atol=1e-3)


def test_a_jittered_square_stays_one() -> None:
    (rows, _), (columns, _) = (measured(axis, diameter_jitter=0.25) for axis in (0, 1))
    np.testing.assert_allclose(rows, columns, rtol=1e-3)
    assert np.ptp(rows) > 1


def test_a_whole_nodule_is_all_its_slices_cropped_at_the_centre() -> None:
    nodule = rated("c", (4,), slices(310, 320, 330), diameter_mm=9.0)
    whole = WholeNodules([FOUR[0], nodule], cropper(16, 12), 8)
    assert len(whole) == 2
    item = whole[1]
    assert item["image"].shape == (3, 3, 12, 12)
    assert [round(hu(image).mean().item()) for image in item["image"]] == [310, 320, 330]
    assert item["slice_counts"] == [3]
    assert item["nodule"] is nodule
    (found,) = item["findings"]
    assert (found.diameter_mm, found.malignancy_probability) == (9.0, None)
    assert torch.equal(whole[1]["image"], item["image"])


@pytest.mark.parametrize(("most", "seen"), [(5, [100, 110, 120, 130, 140]), (3, [100, 120, 140]), (1, [120])])
def test_slices_of_a_whole_nodule_are_thinned_out(most: int, seen: list[int]) -> None:
    item = WholeNodules([rated(hu=slices(100, 110, 120, 130, 140))], cropper(), most)[0]
    assert [round(hu(image).mean().item()) for image in item["image"]] == seen
    assert item["slice_counts"] == [len(seen)]


def evaluate(nodules: list[RatedNodule], folder: Path, runs: int = 1) -> None:
    """As the bundle's evaluate.json does, with a network that calls what is bright malignant."""
    loader = DataLoader(WholeNodules(nodules, cropper(16, 12), 8), batch_size=None, collate_fn=no_collation)
    evaluator = SupervisedEvaluator(
        device=CPU, val_data_loader=loader, network=MeanNetwork(), prepare_batch=prepare_case, decollate=False,
        inferer=CropInferer(2, "float32"), postprocessing=DecodeMalignancyd("pred", temperature=1.0),
        val_handlers=[NoduleScorer(str(folder), "a few nodules")],
    )  # fmt: skip
    for _ in range(runs):
        evaluator.run()


RATED = [
    rated("a", (1, 2), slices(-900, -800), patient_id="p"),
    rated("b", (2,), slices(-700), patient_id="p", diameter_mm=5.5),
    rated("c", (3, 3), slices(0), patient_id="q"),
    rated("d", (4, 5, 5), slices(600, 700, 800), patient_id="r", attributes=(4, 1, 6, 3, 4, 2, 1, 5)),
    rated("e", (5,), slices(900), patient_id="s"),
]


def sigmoid(level: float) -> float:
    """Of the grey / 128."""
    return float(1 / (1 + np.exp(-(level + 1000) / 2000 * 255 / 128)))


def test_the_evaluator_writes_predictions_as_score_malignancy_reads_them(tmp_path: Path) -> None:
    evaluate(RATED, tmp_path, runs=2)  # the second run starts afresh
    predictions, left_out = read_predictions(tmp_path / "predictions.csv")
    assert left_out == 1  # c: a mean of 3
    assert predictions.label.tolist() == [0, 0, 1, 1]
    a, d = (sigmoid(-900) + sigmoid(-800)) / 2, (sigmoid(600) + sigmoid(700) + sigmoid(800)) / 3
    np.testing.assert_allclose(predictions.probability, [a, sigmoid(-700), d, sigmoid(900)], atol=1e-5)
    assert predictions.patient.tolist() == [0, 0, 1, 2]
    said, true = predictions.attributes["calcification"]
    np.testing.assert_allclose(said, 3.5, atol=1e-5)  # half way from 1 to 6
    assert true.tolist() == [6, 6, 6, 6]
    assert predictions.attributes["subtlety"][1].tolist() == [5, 5, 4, 5]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["nodule_id"] for row in rows] == list("abcde")
    assert [(row["n_readers"], row["slices"], float(row["diameter_mm"])) for row in rows[:2]] == [
        ("2", "2", 8.0), ("1", "1", 5.5)
    ]  # fmt: skip


def test_the_evaluator_writes_figures(tmp_path: Path) -> None:
    evaluate(RATED, tmp_path)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["data"] == "a few nodules"
    assert (figures["nodules"], figures["patients"], figures["benign"], figures["malignant"]) == (4, 3, 2, 2)
    assert figures["left_out"] == 1
    assert figures["auc"] == 1
    errors = figures["attribute_errors"]
    assert errors["subtlety"]["error"] == pytest.approx(1.75, abs=1e-5)  # 3 is said of 5, 5, 4 and 5
    assert errors["internalStructure"]["error"] == pytest.approx(1.5, abs=1e-5)  # 2.5 is said of 1


def test_nodules_of_one_class_keep_their_table_and_the_figures_of_that_class(tmp_path: Path) -> None:
    evaluate([one for one in RATED if one.mean[0] < 3], tmp_path)
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) > 1
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["auc"] is None and figures["sensitivity"] is None
    assert figures["specificity"] == figures["accuracy"] and 0 <= figures["accuracy"] <= 1


def test_one_class_alone_is_refused() -> None:
    benign = [one for one in FOUR if one.mean[0] < 3]
    assert benign
    with pytest.raises(InputError, match=r"E-CONFIG.*0 malignant"):
        SliceSamples(benign, cropper(16, 12), 4)


def test_nodules_of_mean_3_are_drawn_on_request_and_have_no_class() -> None:
    uncertain = replace(FOUR[0], name="uncertain", readings=np.full((2, 9), 3.0))
    samples = SliceSamples([*FOUR, uncertain], cropper(), 200, indeterminate_share=0.3)
    labels = torch.stack([samples[item]["label"] for item in range(200)])
    assert 0.2 < (labels[:, 0] == 0.5).float().mean() < 0.4
    without = SliceSamples(FOUR, cropper(), 20, indeterminate_share=0.3)
    again = SliceSamples([*FOUR, uncertain], cropper(), 20)
    for item in range(20):  # none to draw, or none wanted: the paper's samples
        torch.testing.assert_close(without[item]["label"], again[item]["label"])
    output = torch.zeros(4, 9, requires_grad=True)
    MTMRLoss(regression=0.0, ranking=0.0)(output, torch.tensor([[0.5] * 9, [1.0] * 9, [0.0] * 9, [0.5] * 9])).backward()
    assert output.grad is not None and output.grad[:, 0].tolist() == [0.0, -0.25, 0.25, 0.0]
    assert MTMRLoss(regression=0.0, ranking=0.0)(output, torch.full((4, 9), 0.5)).item() == 0.0
