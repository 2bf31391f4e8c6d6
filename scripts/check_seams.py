# SPDX-License-Identifier: Apache-2.0
"""Check whether the seam of an implanted nodule gives it away: ``python scripts/check_seams.py DATA_DIR``.

A composite is a real scan of lungs into which nodules of other patients were implanted. The same small network is
trained twice on patches of composites, and tested on composites of other lungs with tissue of other patients. First it
learns to separate pastes of nodule-free tissue (controls) from untouched places, which must be impossible (area under
the ROC curve, AUC, near 0.5); then, to show that it can learn at all, nodules from untouched places. Small pastes are
made without vessels in them, so places with a vessel are left out on both sides: only the seam is left to see.

Two more tasks test the nodules themselves. One compares their surroundings, with the nodule blanked, with those of
untouched places, blanked in the same way. The other compares their ends: nodules with a crop that goes beyond them,
implanted with the slices that the scanner saw above and below, against the same nodules at the same places with those
slices cut off, as in most crops.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from tqdm import tqdm

from lungcad.cli import run_script
from lungcad.scan.blanking import BLANK_HU
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.training.cases import Case, Sphere
from lungcad.training.composites import ImplantedCases
from lungcad.training.implant import Tissue
from lungcad.training.placement import VESSEL_HU
from lungcad.training.sampling import scaled
from lungcad.training.splits import HELD_OUT_LUNGS, TRAINING_LUNGS

PATCH = (32, 32, 16)
"""Size of a patch in voxels."""
WINDOW_HU = (-1000.0, 400.0)
KINDS = ("untouched", "control", "nodule", "bare", "surround")
"""Kinds of patches; ``bare`` and ``surround`` are those of untouched places and of nodules with the sphere blanked."""
MARGIN_SLICES = 2
"""Least number of slices above and below a nodule in a crop that shows how the nodule ends."""

Patches = dict[str, list[Tensor]]
"""Patches by kind: one tensor (N, 1, X, Y, Z) per composite scan."""


def main(
    data_dir: str, scans: int = 16, test_scans: int = 8, places: int = 20, epochs: int = 30, seed: int = 0
) -> None:
    """Print the four AUCs with their 95 % intervals (bootstrap over scans).

    Args:
        data_dir: folder with nodules3d and lungs.
        scans: number of composites to train on.
        test_scans: number of composites to test on.
        places: number of places of each kind to try per composite.
        epochs: number of training epochs.
        seed: seed of all random numbers.
    """
    options: dict[str, Any] = {
        "nodules_per_scan": places, "controls": places, "untouched": places, "without": HELD_OUT_LUNGS
    }  # fmt: skip
    cases = {
        "train": ImplantedCases(data_dir, (0, 1, 2), TRAINING_LUNGS, scans=scans, seed=seed, **options),
        "test": ImplantedCases(data_dir, (4,), HELD_OUT_LUNGS, scans=test_scans, seed=seed + 1, **options),
    }
    train, test = (patches_of(part) for part in cases.values())
    for kind, native in (("control", "untouched"), ("nodule", "untouched"), ("surround", "bare")):
        report_auc(train, test, native, kind, epochs, seed)
    train, test = (end_patches_of(part) for part in cases.values())
    report_auc(train, test, "whole", "cut", epochs, seed)


def report_auc(train: Patches, test: Patches, native: str, kind: str, epochs: int, seed: int) -> None:
    """Train a network to separate one kind of patches from native ones, and print its AUC on test patches."""
    network = train_network(train, native, kind, epochs, seed)
    negative, positive = ([score(network, scan) for scan in test[name]] for name in (native, kind))
    value, low, high = auc_with_interval(negative, positive)
    print(f"{kind} against {native}: AUC {value:.3f} (95 % {low:.3f} to {high:.3f}), {sum(map(len, positive))} {kind}")


def end_patches_of(cases: ImplantedCases) -> Patches:
    """Patches around nodules with slices beyond them, and around the same nodules with those slices cut off."""
    complete = [tissue for tissue in cases.nodules if margin_slices(tissue) >= MARGIN_SLICES]
    patches: Patches = {}
    for kind, nodules in (("whole", complete), ("cut", [without_margin(tissue) for tissue in complete])):
        cases.nodules = nodules  # in the same order: both composites have the same places
        composites = (cases[number] for number in tqdm(range(len(cases)), desc=kind, file=sys.stderr))
        patches[kind] = [_patches(case, case.nodules) for case in composites]
    return patches


def margin_slices(tissue: Tissue) -> int:
    """Number of slices of a crop above or below its nodule, whichever is smaller."""
    slices = np.flatnonzero(tissue.mask.any(axis=(0, 1)))
    return int(min(slices[0], tissue.mask.shape[2] - 1 - slices[-1]))


def without_margin(tissue: Tissue) -> Tissue:
    """Crop of a nodule without the slices that show no nodule."""
    slices = np.flatnonzero(tissue.mask.any(axis=(0, 1)))
    inside = np.s_[:, :, slices[0] : slices[-1] + 1]
    center = tissue.center - np.array([0, 0, slices[0]])
    return replace(tissue, hu=tissue.hu[inside], mask=tissue.mask[inside], center=center)


def patches_of(cases: ImplantedCases) -> Patches:
    """Patches around nodules, controls and untouched places."""
    patches: Patches = {kind: [] for kind in KINDS}
    for number in tqdm(range(len(cases)), desc="scans", file=sys.stderr):
        case = cases[number]
        clear = [place for place in case.controls if not _holds_vessel(case, place)]
        places = {"nodule": case.nodules} | {
            kind: [place for place in clear if place.name == kind] for kind in ("control", "untouched")
        }
        for kind in ("untouched", "control", "nodule"):
            patches[kind].append(_patches(case, places[kind]))
        native = [place for place in case.controls if place.name == "untouched"]
        for kind, spheres in (("bare", native), ("surround", case.nodules)):
            patches[kind].append(_patches(case, spheres, blanked=True))
    return patches


def _holds_vessel(case: Case, place: Sphere) -> bool:
    """Whether a sphere contains a voxel as dense as a vessel."""
    radius = place.diameter_mm / 2
    x, y, z = (2 * int(radius / size) + 1 for size in case.spacing_mm)
    grid = np.moveaxis(np.indices((x, y, z)), 0, -1) - (np.array((x, y, z)) - 1) / 2
    ball = np.linalg.norm(grid * case.spacing_mm, axis=-1) <= radius
    return bool((cut_patch(case.hu, place.index, (x, y, z), BLANK_HU)[ball] > VESSEL_HU).any())


def _patches(case: Case, places: Sequence[Sphere], blanked: bool = False) -> Tensor:
    """Patches (N, 1, X, Y, Z) around spheres; ``blanked`` hides the spheres and 2 mm around them, their edge."""
    patches = [scaled(cut_patch(case.hu, place.index, PATCH, BLANK_HU), WINDOW_HU) for place in places]
    if blanked:
        hidden = [_distance_mm(case, place) <= place.diameter_mm / 2 + 2 for place in places]
        patches = [np.where(ball, 0.5, patch) for ball, patch in zip(hidden, patches, strict=True)]
    return torch.from_numpy(np.array(patches, dtype=np.float32).reshape(-1, 1, *PATCH))


def _distance_mm(case: Case, place: Sphere) -> np.ndarray:
    """Distances (X, Y, Z) in mm of a patch's voxels from the centre of its sphere."""
    middle = place.index - patch_center(place.index, PATCH) + (np.array(PATCH) - 1) / 2
    return np.linalg.norm((np.moveaxis(np.indices(PATCH), 0, -1) - middle) * case.spacing_mm, axis=-1)


