# SPDX-License-Identifier: Apache-2.0
"""Does the seam of an implanted nodule give it away? ``python scripts/check_seams.py DATA_DIR``.

The same small network is trained twice on the patches of composite scans, and tested on scans of other lungs with
tissue of other patients: to tell pastes of nodule-free tissue from places where nothing was set in, which it must not
be able to (area under the ROC curve, AUC, near 0.5), and, to show that it can see at all, to tell nodules from such
places. Small pastes are made without vessels in them, so places with a vessel are left out on both sides: what is left
to see is the seam.

Two more tasks look at nodules themselves. Their surroundings, the nodule blanked, against those of untouched places,
blanked likewise. And their ends: nodules whose crop reaches beyond them, set in as they are, with the slices that the
scanner saw above and below, against the same nodules at the same places with those slices cut off, as most crops are.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import fire
import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from tqdm import tqdm

from lungcad.console import guarded
from lungcad.scan.blanking import BLANK_HU
from lungcad.scan.patch import cut_patch, patch_center
from lungcad.training.cases import Case, Sphere
from lungcad.training.composites import ImplantedCases
from lungcad.training.implant import Tissue
from lungcad.training.placement import VESSEL_HU
from lungcad.training.sampling import scaled
from make_cases import HELD_OUT_LUNGS, TRAINING_LUNGS

PATCH = (32, 32, 16)
WINDOW_HU = (-1000.0, 400.0)
KINDS = ("untouched", "control", "nodule", "bare", "surround")
MARGIN_SLICES = 2
"""Slices beyond the nodule, above and below, of crops that show how a nodule ends."""

Patches = dict[str, list[Tensor]]
"""For each kind one tensor (N, 1, X, Y, Z) per composite scan."""


def main(
    data_dir: str, scans: int = 16, test_scans: int = 8, places: int = 20, epochs: int = 30, seed: int = 0
) -> None:
    """Print the four AUCs with their 95 % intervals (bootstrap over scans).

    Args:
        data_dir: folder with nodules3d and lungs.
        scans: composites to train on.
        test_scans: composites to test on.
        places: of each kind tried per composite.
        epochs: of training.
        seed: of everything random.
    """
    options: dict[str, Any] = {
        "nodules_per_scan": places, "controls": places, "untouched": places, "without": HELD_OUT_LUNGS
    }  # fmt: skip
    made = {
        "train": ImplantedCases(data_dir, (0, 1, 2), TRAINING_LUNGS, scans=scans, seed=seed, **options),
        "test": ImplantedCases(data_dir, (4,), HELD_OUT_LUNGS, scans=test_scans, seed=seed + 1, **options),
    }
    train, test = (patches_of(cases) for cases in made.values())
    for kind, native in (("control", "untouched"), ("nodule", "untouched"), ("surround", "bare")):
        report_auc(train, test, native, kind, epochs, seed)
    train, test = (ends_of(cases) for cases in (made["train"], made["test"]))
    report_auc(train, test, "whole", "cut", epochs, seed)


def report_auc(train: Patches, test: Patches, native: str, kind: str, epochs: int, seed: int) -> None:
    """Learn to tell one kind from what is native, and print how well that is possible."""
    network = trained(train, native, kind, epochs, seed)
    negative, positive = ([score(network, scan) for scan in test[name]] for name in (native, kind))
    value, low, high = auc_with_interval(negative, positive)
    print(f"{kind} against {native}: AUC {value:.3f} (95 % {low:.3f} to {high:.3f}), {sum(map(len, positive))} {kind}")


def ends_of(cases: ImplantedCases) -> Patches:
    """Patches around nodules with slices beyond them, and around the same ones with those slices cut off."""
    whole = [tissue for tissue in cases.nodules if margin(tissue) >= MARGIN_SLICES]
    found: Patches = {}
    for kind, nodules in (("whole", whole), ("cut", [shortened(tissue) for tissue in whole])):
        cases.nodules = nodules  # in the same order: both composites have the same places
        made = (cases[number] for number in tqdm(range(len(cases)), desc=kind, file=sys.stderr))
        found[kind] = [_patches(case, case.nodules) for case in made]
    return found


def margin(tissue: Tissue) -> int:
    """Slices of a crop above or below its nodule, whichever are fewer."""
    slices = np.flatnonzero(tissue.mask.any(axis=(0, 1)))
    return int(min(slices[0], tissue.mask.shape[2] - 1 - slices[-1]))


def shortened(tissue: Tissue) -> Tissue:
    """The crop without the slices that show no nodule."""
    slices = np.flatnonzero(tissue.mask.any(axis=(0, 1)))
    here = np.s_[:, :, slices[0] : slices[-1] + 1]
    center = tissue.center - np.array([0, 0, slices[0]])
    return replace(tissue, hu=tissue.hu[here], mask=tissue.mask[here], center=center)


def patches_of(cases: ImplantedCases) -> Patches:
    """Patches around nodules, controls and untouched places."""
    found: Patches = {kind: [] for kind in KINDS}
    for number in tqdm(range(len(cases)), desc="scans", file=sys.stderr):
        case = cases[number]
        clear = [place for place in case.controls if not _holds_vessel(case, place)]
        places = {"nodule": case.nodules} | {
            kind: [place for place in clear if place.name == kind] for kind in ("control", "untouched")
        }
        for kind in ("untouched", "control", "nodule"):
            found[kind].append(_patches(case, places[kind]))
        native = [place for place in case.controls if place.name == "untouched"]
        for kind, some in (("bare", native), ("surround", case.nodules)):
            found[kind].append(_patches(case, some, blanked=True))
    return found


def _holds_vessel(case: Case, place: Sphere) -> bool:
    radius = place.diameter_mm / 2
    x, y, z = (2 * int(radius / size) + 1 for size in case.spacing_mm)
    grid = np.moveaxis(np.indices((x, y, z)), 0, -1) - (np.array((x, y, z)) - 1) / 2
    ball = np.linalg.norm(grid * case.spacing_mm, axis=-1) <= radius
    return bool((cut_patch(case.hu, place.index, (x, y, z), BLANK_HU)[ball] > VESSEL_HU).any())


def _patches(case: Case, places: Sequence[Sphere], blanked: bool = False) -> Tensor:
    """(N, 1, X, Y, Z); ``blanked`` without the spheres themselves and 2 mm around them, where their edge is."""
    patches = [scaled(cut_patch(case.hu, place.index, PATCH, BLANK_HU), WINDOW_HU) for place in places]
    if blanked:
        hidden = [_distance_mm(case, place) <= place.diameter_mm / 2 + 2 for place in places]
        patches = [np.where(ball, 0.5, patch) for ball, patch in zip(hidden, patches, strict=True)]
    return torch.from_numpy(np.array(patches, dtype=np.float32).reshape(-1, 1, *PATCH))


def _distance_mm(case: Case, place: Sphere) -> np.ndarray:
    """(X, Y, Z) distances of a patch's voxels from the sphere's centre."""
    middle = place.index - patch_center(place.index, PATCH) + (np.array(PATCH) - 1) / 2
    return np.linalg.norm((np.moveaxis(np.indices(PATCH), 0, -1) - middle) * case.spacing_mm, axis=-1)


def small_network() -> nn.Module:
    """Three convolutions that see texture and edges, and where in the patch they are."""
    return nn.Sequential(
        nn.Conv3d(1, 12, 3, padding=1), nn.BatchNorm3d(12), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(12, 24, 3, padding=1), nn.BatchNorm3d(24), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(24, 24, 3, padding=1), nn.BatchNorm3d(24), nn.ReLU(), nn.AvgPool3d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(24 * 4 * 4 * 2, 1),
    )  # fmt: skip


def trained(patches: Patches, native: str, kind: str, epochs: int, seed: int) -> nn.Module:
    """A network that tells ``kind`` from ``native``, as well as it could learn it."""
    torch.manual_seed(seed)
    image = torch.cat([*patches[native], *patches[kind]])
    label = torch.cat([torch.zeros(sum(map(len, patches[native]))), torch.ones(sum(map(len, patches[kind])))])
    network = small_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in tqdm(range(epochs), desc=f"learn {kind}", file=sys.stderr):
        for batch in torch.randperm(len(image)).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(network(_turned(image[batch]))[:, 0], label[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def _turned(image: Tensor) -> Tensor:
    """The batch flipped and turned at random."""
    image = image.flip([axis for axis in (2, 3, 4) if torch.rand(()) < 0.5])
    return image.transpose(2, 3) if torch.rand(()) < 0.5 else image


@torch.inference_mode()
def score(network: nn.Module, image: Tensor) -> np.ndarray:
    """(N,) log odds of patches (N, 1, X, Y, Z)."""
    return network(image)[:, 0].numpy() if len(image) else np.zeros(0)


def auc_with_interval(
    negative: Sequence[np.ndarray], positive: Sequence[np.ndarray], bootstraps: int = 1000
) -> tuple[float, float, float]:
    """AUC and its 95 % interval by bootstrap over scans.

    Args:
        negative: (N,) scores of each scan.
        positive: likewise, of the same scans.
        bootstraps: of the bootstrap.
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
    guarded(fire.Fire, main)
