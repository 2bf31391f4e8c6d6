# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests: the shared real data, seeds, and the synthetic chest."""

import random
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    absent = pytest.mark.skip(reason="needs the real scans in ../shared")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(absent)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that ask for it carry the marker shared_data."""
    if not SHARED.is_dir():
        pytest.skip("needs the real scans in ../shared")
    return SHARED


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random state."""
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series of the small synthetic chest; do not write into it."""
    from lungcad.phantom import SIZES, make_phantom, write_series

    folder = tmp_path_factory.mktemp("phantom")
    hu, affine, _ = make_phantom(**SIZES["small"])
    write_series(folder, hu, affine)
    return folder
