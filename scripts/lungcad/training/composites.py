# SPDX-License-Identifier: Apache-2.0
"""Composites: cases made of real nodule crops set into real lungs, split by patient.

A composite has known nodules and the seams of setting in; controls, nodule-free tissue set in the same way, have the
seams too. The folder of crops and lungs is described in training.md, section DATA.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch.utils.data import Dataset

from lungcad.errors import InputError
from lungcad.scan.blanking import BLANK_HU, far_from_lungs
from lungcad.tables import read_table
from lungcad.training.cases import Case, Sphere
from lungcad.training.implant import Tissue, control_tissue, paste
from lungcad.training.placement import Placement, Places

NODULE_COLUMNS = ("nodule_id", "usable", "patient_id", "fold", "diameter_mm", "centre_i", "centre_j", "centre_k")
"""Columns of nodules.csv that are read."""
LESION_COLUMNS = ("lung_id", "kind", "x_mm", "y_mm", "z_mm", "diameter_mm")
"""Columns of lesions.csv that are read."""
SMALL_MM = 5.0
"""Diameter below which a nodule is small."""
FAINT_HU = -500.0
"""Mean HU below which a nodule is faint: a sixth of LIDC's nodules, ground glass and the smallest ones."""


def read_image(path: Path) -> sitk.Image:
    """Read an image; raises InputError E-IMAGES if it is missing or damaged."""
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        text = f"{path.name} of {path.parent.name} is missing or damaged."
        raise InputError("E-IMAGES", text, "training.md, section DATA, lists the files.") from error


def _canonical(path: Path) -> sitk.Image:
    """Read an image with canonical axes (to the left, back, head)."""
    return sitk.DICOMOrient(read_image(path), "LPS")


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """Read the rows of a table with these columns; raises InputError E-TABLE."""
    return [row.cells for row in read_table(path, columns).rows]


def load_nodules(folder: Path, folds: Sequence[int], without: Sequence[str] = ()) -> list[Tissue]:
    """Read the usable nodule crops of the patients in ``folds``, except the patients ``without``, in table order.

    Args:
        folder: folder with nodules.csv and the crops.
        folds: numbers of folds.
        without: identifiers of patients.
    """
    nodules = []
    for row in _rows(folder / "nodules.csv", *NODULE_COLUMNS):
        if row["usable"] != "1" or int(row["fold"]) not in folds or row["patient_id"] in without:
            continue
        original = read_image(folder / f"{row['nodule_id']}.nii.gz")
        point = original.TransformContinuousIndexToPhysicalPoint([float(row[f"centre_{axis}"]) for axis in "ijk"])
        image, mask = (_canonical(folder / f"{row['nodule_id']}{part}.nii.gz") for part in ("", "_mask"))
        nodules.append(
            Tissue(
                sitk.GetArrayFromImage(image).T.astype(np.float32).clip(-1024, 1500),
                sitk.GetArrayFromImage(mask).T > 0,
                np.array(image.GetSpacing()),
                np.array(image.TransformPhysicalPointToContinuousIndex(point)),
                float(row["diameter_mm"]),
                row["nodule_id"],
                tuple(float(score) for n in range(1, 5) if (score := row.get(f"r{n}_malignancy"))),
            )
        )
    return nodules


def is_hard(nodule: Tissue) -> bool:
    """True for a nodule that is small or faint, and so easily missed by a detector."""
    return nodule.diameter_mm < SMALL_MM or float(nodule.hu[nodule.mask].mean()) < FAINT_HU


