# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins for scans and data folders, shared by tests."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk
import torch
from monai.networks.nets import BasicUNet

from lungcad.bundle.manifest import sha256_of
from lungcad.papers.dou2017.network import CandidateFCN, HybridLossResNet
from lungcad.papers.mtmrnet.network import MTMRNet
from lungcad.papers.threedag.network import AggregatedFasterRCNN
from lungcad.papers.yao2018.network import MultiScaleClassifier, SimplifiedUNet
from lungcad.training.cases import Case, Sphere
from lungcad.training.trainer import export_weights
from lungcad.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
Network = TypeVar("Network", bound=torch.nn.Module)
NARROW = [2, 3, 4]
"""Widths that make networks fast; what they find is chance."""
SLIM = {"stem": 2, "growth": 2, "channels": 4}
"""Likewise, of the 3D Aggregated Faster R-CNN."""

BODY_VOX, BODY_MM = (80, 68, 40), (3.0, 3.0, 4.0)
NODULE_VOX = (20, 30, 20)
"""A nodule of 12 mm in the right lung, as index."""


def small_chest() -> tuple[np.ndarray, np.ndarray]:
    """A body with two lungs of some 750 ml in all and one nodule: HU (X, Y, Z) float32, and its affine to LPS mm."""
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*map(np.arange, BODY_VOX), indexing="ij")

    def ellipsoid(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1

    hu = np.full(BODY_VOX, -1000.0)
    hu[ellipsoid(39.5, 33.5, 0, 36, 28, 1e9)] = 40.0
    for cx in (21, 58):
        hu[ellipsoid(cx, 33.5, 19.5, 11, 16, 15)] = -860.0
    hu[ellipsoid(*NODULE_VOX, 2.2, 2.2, 1.7)] = 30.0
    affine = np.diag([*BODY_MM, 1.0])
    affine[:3, 3] = (-118.0, -90.0, -310.0)
    return (hu + rng.normal(0, 20, hu.shape)).clip(-1024).astype(np.float32), affine


def small_volume() -> Volume:
    """The small chest as a reader returns it."""
    hu, affine = small_chest()
    return Volume(hu, affine, "1.2.3")


def write_image(path: Path, array: np.ndarray, affine: np.ndarray, compressed: bool = False) -> Path:
    """Write (X, Y, Z) with an LPS affine in the format that the suffix says."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def dark_case(name: str = "case", nodules: list[Sphere] | None = None) -> Case:
    """Even lung of -700 HU, 80 x 80 x 80 mm, a single bright voxel in the middle of each nodule."""
    hu = np.full((80, 80, 40), -700, dtype=np.int16)
    case = Case(name, hu, np.ones(hu.shape, dtype=bool), (1.0, 1.0, 2.0), nodules or [])
    for nodule in case.nodules:
        hu[tuple(nodule.index.astype(int))] = 400
    return case


def small_bundles(folder: Path) -> Path:
    """Copies of the bundles with narrow networks and random weights; returns their folder."""
    torch.manual_seed(0)
    networks = {
        "lung_nodule_detection_dou2017": (CandidateFCN(NARROW, 5, 0.3), {"channels": NARROW, "head_channels": 5}),
        "lung_nodule_fpr_dou2017": (HybridLossResNet(NARROW, 4), {"channels": NARROW, "branch_channels": 4}),
        "lung_nodule_detection_yao2018": (SimplifiedUNet(NARROW), {"channels": NARROW}),
        "lung_nodule_fpr_yao2018": (MultiScaleClassifier(NARROW), {"channels": NARROW}),
        "lung_nodule_detection_3dag": (AggregatedFasterRCNN(**SLIM), SLIM),
        "lung_nodule_malignancy_mtmrnet": (MTMRNet(2, 5), {"width": 2, "attribute_features": 5}),
        "lung_nodule_segmentation_unet": (
            BasicUNet(3, 1, 1, [2] * 6, norm="batch", upsample="deconv"), {"features": [2] * 6},
        ),
    }  # fmt: skip
    for name in ("lung_nodule_cad", *networks):
        target = folder / name / "configs"
        shutil.copytree(ROOT / "bundles" / name / "configs", target)
        if "yao2018" in name or "3dag" in name:  # at 1 mm the small chest is large
            edit_json(target / "inference.json", lambda c: c.update(spacing_mm=[3.0, 3.0, 3.0]))
        if name in networks:
            network, widths = networks[name]
            export_weights_to(folder / name, network)
            edit_json(target / "inference.json", lambda c, widths=widths: c["network_def"].update(widths))
    edit_json(folder / "lung_nodule_cad" / "configs" / "inference.json", lambda c: c.update(detector="dou2017"))
    return folder


def ready(network: Network) -> Network:
    """In evaluation mode, with kernels and statistics that make differences visible."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            torch.nn.init.normal_(module.weight, 0.0, 0.3)
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def export_weights_to(bundle: Path, network: torch.nn.Module) -> None:
    """Put weights into a bundle and their SHA-256 into its metadata."""
    (bundle / "models").mkdir(exist_ok=True)
    export_weights(network, bundle / "models" / "model.pt")
    digest = sha256_of(bundle / "models" / "model.pt")
    edit_json(bundle / "configs" / "metadata.json", lambda meta: meta.update(weights_sha256=digest))


def edit_json(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