def small_network() -> nn.Module:
    """Network of three convolutions, which sees texture and edges, and their position in the patch."""
    return nn.Sequential(
        nn.Conv3d(1, 12, 3, padding=1), nn.BatchNorm3d(12), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(12, 24, 3, padding=1), nn.BatchNorm3d(24), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(24, 24, 3, padding=1), nn.BatchNorm3d(24), nn.ReLU(), nn.AvgPool3d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(24 * 4 * 4 * 2, 1),
    )  # fmt: skip


def train_network(patches: Patches, native: str, kind: str, epochs: int, seed: int) -> nn.Module:
    """Network that was trained to separate patches of ``kind`` from those of ``native``, in evaluation mode."""
    torch.manual_seed(seed)
    image = torch.cat([*patches[native], *patches[kind]])
    label = torch.cat([torch.zeros(sum(map(len, patches[native]))), torch.ones(sum(map(len, patches[kind])))])
    network = small_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in tqdm(range(epochs), desc=f"learn {kind}", file=sys.stderr):
        for batch in torch.randperm(len(image)).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(network(_augmented(image[batch]))[:, 0], label[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def _augmented(image: Tensor) -> Tensor:
    """Batch flipped and transposed at random."""
    image = image.flip([axis for axis in (2, 3, 4) if torch.rand(()) < 0.5])
    return image.transpose(2, 3) if torch.rand(()) < 0.5 else image


@torch.inference_mode()
def score(network: nn.Module, image: Tensor) -> np.ndarray:
    """Log odds (N,) of patches (N, 1, X, Y, Z)."""
    return network(image)[:, 0].numpy() if len(image) else np.zeros(0)


def auc_with_interval(
    negative: Sequence[np.ndarray], positive: Sequence[np.ndarray], bootstraps: int = 1000
) -> tuple[float, float, float]:
    """AUC and its 95 % interval by bootstrap over scans.

    Args:
        negative: scores (N,) of the negative patches of each scan.
        positive: scores of the positive patches of the same scans.
        bootstraps: number of bootstrap draws.
    """
    rng = np.random.default_rng(0)

    def auc(scans: np.ndarray) -> float:
        low, high = (np.concatenate([scores[n] for n in scans]) for scores in (negative, positive))
        ranks = rankdata(np.concatenate([low, high]))[len(low) :]
        return float((ranks.mean() - (len(high) + 1) / 2) / len(low))

    everything = np.arange(len(negative))
    values = [auc(rng.choice(everything, len(everything))) for _ in range(bootstraps)]
    low, high = np.percentile(values, [2.5, 97.5])
    return auc(everything), float(low), float(high)


if __name__ == "__main__":
    run_script(main)