class Background:
    """Real lungs at 1 mm, with their own lesions, which must not become negatives.

    Args:
        folder: folder of the lungs.
        name: name of the lungs in ``lungs.csv``.
    """

    def __init__(self, folder: Path, name: str):
        rows = [row for row in _rows(folder / "lungs.csv", "lung_id", "hu_step") if row["lung_id"] == name]
        if not rows:
            text = f"lungs.csv: no lungs {name} (lungcad/training/splits.py names those to train in)."
            raise InputError("E-TABLE", text, "Name the lungs of your own folder there.")
        row = rows[0]
        image, mask = (_canonical(folder / f"{name}{part}.nii.gz") for part in ("", "_lung"))
        self.name = name
        self.hu = sitk.GetArrayFromImage(image).T
        self.mask = sitk.GetArrayFromImage(mask).T > 0
        self.hu_step = float(row["hu_step"])
        self.lesions = []
        for row in _rows(folder / "lesions.csv", *LESION_COLUMNS):
            if row["lung_id"] == name:
                place = image.TransformPhysicalPointToContinuousIndex([float(row[f"{axis}_mm"]) for axis in "xyz"])
                diameter = float(row["diameter_mm"] or -1)
                self.lesions.append(Sphere(np.array(place), diameter if diameter > 0 else 10.0, row["kind"]))

    def augmented(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[Sphere]]:
        """HU (X, Y, Z) float32, mask (X, Y, Z) and lesions, mirrored at random and scaled by 0.9 to 1.1.

        The steps of coarsely stored HU are dithered away.
        """
        scale = rng.uniform(0.9, 1.1)
        hu = self.hu.astype(np.float32)
        hu += rng.uniform(-self.hu_step / 2, self.hu_step / 2, hu.shape).astype(np.float32)
        mask, lesions = self.mask, [Sphere(s.index.copy(), s.diameter_mm, s.name) for s in self.lesions]
        if rng.random() < 0.5:
            hu, mask = hu[::-1], mask[::-1]
            for sphere in lesions:
                sphere.index[0] = hu.shape[0] - 1 - sphere.index[0]
        size = tuple(round(n * scale) for n in hu.shape)
        ratio = np.array(size) / hu.shape

        def resize(array: np.ndarray, mode: str) -> np.ndarray:
            tensor = torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)[None, None]
            return torch.nn.functional.interpolate(tensor, size, mode=mode)[0, 0].numpy()

        for sphere in lesions:
            sphere.index = (sphere.index + 0.5) * ratio - 0.5
            sphere.diameter_mm *= scale
        return resize(hu, "trilinear"), resize(mask, "nearest") > 0.5, lesions


def implanted_case(
    background: Background, nodules: list[Tissue], other: Background, rng: np.random.Generator, name: str,
    controls: int = 5, untouched: int = 0, slices_per_voxel: int = 2, margin_mm: float = 12.0, healthy: bool = False,
    placement: Placement = Placement(),  # noqa: B008 (frozen)
) -> Case:  # fmt: skip
    """One composite scan on a grid of 1 x 1 x ``slices_per_voxel`` mm.

    Args:
        background: lungs to set tissue into.
        nodules: nodules to set in; nodules without room are left out.
        other: lungs that control tissue is taken from.
        rng: random generator.
        name: name of the case.
        controls: number of pastes of nodule-free tissue.
        untouched: number of places chosen in the same way at which nothing is set in; they are among the case's
            controls, by the name "untouched". They differ from the other controls by the seam alone, see
            scripts/check_seams.py.
        slices_per_voxel: 1 mm slices averaged into one, as the inference's resampling does.
        margin_mm: distance from the lungs beyond which tissue is blanked.
        healthy: True to set in no nodule; ``nodules`` still determine the size and shape of the controls. The lungs'
            own nodules stay, ignored, so that a detector that reports nothing else leaves the scan without findings.
        placement: settings of the places of nodules and controls.
    """
    hu, mask, ignored = background.augmented(rng)
    masks = np.zeros(hu.shape, np.uint8)
    set_in: dict[str, list[Sphere]] = {"nodule": [], "control": []}
    room, elsewhere = Places(hu, mask, placement), Places(other.hu, other.mask, placement)
    donors = [] if healthy else [(n, "nodule") for n in nodules]
    for like in rng.choice(np.array(nodules, dtype=object), controls):
        tissue = control_tissue(elsewhere, other.lesions, like, rng)
        donors += [(tissue, "control")] if tissue else []
    donors += [(like, "untouched") for like in rng.choice(np.array(nodules, dtype=object), untouched)]
    for donor, kind in donors:
        tissue = donor.turned(rng, rng.uniform(0.9, 1.1))
        taken = ignored + set_in["nodule"] + set_in["control"]
        place = room.find_place(tissue.diameter_mm, taken, rng)
        if place is None:
            continue
        if kind == "untouched":
            set_in["control"].append(Sphere(place, tissue.diameter_mm, kind))
        else:
            box, inside = paste(hu, tissue, place, wide=bool(rng.random() < 0.3))
            set_in[kind].append(Sphere(place, tissue.diameter_mm, tissue.name, tissue.malignancy))
            if kind == "nodule":
                masks[box][inside] = len(set_in[kind])
    hu = _other_scanner(_slabs(hu, slices_per_voxel).mean(axis=3), float(slices_per_voxel), rng)
    lungs = _slabs(mask.astype(np.float32), slices_per_voxel).mean(axis=3) >= 0.5
    spacing = (1.0, 1.0, float(slices_per_voxel))
    hu[far_from_lungs(lungs, spacing, margin_mm)] = BLANK_HU
    for sphere in [*ignored, *set_in["nodule"], *set_in["control"]]:
        sphere.index[2] = (sphere.index[2] + 0.5) / slices_per_voxel - 0.5
    affine = np.diag([*spacing, 1.0])
    affine[2, 3] = (slices_per_voxel - 1) / 2  # a place has the same millimetres whatever the voxels' height
    if slices_per_voxel > 1:  # nodules are too far apart to share a voxel
        slabs = _slabs(masks, slices_per_voxel)
        masks = np.where((slabs > 0).mean(axis=3) >= 0.5, slabs.max(axis=3), 0)
    return Case(name, hu.round().astype(np.int16), lungs, spacing, set_in["nodule"], ignored, set_in["control"], affine,
                masks.astype(np.uint8))  # fmt: skip


