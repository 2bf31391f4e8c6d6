# SPDX-License-Identifier: Apache-2.0
"""Import of MONAI and pydicom without their optional packages, where nothing that a run uses needs one.

MONAI 1.6 imports each of its submodules, and with them whatever optional package is installed: ignite with all of
torch.distributed, itk, matplotlib, scikit-learn. That is two thirds of its import. MONAI works without any of them, but
those of its parts that need one fail; so they are withheld only from a process of the command line, and only for a
chain whose stages are made of our own classes and the few of MONAI's in PLAIN. pydicom imports requests for its test
files and GDCM for a decoder; our decoders call GDCM themselves.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OPTIONAL = frozenset(
    "clearml cucim cv2 einops gdcm gdown h5py huggingface_hub ignite imagecodecs itk jsonschema lmdb lpips "
    "matplotlib mlflow nibabel ninja nni nrrd onnx onnxruntime onnxscript openslide optuna pandas polygraphy psutil "
    "pyamg pynvml requests scipy.signal scipy.stats skimage sklearn tensorboard tensorboardX tensorrt tifffile "
    "torchaudio torchvision transformers zarr".split()
)
"""Packages that MONAI 1.6 or pydicom 3 imports if they are there, except those that a run imports anyway."""
PLAIN = frozenset({"BasicUNet", "Compose", "Dataset", "LoadImaged", "ScaleIntensityRanged"})
"""MONAI's classes in our stages: none of them needs an optional package."""
NOT_FOR_STAGES = frozenset({"dataset", "evaluator", "imports", "initialize", "run"})
"""Keys of a bundle's config that a chain does not evaluate."""


class _Withheld(MetaPathFinder):
    """Finder that says of OPTIONAL packages that they are not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for the packages; find nothing else."""
        if fullname in OPTIONAL:
            raise ModuleNotFoundError(f"{fullname} is withheld", name=fullname)
        return None


@contextlib.contextmanager
def optional_packages_withheld() -> Iterator[None]:
    """Context in which the OPTIONAL packages cannot be imported; those imported before stay."""
    finder = _Withheld()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def needs_optional_packages(stage_configs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a stage may need one of MONAI's optional packages: it has a class or an expression that we do not know.

    Args:
        stage_configs: contents of the stages' inference.json, and of what is laid over them.
    """
    parts = [value for config in stage_configs for key, value in config.items() if key not in NOT_FOR_STAGES]
    targets = {target for target in _values_of(parts, "_target_") if not str(target).startswith("lungcad.")}
    return not targets <= PLAIN or "monai." in json.dumps(parts)


def _values_of(value: Any, key: str) -> Iterator[Any]:
    """Values of a key anywhere in a JSON document."""
    if isinstance(value, Mapping):
        yield from (part for name, part in value.items() if name == key)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _values_of(part, key)
