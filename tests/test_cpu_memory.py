# SPDX-License-Identifier: Apache-2.0
"""Memory that the allocator keeps: in a process of its own, because its options stay."""

import platform
import subprocess
import sys

import pytest

CODE = """
import numpy as np
from lungcad.batch.resources import resident_gb
from lungcad.cpu import release_memory, tune_allocator
tune_allocator()
blocks = [np.ones(2_500_000) for _ in range(25)]  # half a gigabyte in blocks of 20 MB
end = np.ones(1000)
full = resident_gb()
del blocks
kept = resident_gb()
release_memory()
print(full, kept, resident_gb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_freed_memory_is_kept_until_it_is_released() -> None:
    answer = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    full, kept, released = map(float, answer.stdout.split())
    assert kept > full - 0.05
    assert released < full - 0.4