def _slabs(volume: np.ndarray, slices: int) -> np.ndarray:
    """Volume (X, Y, Z) as slabs, (X, Y, Z // slices, slices); slices that fill no slab are cut off."""
    depth = volume.shape[2] // slices * slices
    return volume[:, :, :depth].reshape(*volume.shape[:2], -1, slices)


def _other_scanner(hu: np.ndarray, slice_mm: float, rng: np.random.Generator) -> np.ndarray:
    """HU with random sharpness, noise, contrast and offset over the whole composite, so that none marks a nodule."""
    sigma = rng.uniform(0.0, 0.7)
    smooth = ndimage.gaussian_filter(hu, (0.8, 0.8, 0.8 / slice_mm))
    hu = hu + (sigma if rng.random() < 0.5 else -0.5 * sigma) * (smooth - hu)
    noise = rng.standard_normal(hu.shape, dtype=np.float32) * rng.uniform(0, 25)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, (0.6, 0.6, 0.0)) * 1.6
    contrast, offset = rng.uniform(0.94, 1.06), rng.uniform(-30, 30)
    return np.clip((hu + noise + 1000) * contrast - 1000 + offset, -1024, 3000)


class ImplantedCases(Dataset):
    """Composite scans; each nodule of the folds is used before any is used again, small and faint ones more often.

    Args:
        data_dir: folder with ``nodules3d`` and ``lungs``.
        folds: folds of the nodules' patients.
        backgrounds: names of lungs.
        scans: number of composites.
        nodules_per_scan: number of nodules to set into a composite; fewer if there is no room.
        without: patients whose nodules are left out, such as the patients of held-out backgrounds.
        often: number of times that a small or faint nodule (:func:`is_hard`) is used for each time of another.
        seed: seed of all random choices; composite n is the same whatever ``scans`` is.
        options: arguments for :func:`implanted_case`.
    """

    def __init__(self, data_dir: str, folds: Sequence[int], backgrounds: Sequence[str], *, scans: int,
                 nodules_per_scan: int = 10, without: Sequence[str] = (), often: int = 2, seed: int = 0,
                 **options: Any):  # fmt: skip
        root = Path(data_dir)
        nodules = load_nodules(root / "nodules3d", folds, without)
        self.nodules = [nodule for nodule in nodules for _ in range(often if is_hard(nodule) else 1)]
        self.lungs = [Background(root / "lungs", name) for name in backgrounds]
        self.scans, self.nodules_per_scan, self.seed, self.options = scans, nodules_per_scan, seed, options

    def __len__(self) -> int:
        return self.scans

    @property
    def names(self) -> list[str]:
        """Name of each composite: its lungs, the seed and its number."""
        return [f"{self.lungs[scan % len(self.lungs)].name}-{self.seed}-{scan:03d}" for scan in range(self.scans)]

    def __getitem__(self, scan: int) -> Case:
        """Composite number ``scan``."""
        rng = np.random.default_rng((self.seed, scan))
        per_round = -(-len(self.nodules) // self.nodules_per_scan)
        order = np.random.default_rng((self.seed, scan // per_round)).permutation(len(self.nodules))
        first = scan % per_round * self.nodules_per_scan
        chosen = [self.nodules[i] for i in order[first : first + self.nodules_per_scan]]
        background = self.lungs[scan % len(self.lungs)]
        other = self.lungs[int(rng.integers(len(self.lungs)))]
        return implanted_case(background, chosen, other, rng, self.names[scan], **self.options)
