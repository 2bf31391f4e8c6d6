# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the chain's tests, made once: do not write into them."""

from pathlib import Path

import pytest
from small_cases import small_bundles, small_volume

from lungcad.scan.scan import Scan


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles with narrow networks and random weights."""
    return small_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def scan() -> Scan:
    """The small chest, whose lungs are found once."""
    return Scan(small_volume())
